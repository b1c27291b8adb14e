"""The read door. Every route takes its principal from a guard; what is not in `PUBLIC` and has none is a mistake."""

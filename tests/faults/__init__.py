"""Faults under load, and what was lost: a proof for each guarantee, run by `python -m tests.faults`."""

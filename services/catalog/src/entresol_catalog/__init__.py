"""Entresol's one read door: projects every event, and shows what has become of everything."""

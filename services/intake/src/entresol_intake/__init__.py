"""Entresol's one write door: authenticate, validate, record, answer 202."""

"""Figures, printed and never asserted: what the platform does here, beside what this machine can do at most."""

"""Semantic versioning's order."""

import re


def precedence(version: str) -> tuple[tuple[int, ...], bool, list[tuple[bool, int, str]]]:
    """Numbers by value, and a pre-release before its release."""
    numbers, _, pre = version.split("+", 1)[0].partition("-")
    parts = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in pre.split(".")] if pre else []
    return tuple(int(one) for one in re.findall(r"\d+", numbers)), not pre, parts

"""Durations as manifests write them, such as `90s`, `4h`, `5d` or `1d12h`.

A day is 24 hours and a week seven days: durations are lengths, not calendar dates.
"""

import re
from typing import Final

UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST: Final = 100 * 365 * 86_400
"""A hundred years: a due time that is later than this would leave the range of timestamps."""

_PARTS = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_WHOLE = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d|w))+")


def seconds(text: str) -> float:
    """The length in seconds; raise ValueError for what is no duration or is longer than a hundred years."""
    if len(text) > 100 or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no duration; write it like 90s, 4h, 5d or 1d12h")
    total = float(sum(int(number) * UNITS[unit] for number, unit in _PARTS.findall(text)))
    if total > LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return total


def text(seconds: float) -> str:
    """The shortest exact way to write a length, to the millisecond; `0s` for nothing."""
    left = round(seconds * 1000)
    if left < 0:
        raise ValueError("a duration is never negative")
    parts = []
    for unit, size in (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"

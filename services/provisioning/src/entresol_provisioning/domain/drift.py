"""Which differences an offering puts up with, and how often it is asked for that the others be put right."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

EARLIEST: Final = 0.9
"""The part of an interval after which the next look may come: they are spread."""
WITHOUT_INTERVAL_SECONDS: Final = 3600.0
"""What counts as the interval where only hints make somebody look."""
LONGEST_SECONDS: Final = 86_400.0
_DOUBLINGS: Final = 16


def next_ask_seconds(asked: int, every_seconds: float | None) -> float:
    """After how long the same drift is asked about again, when it was asked about so often.

    An interval, then twice as long each time, a day at the most; but never more often than somebody looks by the clock.
    """
    interval = WITHOUT_INTERVAL_SECONDS if every_seconds is None else every_seconds
    doubled: float = interval * 2.0 ** min(asked - 1, _DOUBLINGS)
    return EARLIEST * max(interval, min(doubled, LONGEST_SECONDS))


def is_tolerated(path: str, patterns: Sequence[str]) -> bool:
    """Whether the path fits one of the patterns. Parts end at `/`: `*` is anything in one, `**` any parts, or none."""
    return any(_compiled(one).fullmatch(path) for one in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_WILD.get(one) or re.escape(one) for one in _TOKENS.split(pattern)), re.DOTALL)


_WILD = {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*"}
_TOKENS = re.compile(r"(\*\*/|/\*\*|\*\*|\*)")

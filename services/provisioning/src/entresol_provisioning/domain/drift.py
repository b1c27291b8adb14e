"""Which differences an offering puts up with."""

import re
from collections.abc import Sequence
from functools import lru_cache


def is_tolerated(path: str, patterns: Sequence[str]) -> bool:
    """Whether the path fits one of the patterns: `*` is anything within a part, `**` any parts. Parts end at `/`."""
    return any(_compiled(one).fullmatch(path) for one in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(wild.get(one) or re.escape(one) for one in parts), re.DOTALL)

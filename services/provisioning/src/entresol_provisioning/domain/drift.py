"""Which differences an offering puts up with."""

import re
from collections.abc import Sequence
from functools import lru_cache


def is_tolerated(path: str, patterns: Sequence[str]) -> bool:
    """Whether the path fits one of the patterns. Parts end at `/`: `*` is anything in one, `**` any parts, or none."""
    return any(_compiled(one).fullmatch(path) for one in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_WILD.get(one) or re.escape(one) for one in _TOKENS.split(pattern)), re.DOTALL)


_WILD = {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*"}
_TOKENS = re.compile(r"(\*\*/|/\*\*|\*\*|\*)")

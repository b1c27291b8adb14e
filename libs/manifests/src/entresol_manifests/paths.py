"""Which paths may be written to beneath a root: those that are plainly harmless, on every file system."""

import re
from typing import Final

LONGEST: Final = 1024
LONGEST_PART: Final = 200
_GIT = re.compile(r"(\.git|git~\d+)[ .]*\Z", re.IGNORECASE)


def is_harmless(path: str) -> bool:
    """Whether it is relative and can't lead out of the root, be an option, or be `.git` in some spelling of it."""
    return 0 < len(path) <= LONGEST and all(map(_is_name, path.split("/")))


def _is_name(part: str) -> bool:
    usual = part.strip(".") and len(part) <= LONGEST_PART and part.isprintable() and not part.startswith("-")
    return bool(usual) and not {"\\", ":"} & set(part) and not _GIT.match(part)

"""One digest for equal documents, however their keys were ordered or their file was laid out."""

import hashlib
import json
from typing import Any


def canonical(document: Any) -> bytes:
    """The JSON that is digested: sorted keys, no blanks, UTF-8. Raise ValueError for what is no JSON."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(document: Any) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()

"""Signed links by which a person answers an approval without a token: notification mints them, intake reads them.

A link is a bearer's: whoever holds it answers as the person it names, once, and only that one approval. What it says
is signed, not hidden. It can't be taken back alone; it ends with its time, or when its key leaves the key file.

The key file holds one key per line. The first signs, all of them are accepted: to rotate, add the new key as the
second line, put it first once both services have it, and drop the old one when its links have ended.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import Field

from entresol_eventing.settings import RuntimeSettings

VERSION: Final = "1"
MAX_TOKEN: Final = 1024
MIN_KEY: Final = 32
_CONTEXT: Final = b"entresol answer link\n"
"""Signed with every link, so that the key could sign other things and none of them would be a link."""


class LinkSettings(RuntimeSettings):
    """Settings of the two services that share the key."""

    link_key_file: Path | None = Field(
        default=None, description="File with the keys that sign links for answering approvals. None: no such links."
    )


@dataclass(frozen=True, slots=True)
class Link:
    """What a link lets its holder do."""

    approval_id: str
    actor: str
    """Who answers by it."""
    groups: tuple[str, ...]
    """Groups of the actor, as tokens name them: without `group:`."""
    expires_at: datetime
    """To the second; the rest is cut off. Whoever reads a link has to look at it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a key file, the one that signs first."""

    keys: Sequence[bytes]

    def mint(self, link: Link) -> str:
        """The link as a token: letters, digits, `-`, `_` and two dots. Raise ValueError if it exceeds 1 KiB."""
        says = [link.approval_id, link.actor, list(link.groups), int(link.expires_at.timestamp())]
        signed = f"{VERSION}.{_encode(json.dumps(says, separators=(',', ':'), ensure_ascii=False).encode())}"
        token = f"{signed}.{_mac(self.keys[0], signed)}"
        if len(token) > MAX_TOKEN:
            raise ValueError(f"a link for {link.actor} would exceed {MAX_TOKEN} bytes: too many or too long groups")
        return token

    def read(self, token: str) -> Link | None:
        """The link that one of the keys has signed, expired or not; None for anything else.

        Tokens are compared as they are written, so that no other writing of the same bytes is a second token.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            return None
        signed, _, mac = token.rpartition(".")
        # Every key is tried, whichever fits: how long it takes must not tell.
        if not sum(hmac.compare_digest(_mac(key, signed), mac) for key in self.keys):
            return None
        version, _, encoded = signed.partition(".")
        if version != VERSION:
            return None
        approval_id, actor, groups, expires_at = json.loads(_decode(encoded))
        return Link(approval_id, actor, tuple(groups), datetime.fromtimestamp(expires_at, UTC))


def read_keys(file: Path) -> Keys:
    """The keys of a key file; raise OSError if it can't be read, ValueError if it holds no keys."""
    keys = [line.strip().encode() for line in file.read_text("utf-8").splitlines() if line.strip()]
    if not keys or min(map(len, keys)) < MIN_KEY:
        raise ValueError(f"{file} must hold a key on each line, each of at least {MIN_KEY} characters")
    return Keys(keys)


def _mac(key: bytes, signed: str) -> str:
    return _encode(hmac.digest(key, _CONTEXT + signed.encode(), hashlib.sha256))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

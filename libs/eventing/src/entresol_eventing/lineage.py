"""Which log this is: the one that a service has published into, its refilled successor, or a strange one.

A bus that lost its disk comes back with an empty log. What a service says then must wait until the outboxes have
refilled it, or effects would lie on it before their causes. The stream's time of creation tells one log from another.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from nats.js.api import StreamInfo
from sqlalchemy import select
from sqlmodel import Session

from entresol_eventing.store import cursor

REFILLED: Final = "entresol-refilled"
"""Metadata of a stream that was refilled: up to which position it has each service's outbox, as JSON."""
INCOMPLETE: Final = "entresol-refilled-in-part"
"""Metadata of a refilled stream if the outboxes did not go back to the beginning any more."""


def log_name(created: datetime | str | None) -> str:
    """The cursor by which a service remembers that a log is one of its own."""
    return f"log@{created}"


def refilled(info: StreamInfo) -> Mapping[str, int] | None:
    """Up to which position a log has each outbox; None if nobody has refilled it."""
    marked = (info.config.metadata or {}).get(REFILLED)
    return None if marked is None else {str(name): int(at) for name, at in json.loads(marked).items()}


def strange(service: str, info: StreamInfo, session: Session) -> bool:
    """Whether a service has lived with another log, and not with this one."""
    names = list(session.execute(select(cursor.c.name)).scalars())
    others = {
        name for name in names if name.startswith(("log@", f"{service}@")) and not name.endswith(f"@{info.created}")
    }
    return bool(others) and log_name(info.created) not in names


def began_late(info: StreamInfo) -> str | None:
    """Why a log does not begin where the platform began, if it does not."""
    if info.state.first_seq > 1:
        return f"the log begins at position {info.state.first_seq}: what was before is past its retention"
    if INCOMPLETE in (info.config.metadata or {}):
        return "the log was refilled from outboxes that no longer went back to the beginning"
    return None

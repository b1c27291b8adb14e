"""Idempotency keys: whoever repeats a call with the same key gets the first answer again, and nothing happens twice.

A key belongs to an actor and to what the door calls a scope. The look-up and the row are in the transaction of the
call itself, so that of many at once one acts.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from entresol_eventing.http import Problem
from fastapi import Request
from fastapi.responses import Response
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_KEY
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.http.desk import unprocessable
from entresol_intake.store import add, answer_of, idempotency_keys


def key_of(request: Request) -> str | None:
    """The call's Idempotency-Key, if it has one; raise a Problem if it is not usable."""
    value = request.headers.get("idempotency-key")
    if value is not None and not (0 < len(value) <= MAX_KEY and value.isascii() and value.isprintable()):
        detail = f"It must have 1 to {MAX_KEY} printable ASCII characters."
        raise Problem(400, "The Idempotency-Key is not usable", detail)
    return value


@dataclass(frozen=True, slots=True)
class Once:
    """A call that acts once for each key; without a key, each time."""

    scope: str
    key: str | None
    digest: str

    @classmethod
    def of(cls, scope: str, key: str | None, raw: bytes) -> "Once":
        return cls(scope, key, hashlib.sha256(raw).hexdigest())

    def before(self, session: Session) -> tuple[str, str] | None:
        """The digest of the body and the answer, if this key was used before."""
        return None if self.key is None else answer_of(self.scope, self.key, session)

    def remember(self, answer: str, at: datetime, session: Session) -> None:
        if self.key is None:
            return
        row = {"scope": self.scope, "key": self.key, "digest": self.digest, "answer": answer, "answered_at": at}
        add(session, idempotency_keys, row)

    def replay(self, before: tuple[str, str], status: int) -> Response:
        """The first answer once more; raise a Problem if the key was used with another body."""
        if before[0] != self.digest:
            fault = Fault("", "differs from the body that this Idempotency-Key was first used with; take a new key")
            raise unprocessable(Invalid([fault]), "The Idempotency-Key was used for something else")
        return Response(before[1], status, {"Idempotency-Replayed": "true"}, media_type="application/json")

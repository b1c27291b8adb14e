"""Idempotency keys: whoever repeats a call with the same key gets the first answer again, and nothing happens twice.

A key belongs to an actor and to what the door calls a scope. The look-up and the row are in the transaction of the
call itself, so that of many at once one acts.
"""

from entresol_eventing.http import Problem
from fastapi import Request
from fastapi.responses import Response

from entresol_intake.domain.asks import MAX_KEY
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.http.desk import unprocessable


def key_of(request: Request) -> str | None:
    """The call's Idempotency-Key, if it has one; raise a Problem if it is not usable."""
    value = request.headers.get("idempotency-key")
    if value is not None and not (0 < len(value) <= MAX_KEY and value.isascii() and value.isprintable()):
        detail = f"It must have 1 to {MAX_KEY} printable ASCII characters."
        raise Problem(400, "The Idempotency-Key is not usable", detail)
    return value


def replay(before: tuple[str, str], digest: str, status: int) -> Response:
    """The first answer once more; raise a Problem if the key was used with another body."""
    if before[0] != digest:
        fault = Fault("", "differs from the body that this Idempotency-Key was first used with; take a new key")
        raise unprocessable(Invalid([fault]), "The Idempotency-Key was used for something else")
    return Response(before[1], status, {"Idempotency-Replayed": "true"}, media_type="application/json")

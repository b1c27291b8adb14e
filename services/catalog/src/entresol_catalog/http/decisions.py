"""What policy said about requests, read from its own facts.

A decision is long and nothing is folded from it, so a request does not carry it through its life: it lies in history.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from entresol_contracts.events import Hold, QuotaUse, Verdict
from pydantic import BaseModel
from sqlmodel import Session

from entresol_catalog.domain.requests import Request
from entresol_catalog.store.reading import latest_of_each, type_name

_OUTCOMES = {type_name("request.allowed"): "allowed", type_name("request.denied"): "denied"}


class Decision(BaseModel):
    """The last word of policy; verdicts, quotas and holds are as its fact has them."""

    outcome: Literal["allowed", "denied"]
    at: datetime
    verdicts: list[Verdict]
    unconcerned: list[str]
    """Policies in force whose `when` does not hold."""
    policies: int | None
    """How many policies were in force."""
    approvals: list[str]
    """Those that were granted for it."""
    quotas: list[QuotaUse]
    overridden: list[Hold]
    """Locks and windows that somebody let it through."""
    glass_broken: bool
    plan_digest: str | None
    """The plan that was looked at."""


@dataclass(slots=True)
class DecidedRequest(Request):
    decision: Decision | None = None


def with_decisions(documents: list[str], ids: Collection[str], session: Session) -> list[str]:
    """The documents of these requests, in the same order, each with what policy said last."""
    said = latest_of_each(ids, _OUTCOMES, session)
    return [
        f'{document[:-1]},"decision":{_decision(said[one]) if one in said else "null"}}}'
        for one, document in zip(ids, documents, strict=True)
    ]


def _decision(body: str) -> str:
    event: dict[str, Any] = json.loads(body)
    data = event["data"]
    decision = {
        "outcome": _OUTCOMES[event["type"]],
        "at": event["time"],
        "verdicts": data["verdicts"],
        "policies": data.get("policies"),
        "glass_broken": data.get("glass_broken", False),
        "plan_digest": data.get("plan_digest"),
        **{name: data.get(name, []) for name in ("unconcerned", "approvals", "quotas", "overridden")},
    }
    return json.dumps(decision, ensure_ascii=False)

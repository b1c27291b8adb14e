"""The moment an ask becomes a request: one row, one event, one transaction. The door and triggers both end here."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from entresol_contracts.events import Actor, Question, RequestSubmitted, Requirement, Snapshot
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.domain.asks import DELETE, RECONCILE
from entresol_intake.domain.asks import Snapshot as AskedSnapshot
from entresol_intake.offerings import Fitting
from entresol_intake.store import add, keep_open, requests

ASKED_ONCE: Final = frozenset({DELETE, RECONCILE})
"""What the platform itself asks for unless that is open."""


def submit(
    fitting: Fitting,
    request_id: str,
    actor: str,
    groups: Sequence[str],
    at: datetime,
    session: Session,
    *,
    correlationid: str | None = None,
    trigger: str | None = None,
    requirement: Requirement | None = None,
    question: Question | None = None,
) -> Iterator[Emit]:
    """Record the request. `correlationid` is that of the chain it joins; it starts one of its own without."""
    ask = fitting.ask
    add(
        session,
        requests,
        {
            "request_id": request_id,
            "resource_id": ask.resource_id,
            "project": ask.project,
            "correlationid": correlationid or request_id,
            "submitted_at": at,
        },
    )
    if fitting.action in ASKED_ONCE and not ask.dry_run and requirement is None:
        keep_open(request_id, ask.resource_id, fitting.action, session)
    yield Emit(
        data=RequestSubmitted(
            request_id=request_id,
            resource_id=ask.resource_id,
            project=ask.project,
            offering=ask.offering,
            offering_version=fitting.version,
            action=fitting.action,
            environment=ask.environment,
            name=ask.name,
            inputs=fitting.inputs,
            actor=Actor(id=actor, groups=list(groups)),
            dry_run=ask.dry_run,
            lifetime_seconds=fitting.lifetime_seconds,
            reason=ask.reason,
            trigger=trigger,
            break_glass=ask.break_glass,
            class_=ask.class_,
            requirement=requirement,
            question=question,
            snapshot=None if ask.snapshot is None else _snapshot(ask.snapshot),
            orphan=ask.orphan,
        ),
        subject=request_id,
        partitionkey=ask.resource_id,
        actor=actor,
        correlationid=correlationid or request_id,
    )


def _snapshot(asked: AskedSnapshot) -> Snapshot:
    return Snapshot(revision=asked.revision, request_id=asked.request_id)

"""The moment an ask becomes a request: one row, one event, one transaction. The door and triggers both end here."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from entresol_contracts.events import Actor, RequestSubmitted
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.offerings import Fitting
from entresol_intake.store import add, requests


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
        ),
        subject=request_id,
        partitionkey=ask.resource_id,
        actor=actor,
        correlationid=correlationid or request_id,
    )

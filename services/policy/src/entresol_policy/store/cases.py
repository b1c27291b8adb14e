"""Requests that were not decided at once, and what people were asked about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from entresol_contracts.events import RequestSubmitted, RunPlanned
from entresol_eventing.envelope import Cause, now
from entresol_eventing.statements import Statement
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlmodel import Session

from entresol_policy.domain.approvals import Approval
from entresol_policy.domain.decisions import Asked
from entresol_policy.domain.judging import Ask
from entresol_policy.store.tables import ApprovalRow, RequestRow, table

SUBMITTED, PLANNING, WAITING, HELD = "submitted", "planning", "waiting", "held"
ALLOWED, DENIED, REJECTED, EXPIRED, CANCELLED, FAILED = (
    "allowed",
    "denied",
    "rejected",
    "expired",
    "cancelled",
    "failed",
)
OPEN = (WAITING, HELD)
"""States in which policy is expected to move the request on."""
OVER = (ALLOWED, DENIED, REJECTED, EXPIRED, CANCELLED, FAILED)

request, approval = table(RequestRow), table(ApprovalRow)


@dataclass(slots=True)
class Case:
    """A request that is examined, with what was found before."""

    request: RequestSubmitted
    cause: Cause
    state: str
    plan: RunPlanned | None = None
    holds: tuple[dict[str, Any], ...] = ()
    overridden: tuple[dict[str, Any], ...] = ()
    stored: bool = False

    @property
    def id(self) -> str:
        return self.request.request_id

    @property
    def plan_digest(self) -> str | None:
        return None if self.plan is None else self.plan.digest


_FIND = Statement(select(request).where(request.c.id == bindparam("key")))
_STATE = Statement(select(request.c.state).where(request.c.id == bindparam("key")))


def state_of(session: Session, request_id: str) -> str | None:
    """None if it was decided at once, or never heard of."""
    found = _STATE.first(session.connection(), key=request_id)
    return None if found is None else found[0]


def find(session: Session, request_id: str) -> Case | None:
    row = _FIND.first(session.connection(), key=request_id)
    if row is None:
        return None
    _, state, document, plan, holds, overridden, cause, _ = row
    return Case(
        request=RequestSubmitted.model_validate(document),
        cause=Cause.model_validate(cause),
        state=state,
        plan=None if plan is None else RunPlanned.model_validate(plan),
        holds=tuple(holds),
        overridden=tuple(overridden),
        stored=True,
    )


def save(session: Session, case: Case) -> None:
    connection = session.connection()
    values: dict[str, Any] = {
        "state": case.state,
        "changed_at": now(),
        "plan": None if case.plan is None else case.plan.model_dump(mode="json", exclude_none=True),
        "holds": list(case.holds),
        "overridden": list(case.overridden),
        "cause": case.cause.model_dump(mode="json", exclude_none=True),
    }
    if case.stored:
        connection.execute(update(request).where(request.c.id == case.id).values(**values))
    else:
        document = case.request.model_dump(mode="json", exclude_none=True)
        connection.execute(insert(request), {"id": case.id, "document": document, **values})
        case.stored = True


def open_after(session: Session, request_id: str, most: int) -> list[str]:
    """The next requests that wait for people or are held, by id."""
    query = select(request.c.id).where(request.c.state.in_(OPEN), request.c.id > request_id)
    return list(session.connection().execute(query.order_by(request.c.id).limit(most)).scalars())


def open_questions(session: Session) -> int:
    """How many questions to people requests wait for; reviews are none, for nothing waits for them."""
    query = select(func.count()).join_from(request, approval, approval.c.request_id == request.c.id)
    query = query.where(request.c.state.in_(OPEN), approval.c.state == "pending")
    count: int = session.connection().execute(query).scalar_one()
    return count


def sweep(session: Session, before: datetime, most: int) -> int:
    """Forget requests that have been decided or over since then, the oldest first, and what was asked about them.

    None that waits for somebody, if only for a review. Return how many.
    """
    asked = select(approval.c.id).where(approval.c.request_id == request.c.id, approval.c.state == "pending")
    over = (request.c.state.in_(OVER), request.c.changed_at < before, ~asked.exists())
    query = select(request.c.id).where(*over).order_by(request.c.changed_at).limit(most)
    connection = session.connection()
    old = list(connection.execute(query).scalars())
    connection.execute(delete(approval).where(approval.c.request_id.in_(old)))
    connection.execute(delete(request).where(request.c.id.in_(old)))
    return len(old)


def ask(session: Session, asked: Asked, request_id: str, because: str | None, standing: Approval) -> None:
    row = {
        "id": asked.id,
        "request_id": request_id,
        "policy": asked.policy,
        "state": asked.state,
        "plan_digest": asked.plan_digest,
        "ask": {**_ask_document(asked.ask), "because": because, "inputs_digest": asked.inputs_digest},
        "document": standing.as_json(),
    }
    session.connection().execute(insert(approval), row)


@dataclass(frozen=True, slots=True)
class Question:
    """An approval with the request that it is about."""

    asked: Asked
    request_id: str
    because: str | None
    standing: Approval


def question(session: Session, approval_id: str) -> Question | None:
    row = session.connection().execute(select(approval).where(approval.c.id == approval_id)).first()
    return None if row is None else _question(row)


def questions(session: Session, request_id: str) -> Sequence[Question]:
    """Everything that people were ever asked about the request, oldest first."""
    query = select(approval).where(approval.c.request_id == request_id).order_by(approval.c.id)
    return [_question(row) for row in session.connection().execute(query)]


def _question(row: Any) -> Question:
    standing = Approval.from_json(row.document)
    asked = Asked(row.id, row.policy, _read_ask(row.ask), row.plan_digest, standing.state, row.ask.get("inputs_digest"))
    return Question(asked, row.request_id, row.ask.get("because"), standing)


def save_standing(session: Session, approval_id: str, standing: Approval) -> None:
    values = {"state": standing.state, "document": standing.as_json()}
    session.connection().execute(update(approval).where(approval.c.id == approval_id).values(**values))


def _ask_document(ask: Ask) -> dict[str, Any]:
    return {
        "approvers": list(ask.approvers),
        "count": ask.count,
        "all": ask.all,
        "not_self": ask.not_self,
        "within_seconds": ask.within.total_seconds(),
    }


def _read_ask(document: dict[str, Any]) -> Ask:
    return Ask(
        approvers=tuple(document["approvers"]),
        count=document["count"],
        all=document["all"],
        not_self=document["not_self"],
        within=timedelta(seconds=document["within_seconds"]),
    )

"""Policy's own state: the policies in force, and the requests that wait for people.

A request that is decided at once leaves no row: its decision is in the outbox and on the log, a second delivery is
dropped by the inbox, and it can't have been cancelled before, because on the log its submission comes first.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from entresol_contracts.events import Verdict
from entresol_eventing.store import UtcDateTime, table_base
from sqlalchemy import JSON, Index, delete, insert, select, update
from sqlmodel import Field, Session, SQLModel, col

from entresol_policy.domain.approvals import Answer, Approval, ApprovalState, RequestState

if TYPE_CHECKING:  # a base class that is made by a call has no type of its own

    class Base(SQLModel): ...

else:
    Base = table_base()


class PolicyInForce(Base, table=True):
    __tablename__ = "policy"

    name: str = Field(primary_key=True)
    digest: str
    manifest: dict[str, Any] = Field(sa_type=JSON)


class WaitingRequest(Base, table=True):
    """A request that asked people, kept after its end so that later answers are told why they don't count."""

    __tablename__ = "waiting_request"

    id: str = Field(primary_key=True)
    resource_id: str
    project: str
    requested_by: str
    verdicts: list[Any] = Field(sa_type=JSON)
    state: str
    submitted_at: datetime = Field(sa_type=UtcDateTime)


class ApprovalAsked(Base, table=True):
    __tablename__ = "approval"
    __table_args__ = (Index("approval_request", "request_id"),)

    id: str = Field(primary_key=True)
    request_id: str
    policy: str
    approvers: list[str] = Field(sa_type=JSON)
    count: int
    not_self: bool
    expires_at: datetime = Field(sa_type=UtcDateTime)
    state: str
    answers: list[Any] = Field(sa_type=JSON)


def put_policy(session: Session, name: str, digest: str, manifest: dict[str, Any]) -> None:
    remove_policy(session, name)
    session.execute(insert(PolicyInForce), [{"name": name, "digest": digest, "manifest": manifest}])


def remove_policy(session: Session, name: str) -> None:
    session.execute(delete(PolicyInForce).where(col(PolicyInForce.name) == name))


def policies(session: Session) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, digest and manifest of every policy in force, by name."""
    columns = (col(PolicyInForce.name), col(PolicyInForce.digest), col(PolicyInForce.manifest))
    found = session.execute(select(*columns).order_by(columns[0]))
    return [(name, digest, manifest) for name, digest, manifest in found]


def is_known(session: Session, request_id: str) -> bool:
    """Whether people were asked about this request, now or earlier."""
    query = select(col(WaitingRequest.id)).where(col(WaitingRequest.id) == request_id)
    return session.execute(query).first() is not None


def put_waiting(session: Session, request: dict[str, Any], approvals: list[dict[str, Any]]) -> None:
    session.execute(insert(WaitingRequest), [request])
    session.execute(insert(ApprovalAsked), approvals)


@dataclass(frozen=True, slots=True)
class Asked:
    """An approval with what is known of its request."""

    id: str
    policy: str
    request_id: str
    resource_id: str
    project: str
    request_state: RequestState
    approval: Approval


def asked(session: Session, approval_id: str) -> Asked | None:
    query = (
        select(ApprovalAsked, WaitingRequest)
        .join(WaitingRequest, col(WaitingRequest.id) == col(ApprovalAsked.request_id))
        .where(col(ApprovalAsked.id) == approval_id)
    )
    found = session.execute(query.execution_options(populate_existing=True)).first()
    if found is None:
        return None
    row, request = found
    answers = tuple(
        Answer(one["by"], one["answer"], one.get("reason"), datetime.fromisoformat(one["at"])) for one in row.answers
    )
    approval = Approval(
        approvers=tuple(row.approvers),
        count=row.count,
        not_self=row.not_self,
        requested_by=request.requested_by,
        expires_at=row.expires_at,
        state=row.state,
        answers=answers,
    )
    return Asked(row.id, row.policy, request.id, request.resource_id, request.project, request.state, approval)


def save_approval(session: Session, approval_id: str, approval: Approval) -> bool:
    """Write down answers and state; False if the approval was not pending any more."""
    changed = session.connection().execute(
        update(ApprovalAsked)
        .where(col(ApprovalAsked.id) == approval_id, col(ApprovalAsked.state) == "pending")
        .values(
            state=approval.state,
            answers=[
                {"by": one.by, "answer": one.answer, "reason": one.reason, "at": one.at.isoformat()}
                for one in approval.answers
            ],
        )
    )
    return bool(changed.rowcount)


def end_request(session: Session, request_id: str, state: RequestState) -> bool:
    """Move a waiting request on; False if it was not waiting."""
    changed = session.connection().execute(
        update(WaitingRequest)
        .where(col(WaitingRequest.id) == request_id, col(WaitingRequest.state) == "waiting")
        .values(state=state)
    )
    return bool(changed.rowcount)


def approvals(session: Session, request_id: str, state: ApprovalState) -> list[str]:
    """Ids of the request's approvals in that state, oldest first."""
    query = select(col(ApprovalAsked.id)).where(
        col(ApprovalAsked.request_id) == request_id, col(ApprovalAsked.state) == state
    )
    return list(session.execute(query.order_by(col(ApprovalAsked.id))).scalars())


def close_approvals(session: Session, request_id: str) -> list[str]:
    """Close what is still pending of the request; return the ids."""
    pending = approvals(session, request_id, "pending")
    if pending:
        session.execute(update(ApprovalAsked).where(col(ApprovalAsked.id).in_(pending)).values(state="closed"))
    return pending


def verdicts(session: Session, request_id: str) -> list[Verdict]:
    query = select(col(WaitingRequest.verdicts)).where(col(WaitingRequest.id) == request_id)
    return [Verdict.model_validate(one) for one in session.execute(query).scalar_one()]

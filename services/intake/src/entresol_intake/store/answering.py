"""Approvals that policy asked for, and what people answered by link."""

from datetime import datetime
from typing import Any

from entresol_eventing.store import UtcDateTime
from sqlalchemy import JSON, ColumnElement, delete, update
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, add, table


class Approval(Base, table=True):
    """Approvals that policy asked for, so that an answer finds its request and its project."""

    __tablename__ = "approval"
    approval_id: str = Field(primary_key=True)
    request_id: str
    resource_id: str
    project: str
    cause: dict[str, Any] = Field(sa_type=JSON)
    document: dict[str, Any] = Field(sa_type=JSON)
    """What it is about, as whoever answers by link is shown it; empty if it was asked for before there were links."""
    ended: str | None
    """granted, rejected, expired or closed; None while it is open."""


class LinkAnswer(Base, table=True):
    """Answers that were given by link. A link answers once, however often its form is sent."""

    __tablename__ = "link_answer"
    approval_id: str = Field(primary_key=True)
    actor: str = Field(primary_key=True)
    answer: str
    answered_at: datetime = Field(sa_type=UtcDateTime)
    event: str | None
    """In which it was said; what policy says of it names that. Not known of answers from before it was kept."""
    refused: str | None
    """Why policy did not count it, if it said so; then it may be answered again."""


approvals, link_answers = table(Approval), table(LinkAnswer)


def approval_of(approval_id: str, session: Session) -> Approval | None:
    return session.get(Approval, approval_id)


def end_approval(approval_id: str, how: str, session: Session) -> None:
    """Remember that nothing waits for an answer any more; the first end is the one that counts."""
    open_one = (approvals.c.approval_id == approval_id) & approvals.c.ended.is_(None)
    session.connection().execute(update(approvals).where(open_one).values(ended=how))


def link_answer_of(approval_id: str, actor: str, session: Session) -> LinkAnswer | None:
    return session.get(LinkAnswer, (approval_id, actor))


def remember_link_answer(given: LinkAnswer, session: Session) -> None:
    """Remember it, in place of one that was refused."""
    forget_link_answer(given.approval_id, given.actor, session)
    add(session, link_answers, given.model_dump())


def refuse_link_answer(approval_id: str, actor: str, event: str | None, reason: str, session: Session) -> None:
    """Remember why the answer of that event does not count; other things the same person said change nothing."""
    that = _of(approval_id, actor) & (link_answers.c.event == event)
    session.connection().execute(update(link_answers).where(that).values(refused=reason))


def forget_link_answer(approval_id: str, actor: str, session: Session) -> None:
    session.connection().execute(delete(link_answers).where(_of(approval_id, actor)))


def _of(approval_id: str, actor: str) -> ColumnElement[bool]:
    return (link_answers.c.approval_id == approval_id) & (link_answers.c.actor == actor)

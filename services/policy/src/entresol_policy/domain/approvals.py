"""The life of one approval."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from entresol_policy.domain.scopes import entitled

ApprovalState: TypeAlias = Literal["pending", "granted", "rejected", "expired", "closed"]


@dataclass(frozen=True, slots=True)
class Answer:
    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    approvers: tuple[str, ...]
    count: int
    not_self: bool
    requested_by: str
    expires_at: datetime
    all_: bool = False
    review: bool = False
    state: ApprovalState = "pending"
    answers: tuple[Answer, ...] = ()
    escalated_to: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "approvers": list(self.approvers),
            "count": self.count,
            "not_self": self.not_self,
            "requested_by": self.requested_by,
            "expires_at": self.expires_at.isoformat(),
            "all": self.all_,
            "review": self.review,
            "state": self.state,
            "answers": [
                {"by": a.by, "answer": a.answer, "reason": a.reason, "at": a.at.isoformat()} for a in self.answers
            ],
            "escalated_to": list(self.escalated_to),
        }

    @classmethod
    def from_json(cls, d: Mapping[str, Any]) -> "Approval":
        return cls(
            tuple(d["approvers"]),
            d["count"],
            d["not_self"],
            d["requested_by"],
            datetime.fromisoformat(d["expires_at"]),
            d.get("all", False),
            d.get("review", False),
            d["state"],
            tuple(Answer(a["by"], a["answer"], a.get("reason"), datetime.fromisoformat(a["at"])) for a in d["answers"]),
            tuple(d.get("escalated_to", ())),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


UNKNOWN = Refusal("too late: no such approval is waiting for an answer")


def weigh(approval: Approval, request: str, answer: Answer, groups: Collection[str]) -> Approval | Refusal:
    if reason := _over(approval, request, answer.at):
        return Refusal(reason)
    who = (*approval.approvers, *approval.escalated_to)
    if not entitled(who, answer.by, groups):
        return Refusal(f"not an approver: {answer.by} is none of {', '.join(who)}")
    if approval.not_self and answer.by == approval.requested_by:
        return Refusal(f"own request: {answer.by} asked for it and may not answer it")
    if any(earlier.by == answer.by for earlier in approval.answers):
        return Refusal(f"answered already: {answer.by} has said what counts")
    answers = (*approval.answers, answer)
    if answer.answer == "rejected":
        return replace(approval, answers=answers, state="rejected")
    if len(answers) >= approval.count:
        return replace(approval, answers=answers, state="granted")
    return replace(approval, answers=answers)


def withdraw(a: Approval, by: str, at: datetime) -> Approval | Refusal:
    return replace(a, answers=tuple(x for x in a.answers if x.by != by))


def delegate(a: Approval, by: str, groups: Collection[str], to: str, at: datetime) -> Approval | Refusal:
    return replace(a, escalated_to=(*a.escalated_to, to))


def escalate(a: Approval, to: Collection[str]) -> Approval:
    return replace(a, escalated_to=(*a.escalated_to, *to))


def _over(approval: Approval, request: str, at: datetime) -> str | None:
    if request == "cancelled":
        return "too late: the request was cancelled"
    if approval.state == "expired" or (
        approval.state == "pending" and at >= approval.expires_at and not approval.review
    ):
        return f"too late: it expired at {approval.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if approval.state in ("granted", "rejected"):
        return f"closed: it is {approval.state} already"
    if approval.state == "closed":
        return f"closed: the request is {request} already"
    return None

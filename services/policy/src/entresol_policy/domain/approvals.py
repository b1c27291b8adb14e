"""Which answers to an approval count, and what they amount to.

An answer counts if the approval is still open, its time is not over, and the actor is entitled, is not the
requester (unless that is wanted) and has not answered before. Each refusal has a reason for its author.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

ApprovalState: TypeAlias = Literal["pending", "granted", "rejected", "expired", "closed"]
RequestState: TypeAlias = Literal["waiting", "allowed", "rejected", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said."""

    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to people about one request."""

    approvers: tuple[str, ...]
    count: int
    not_self: bool
    requested_by: str
    expires_at: datetime
    state: ApprovalState
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that does not count, and why."""

    reason: str


UNKNOWN = Refusal("too late: no such approval is waiting for an answer")


def weigh(approval: Approval, request: RequestState, answer: Answer, groups: Collection[str]) -> Approval | Refusal:
    """The approval after the answer, or why the answer does not count.

    One rejection decides; grants decide when `count` different people gave one.
    """
    if reason := _over(approval, request, answer.at):
        return Refusal(reason)
    if not entitled(approval.approvers, answer.by, groups):
        return Refusal(f"not an approver: {answer.by} is none of {', '.join(approval.approvers)}")
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


def entitled(approvers: Collection[str], actor: str, groups: Collection[str]) -> bool:
    """Whether the actor is named, or is in a named group. Groups of actors come without the `group:`."""
    return actor in approvers or any(f"group:{group}" in approvers for group in groups)


def _over(approval: Approval, request: RequestState, at: datetime) -> str | None:
    if request == "cancelled":
        return "too late: the request was cancelled"
    if approval.state == "expired" or (approval.state == "pending" and at >= approval.expires_at):
        return f"too late: it expired at {approval.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if approval.state in ("granted", "rejected"):
        return f"closed: it is {approval.state} already"
    if approval.state == "closed":
        return f"closed: the request is {request} already"
    return None

"""An approval as people see it: who may answer, who has, and how it ended.

A review is an approval that nothing waits for: somebody signs off that a glass was broken. It outlives its request.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ApprovalState = Literal["pending", "granted", "rejected", "expired", "closed"]


@dataclass(slots=True)
class Answer:
    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime
    event: str | None = None
    """The id of the event in which it was said; None once policy has counted it."""


@dataclass(slots=True)
class Refusal:
    """An answer, a withdrawal or a delegation that did not count, and why."""

    by: str
    reason: str
    at: datetime
    """When the answer was given; when it was refused, if the answer itself is not known."""


@dataclass(slots=True)
class Withdrawal:
    """A grant that its author took back."""

    by: str
    reason: str | None
    at: datetime
    answer: Answer
    event: str | None = None


@dataclass(slots=True)
class Delegation:
    """Somebody who was asked hands it on."""

    by: str
    to: str
    reason: str | None
    at: datetime
    event: str | None = None


@dataclass(slots=True)
class Approval:
    """Belongs to one request and, unless it is a review, changes only with it."""

    id: str
    request: str
    resource: str
    project: str
    policy: str
    approvers: list[str]
    count: int
    not_self: bool
    because: str | None
    """Why the policy asks."""
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    """When it ends unanswered; for a review, when it is due."""
    state: ApprovalState = "pending"
    answers: list[Answer] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    all: bool = False
    """Each of the approvers has to grant."""
    reason: str | None = None
    """Why it was asked for, in the requester's words."""
    plan: dict[str, Any] | None = None
    """What people are asked to approve, in figures."""
    review: bool = False
    remind_at: datetime | None = None
    reminded_at: datetime | None = None
    escalates_at: datetime | None = None
    escalates_to: list[str] = field(default_factory=list)
    escalated_at: datetime | None = None
    delegations: list[Delegation] = field(default_factory=list)
    withdrawn: list[Withdrawal] = field(default_factory=list)
    closed_because: str | None = None
    """Why the question is not open any more though nobody decided it; absent if its request has ended."""

    def hear(self, answer: Answer) -> bool:
        """Note an answer that policy has not judged yet."""
        known = {(one.by, one.at) for one in self.answers} | {(one.by, one.at) for one in self.refused}
        known |= {(one.answer.by, one.answer.at) for one in self.withdrawn}
        if self.state != "pending" or (answer.by, answer.at) in known:
            return False
        self.answers.append(answer)
        return True

    def withdraw(self, by: str, reason: str | None, at: datetime, event: str | None = None) -> bool:
        """Take back that actor's latest grant, until policy says that it stands."""
        grants = [one for one in self.answers if one.by == by and one.answer == "granted"]
        if self.state != "pending" or not grants or grants[-1].at > at:
            return False
        self.answers.remove(grants[-1])
        self.withdrawn.append(Withdrawal(by, reason, at, grants[-1], event))
        return True

    def delegate(self, delegation: Delegation) -> bool:
        """Note that somebody handed it on, which policy has not judged yet."""
        known = {(one.by, one.at) for one in self.delegations} | {(one.by, one.at) for one in self.refused}
        if self.state != "pending" or (delegation.by, delegation.at) in known:
            return False
        self.delegations.append(delegation)
        return True

    def refuse(self, by: str, reason: str, at: datetime, event: str | None) -> bool:
        """What this actor said in that event does not count: an answer, a withdrawal, or a delegation."""
        if any(one.by == by and one.reason == reason and one.at == at for one in self.refused):
            return False
        said = self._said(event) if self.state == "pending" and event else None
        if isinstance(said, Answer):
            self.answers.remove(said)
        elif isinstance(said, Delegation):
            self.delegations.remove(said)
        elif isinstance(said, Withdrawal):
            self.withdrawn.remove(said)
            self.answers.append(said.answer)
            self.answers.sort(key=lambda one: one.at)
        self.refused.append(Refusal(by, reason, at if said is None else said.at))
        return True

    def remind(self, at: datetime) -> bool:
        if self.state != "pending" or self.reminded_at == at:
            return False
        self.reminded_at = at
        return True

    def escalate(self, approvers: list[str], expires_at: datetime, at: datetime) -> bool:
        """Others may answer too, besides those who were asked."""
        if self.state != "pending" or self.escalated_at is not None:
            return False
        self.approvers = list(dict.fromkeys([*self.approvers, *approvers]))
        self.escalated_at, self.expires_at = at, expires_at
        return True

    def end(self, state: ApprovalState, answers: list[Answer] | None = None, because: str | None = None) -> bool:
        """The first end counts; with it come the answers that policy has counted, withdrawn too late or not."""
        if self.state != "pending":
            return False
        self.state, self.closed_because = state, because
        if answers is not None:
            self.answers = answers
            counted = {(one.by, one.at) for one in answers}
            self.withdrawn = [one for one in self.withdrawn if (one.answer.by, one.answer.at) not in counted]
        return True

    def _said(self, event: str) -> Answer | Withdrawal | Delegation | None:
        said: list[Answer | Withdrawal | Delegation] = [*self.answers, *self.withdrawn, *self.delegations]
        return next((one for one in said if one.event == event), None)

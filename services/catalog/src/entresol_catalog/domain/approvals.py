"""An approval as people see it: who may answer, who has, and how it ended.

A review is an approval that nothing waits for: somebody signs off that a glass was broken. It outlives its request.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Statement = Literal["granted", "rejected", "withdrawn", "delegated"]
ApprovalState = Literal["pending", "granted", "rejected", "expired", "closed"]


@dataclass(slots=True)
class Said:
    """What somebody said, of which policy has not said yet whether it counts."""

    by: str
    said: Statement
    reason: str | None
    at: datetime
    event: str
    """The id of the event in which it was said; what came of it has the same."""
    to: str | None = None
    """Who may answer instead, if it is delegated."""


@dataclass(slots=True)
class Answer:
    """An answer that counts."""

    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime
    event: str
    in_place_of: str | None = None
    """Who delegated it."""
    stands_for: list[str] = field(default_factory=list)
    """The approvers for any one of whom it is."""


@dataclass(slots=True)
class Refusal:
    """An answer, a withdrawal or a delegation that did not count, and why."""

    by: str
    reason: str
    at: datetime
    """When it was said; when it was refused, if what was said is not known."""
    event: str


@dataclass(slots=True)
class Withdrawal:
    """A grant that its author took back."""

    by: str
    reason: str | None
    at: datetime
    event: str
    answer: Answer | None


@dataclass(slots=True)
class Delegation:
    """Somebody who was asked hands it on."""

    by: str
    to: str
    reason: str | None
    at: datetime
    event: str


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
    unruled: list[Said] = field(default_factory=list)
    """What policy has not ruled on yet; all else that was said counts, or is among the refused."""
    missing: int = 1
    """Grants that are still needed."""
    missing_from: list[str] = field(default_factory=list)
    """Whose grants would count now."""
    closed_because: str | None = None
    """Why the question is not open any more though nobody decided it; absent if its request has ended."""

    def ask(self, approvers: list[str]) -> None:
        """Their grants would count now, but for that of who asked for it, unless it is wanted."""
        others = [one for one in approvers if not (self.not_self and one == self.requested_by)]
        self.missing_from = list(dict.fromkeys([*self.missing_from, *others]))

    def hear(self, said: Said) -> bool:
        """Note what was said until policy rules on it."""
        if self._has_ruled(said.event) or said in self.unruled:
            return False
        self.unruled.append(said)
        return True

    def accept(self, said: Said, missing: int, missing_from: list[str], given: Answer | None = None) -> bool:
        """What was said counts. `given` is the answer, if it is one."""
        if self._has_ruled(said.event):
            return False
        self._take(said.event)
        if given is not None:
            self.answers.append(given)
        elif said.to is not None:
            self.delegations.append(Delegation(said.by, said.to, said.reason, said.at, said.event))
        else:
            taken = next((one for one in self.answers if one.by == said.by), None)
            self.answers = [one for one in self.answers if one is not taken]
            self.withdrawn.append(Withdrawal(said.by, said.reason, said.at, said.event, taken))
        if self.state == "pending":
            self.missing, self.missing_from = missing, missing_from
        return True

    def refuse(self, by: str, reason: str, at: datetime, event: str) -> bool:
        """What this actor said in that event does not count: an answer, a withdrawal, or a delegation."""
        if self._has_ruled(event):
            return False
        said = self._take(event)
        self.refused.append(Refusal(by, reason, at if said is None else said.at, event))
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
        self.ask(approvers)
        self.escalated_at, self.expires_at = at, expires_at
        return True

    def end(self, state: ApprovalState, because: str | None = None) -> bool:
        """The first end counts."""
        if self.state != "pending":
            return False
        self.state, self.closed_because = state, because
        self.missing, self.missing_from = 0, []
        return True

    def _has_ruled(self, event: str) -> bool:
        ruled: list[Answer | Withdrawal | Delegation | Refusal] = [*self.answers, *self.withdrawn]
        ruled += [*self.delegations, *self.refused, *(one.answer for one in self.withdrawn if one.answer)]
        return any(one.event == event for one in ruled)

    def _take(self, event: str) -> Said | None:
        """What was said in that event, if it was heard, which does not wait for policy's word any more."""
        found = next((one for one in self.unruled if one.event == event), None)
        if found is not None:
            self.unruled.remove(found)
        return found

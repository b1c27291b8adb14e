"""An approval as people see it: who may answer, who has, and how it ended."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ApprovalState = Literal["pending", "granted", "rejected", "expired", "closed"]


@dataclass(slots=True)
class Answer:
    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime


@dataclass(slots=True)
class Refusal:
    """An answer that did not count, and why."""

    by: str
    reason: str
    at: datetime
    """When the answer was given; when it was refused, if the answer itself is not known."""


@dataclass(slots=True)
class Approval:
    """Belongs to one request and changes only with it."""

    id: str
    request: str
    resource: str
    project: str
    policy: str
    approvers: list[str]
    count: int
    not_self: bool
    because: str | None
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    state: ApprovalState = "pending"
    answers: list[Answer] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def hear(self, answer: Answer) -> bool:
        """Note an answer that policy has not judged yet."""
        known = {(one.by, one.at) for one in self.answers} | {(one.by, one.at) for one in self.refused}
        if self.state != "pending" or (answer.by, answer.at) in known:
            return False
        self.answers.append(answer)
        return True

    def refuse(self, by: str, reason: str, at: datetime) -> bool:
        """Move the latest answer of that actor to those that did not count."""
        if any(one.by == by and one.reason == reason and one.at == at for one in self.refused):
            return False
        for index in range(len(self.answers) - 1, -1, -1):
            if self.answers[index].by == by and self.state == "pending":
                at = self.answers.pop(index).at
                break
        self.refused.append(Refusal(by, reason, at))
        return True

    def end(self, state: ApprovalState, answers: list[Answer] | None = None) -> bool:
        """The first end counts; with it come the answers that policy has counted."""
        if self.state != "pending":
            return False
        self.state = state
        if answers is not None:
            self.answers = answers
        return True

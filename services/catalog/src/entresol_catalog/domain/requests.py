"""The life of one request, folded from the facts that its chain leaves on the log.

- The first terminal fact wins; after it only answers that came too late are noted.
- A state never goes back: a fact that comes late fills in what it knows, and no more.
- Each fact that changed something raises the revision by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from entresol_catalog.domain.approvals import Answer, Approval

Outcome = Literal["succeeded", "failed", "denied", "rejected", "expired", "cancelled"]
State = Literal[
    "submitted",
    "waiting-for-approval",
    "allowed",
    "planned",
    "running",
    "succeeded",
    "failed",
    "denied",
    "rejected",
    "expired",
    "cancelled",
]
StepState = Literal["pending", "running", "retrying", "succeeded", "skipped", "failed", "cancelled"]

TERMINAL: frozenset[str] = frozenset(get_args(Outcome))
_RANK: Mapping[str, int] = {"submitted": 0, "waiting-for-approval": 1, "allowed": 2, "planned": 3, "running": 4}
_WAIT: Mapping[str, str] = {
    "submitted": "policy",
    "waiting-for-approval": "approval",
    "allowed": "queue",
    "planned": "run",
    "running": "run",
}
_DONE = frozenset({"succeeded", "skipped"})
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Step:
    name: str
    state: StepState = "pending"
    attempt: int = 0
    message: str | None = None


@dataclass(slots=True)
class Cancellation:
    """Somebody asked for a stop; only provisioning says whether it came in time."""

    by: str
    reason: str | None
    at: datetime


@dataclass(slots=True)
class Request:
    id: str
    resource: str
    project: str
    environment: str
    offering: str
    offering_version: str
    action: str
    name: str
    inputs: dict[str, Any]
    actor: str
    dry_run: bool
    reason: str | None
    trigger: str | None
    correlationid: str
    submitted_at: datetime
    updated_at: datetime
    since: datetime
    """When it came into its state."""
    state: State = "submitted"
    because: list[str] = field(default_factory=list)
    completed_at: datetime | None = None
    duration_ms: int | None = None
    revision: int = 1
    waiting_for: str | None = "policy"
    stalled_since: datetime | None = None
    run_id: str | None = None
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    approvals: list[Approval] = field(default_factory=list)
    plan: dict[str, Any] | None = None
    cancellation: Cancellation | None = None
    waits: dict[str, int] = field(default_factory=dict)
    """Milliseconds spent in waiting for policy, an approval, the queue, and the run."""

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def expected(self) -> str:
        """The service that has to move it on."""
        return "policy" if _RANK.get(self.state, 9) < 2 and self.cancellation is None else "provisioning"

    def ask(self, approval: Approval, at: datetime) -> bool:
        """People are asked; the request waits for them unless it was allowed already."""
        if self.terminal or self.approval(approval.id) is not None:
            return False
        if self.state in ("submitted", "planned"):
            self._enter("waiting-for-approval", at)
        elif self.state != "waiting-for-approval":
            approval.end("granted")
        self.approvals.append(approval)
        return self._changed(at)

    def hear(self, approval_id: str, answer: Answer, at: datetime) -> bool:
        approval = self.approval(approval_id)
        return approval is not None and not self.terminal and approval.hear(answer) and self._changed(at)

    def refuse(self, approval_id: str, by: str, reason: str, at: datetime) -> bool:
        """An answer that comes too late is refused too, so this may happen to a request that has ended."""
        approval = self.approval(approval_id)
        return approval is not None and approval.refuse(by, reason, at) and self._changed(at)

    def grant(self, approval_id: str, answers: list[Answer], at: datetime) -> bool:
        approval = self.approval(approval_id)
        return approval is not None and approval.end("granted", answers) and self._changed(at)

    def allow(self, at: datetime) -> bool:
        if _RANK.get(self.state, 9) >= _RANK["allowed"]:
            return False
        self._enter("allowed", at)
        for approval in self.approvals:
            approval.end("granted")
        return self._changed(at)

    def cancel(self, by: str, reason: str | None, at: datetime) -> bool:
        if self.terminal or self.cancellation is not None:
            return False
        self.cancellation = Cancellation(by, reason, at)
        return self._changed(at)

    def show(self, plan: dict[str, Any], at: datetime) -> bool:
        """What the run would do is known."""
        if self.terminal or plan == self.plan:
            return False
        self.plan = plan
        if _RANK[self.state] < _RANK["planned"]:
            self._enter("planned", at)
        return self._changed(at)

    def start(self, run_id: str, steps: list[str], running: list[str], at: datetime) -> bool:
        if self.terminal or self.run_id is not None:
            return False
        self.run_id = run_id
        known = {step.name: step for step in self.steps}
        self.steps = [known.get(name) or Step(name) for name in steps]
        self._run(running)
        if self.state != "running":
            self._enter("running", at)
        return self._changed(at)

    def progress(
        self,
        name: str,
        state: Literal["succeeded", "skipped", "retrying"],
        attempt: int,
        message: str | None,
        running: list[str],
        at: datetime,
    ) -> bool:
        if self.terminal:
            return False
        step = next((one for one in self.steps if one.name == name), None)
        if step is None:
            step = Step(name)
            self.steps.append(step)
        if step.state in _DONE or attempt < step.attempt or (step.state, step.attempt) == (state, attempt):
            return False
        step.state, step.attempt, step.message = state, attempt, message
        self._run(running)
        if self.state != "running":
            self._enter("running", at)
        return self._changed(at)

    def stall(self, state: str, since: datetime) -> bool:
        """Nobody has moved it on; forgotten as soon as somebody does."""
        if self.state != state or self.stalled_since is not None or since != self.updated_at:
            return False
        self.revision += 1
        self.stalled_since = since
        return True

    def succeed(self, outputs: dict[str, Any], at: datetime) -> bool:
        if not self._end("succeeded", [], at):
            return False
        self.outputs = outputs
        for step in self.steps:
            if step.state not in _DONE:
                step.state, step.attempt = "succeeded", max(1, step.attempt)
        return True

    def fail(self, reason: str, step_name: str | None, at: datetime) -> bool:
        if not self._end("failed", [reason if step_name is None else f"step {step_name}: {reason}"], at):
            return False
        for step in self.steps:
            if step.name == step_name:
                step.state, step.attempt, step.message = "failed", max(1, step.attempt), reason
            elif step.state not in _DONE:
                step.state = "cancelled"
        return True

    def stop(self, reason: str, at: datetime) -> bool:
        if not self._end("cancelled", [reason], at):
            return False
        for step in self.steps:
            if step.state not in _DONE:
                step.state = "cancelled"
        return True

    def deny(self, because: list[str], at: datetime) -> bool:
        return self._end("denied", because, at)

    def reject(self, approval_id: str, answers: list[Answer], at: datetime) -> bool:
        if self.terminal:
            return False
        approval = self.approval(approval_id)
        if approval is not None:
            approval.end("rejected", answers)
        because = [one.reason or f"rejected by {one.by}" for one in answers if one.answer == "rejected"]
        return self._end("rejected", because or ["rejected"], at)

    def expire(self, approval_id: str, policy: str, answers: list[Answer], at: datetime) -> bool:
        if self.terminal:
            return False
        approval = self.approval(approval_id)
        if approval is not None:
            approval.end("expired", answers)
        return self._end("expired", [f"the approval that {policy} asks for was not given in time"], at)

    def look_again_at(self, patience_seconds: Mapping[str, float]) -> datetime | None:
        """When somebody must have moved it on: counted from the last fact, or from the end of an approval.

        None if nothing is to be expected any more, or if it was told already.
        """
        if self.terminal or self.stalled_since is not None:
            return None
        patience = timedelta(seconds=patience_seconds[self.state])
        if self.state == "waiting-for-approval" and self.cancellation is None:
            ends = [one.expires_at for one in self.approvals if one.state == "pending"]
            return max(self.updated_at, min(ends, default=self.updated_at)) + patience
        return self.updated_at + patience

    def approval(self, approval_id: str) -> Approval | None:
        for one in self.approvals:
            if one.id == approval_id:
                return one
        return None

    def _run(self, names: list[str]) -> None:
        for step in self.steps:
            if step.name in names:
                step.state, step.attempt = "running", max(1, step.attempt)
            elif step.state == "running":
                step.state = "pending"

    def _enter(self, state: State, at: datetime) -> None:
        wait = _WAIT[self.state]
        self.waits[wait] = self.waits.get(wait, 0) + max(0, (at - self.since) // _MILLISECOND)
        self.state, self.since = state, at

    def _end(self, outcome: Outcome, because: list[str], at: datetime) -> bool:
        if self.terminal:
            return False
        self._enter(outcome, at)
        self.because = because
        self.completed_at = at
        self.duration_ms = max(0, (at - self.submitted_at) // _MILLISECOND)
        for approval in self.approvals:
            approval.end("closed")
        return self._changed(at)

    def _changed(self, at: datetime) -> bool:
        self.revision += 1
        self.updated_at = at
        self.stalled_since = None
        self.waiting_for = self._waiting_for()
        return True

    def _waiting_for(self) -> str | None:
        if self.terminal:
            return None
        pending = [one for one in self.approvals if one.state == "pending"]
        if self.state == "waiting-for-approval" and pending and self.cancellation is None:
            return "; ".join(
                f"approval by {' or '.join(one.approvers)} until {one.expires_at:%Y-%m-%dT%H:%M:%SZ}" for one in pending
            )
        return self.expected

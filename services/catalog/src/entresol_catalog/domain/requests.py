"""The life of one request, folded from the facts that its chain leaves on the log.

- The first terminal fact wins; after it only reviews, and answers that came too late, are noted.
- A state never goes back, but for one way: what was allowed with a plan that does not hold any more is planned again.
- Each fact that changed something raises the revision by one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from entresol_catalog.domain import steps
from entresol_catalog.domain.approvals import Approval
from entresol_catalog.domain.holds import Glass, Hold, Override
from entresol_catalog.domain.runs import NeedOutcome, Requirement, Run, Snapshot

Outcome = Literal["succeeded", "failed", "denied", "rejected", "expired", "cancelled"]
State = Literal[
    "submitted",
    "planning",
    "waiting-for-approval",
    "held",
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

TERMINAL: frozenset[str] = frozenset(get_args(Outcome))
_UNDECIDED = frozenset({"submitted", "planning", "waiting-for-approval", "held"})
_WAIT: Mapping[str, str] = {
    "submitted": "policy",
    "planning": "plan",
    "waiting-for-approval": "approval",
    "held": "hold",
    "allowed": "queue",
    "planned": "run",
    "running": "run",
}
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Cancellation:
    """Somebody asked for a stop; only provisioning says whether it came in time."""

    by: str
    reason: str | None
    at: datetime


@dataclass(slots=True, kw_only=True)
class Request(Run):
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
    approvals: list[Approval] = field(default_factory=list)
    plan: dict[str, Any] | None = None
    cancellation: Cancellation | None = None
    waits: dict[str, int] = field(default_factory=dict)
    """Milliseconds spent in waiting for policy, a plan, an approval, the end of a hold, the queue, and the run."""
    break_glass: str | None = None
    """Why the requester wants nothing to stand in its way."""
    plan_for_policy: bool = False
    """Policy wants to see the plan before it decides, or decides anew because the plan it allowed does not hold."""
    holds: list[Hold] = field(default_factory=list)
    """What holds it now."""
    overrides: list[Override] = field(default_factory=list)
    glass: Glass | None = None
    class_: str | None = field(default=None, metadata={"alias": "class"})
    """Kind of the thing within its offering."""
    orphan: bool = False
    """Whether a delete may leave behind what can't be removed."""
    snapshot: Snapshot | None = None
    requirement: Requirement | None = None

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def undecided(self) -> bool:
        """Policy has not allowed it yet, or looks at it again."""
        return self.state in _UNDECIDED or (self.state == "planned" and self.plan_for_policy)

    @property
    def expected(self) -> str:
        """The service that has to move it on."""
        deciding = self.undecided and self.state != "planning" and self.cancellation is None
        return "policy" if deciding else "provisioning"

    def ask(self, approval: Approval, at: datetime) -> bool:
        """People are asked; the request waits for them unless it was allowed already, or it is a review."""
        if self.approval(approval.id) is not None or (self.terminal and not approval.review):
            return False
        self.approvals.append(approval)
        if approval.review:
            return self._noted()
        if not self.undecided and self.state != "planned":
            approval.end("granted")
        elif self.state != "waiting-for-approval":
            self._enter("waiting-for-approval", at)
        return self._changed(at)

    def follow(self, approval_id: str, change: Callable[[Approval], bool], at: datetime) -> bool:
        """Change one of its approvals. A review is none of the request's own business, and moves nothing."""
        approval = self.approval(approval_id)
        if approval is None or not change(approval):
            return False
        return self._noted() if approval.review else self._changed(at)

    def remind(self, approval_id: str, at: datetime) -> bool:
        """Whoever is reminded has not answered: nothing has moved."""
        approval = self.approval(approval_id)
        return approval is not None and approval.remind(at) and self._noted()

    def hold(self, holds: list[Hold], at: datetime) -> bool:
        """A lock or a window does not let it begin; what held it before does not any more, unless it is named again."""
        if not self.undecided or (self.state == "held" and holds == self.holds):
            return False
        if self.state != "held":
            self._enter("held", at)
        self.holds = holds
        return self._changed(at)

    def override(self, override: Override) -> bool:
        if any(one.event == override.event for one in self.overrides):
            return False
        self.overrides.append(override)
        return self._noted()

    def rule_on_override(self, event: str, refused: str | None = None) -> bool:
        """Policy says whether the override that was said in that event counts."""
        for one in self.overrides:
            if one.event == event and one.counts is None:
                one.counts, one.refused = refused is None, refused
                return self._noted()
        return False

    def break_the_glass(self, glass: Glass) -> bool:
        if self.glass is not None:
            return False
        self.glass = glass
        return self._noted()

    def allow(self, plan_digest: str | None, at: datetime) -> bool:
        """Policy's word, if it is due; on a plan that was replaced since, it comes too late."""
        late = plan_digest is not None and self.plan is not None and self.plan["digest"] != plan_digest
        if late or not self.undecided:
            return False
        self._enter("allowed", at)
        self.plan_for_policy = False
        for approval in self.approvals:
            if not approval.review:
                approval.end("granted")
        return self._changed(at)

    def cancel(self, by: str, reason: str | None, at: datetime) -> bool:
        if self.terminal or self.cancellation is not None:
            return False
        self.cancellation = Cancellation(by, reason, at)
        return self._changed(at)

    def await_plan(self, at: datetime) -> bool:
        """Policy wants to see a plan first; the one that there is will do."""
        if not self.undecided or self.state == "planning" or self.plan is not None:
            return False
        self.plan_for_policy = True
        self._enter("planning", at)
        return self._changed(at)

    def show(self, plan: dict[str, Any], at: datetime) -> bool:
        """What the run would do is known, or is not what was allowed: then policy has to look at it again.

        A run that had begun by then was given up; another begins when the new plan is allowed.
        """
        if self.terminal or plan == self.plan:
            return False
        self.plan = plan
        stale = plan.get("replaces") is not None and self.state in ("allowed", "planned", "running")
        if stale and self.run_id is not None:
            self.give_up()
        if stale or self.state in ("submitted", "planning", "allowed"):
            self._enter("planned", at)
        self.plan_for_policy |= stale
        return self._changed(at)

    def advance(self, change: Callable[[Run], bool], at: datetime) -> bool:
        """Change what is known of its run, which has begun if there is anything to tell of it."""
        if self.terminal or not change(self):
            return False
        if self.state != "running":
            self._enter("running", at)
        return self._changed(at)

    def settle(self, request_id: str, outcome: NeedOutcome, because: str | None, at: datetime) -> bool:
        """The request for something that it needs has ended."""
        return not self.terminal and self.settle_need(request_id, outcome, because) and self._changed(at)

    def stall(self, state: str, since: datetime) -> bool:
        """Nobody has moved it on; forgotten as soon as somebody does."""
        if self.state != state or self.stalled_since is not None or since != self.updated_at:
            return False
        self.stalled_since = since
        return self._noted()

    def succeed(self, outputs: dict[str, Any], at: datetime) -> bool:
        if not self._end("succeeded", [], at):
            return False
        self.outputs = outputs
        steps.succeed(self.steps)
        return True

    def fail(
        self, reason: str, step_name: str | None, at: datetime, left: Sequence[str] = (), undone: Sequence[str] = ()
    ) -> bool:
        if not self._end("failed", [reason if step_name is None else f"step {step_name}: {reason}"], at):
            return False
        self.left, self.compensated = list(left), list(undone)
        steps.stop(self.steps, step_name, reason)
        return True

    def stop(self, reason: str, at: datetime, left: Sequence[str] = (), undone: Sequence[str] = ()) -> bool:
        if not self._end("cancelled", [reason], at):
            return False
        self.left, self.compensated = list(left), list(undone)
        steps.stop(self.steps)
        return True

    def deny(self, because: list[str], at: datetime) -> bool:
        return self._end("denied", because, at)

    def reject(self, approval_id: str, because: list[str], at: datetime) -> bool:
        """A no to the request itself; a review is answered by `follow`."""
        if self.terminal:
            return False
        approval = self.approval(approval_id)
        if approval is not None:
            approval.end("rejected")
        return self._end("rejected", because or ["rejected"], at)

    def expire(self, approval_id: str, policy: str, at: datetime) -> bool:
        if self.terminal:
            return False
        approval = self.approval(approval_id)
        if approval is not None:
            approval.end("expired")
        return self._end("expired", [f"the approval that {policy} asks for was not given in time"], at)

    @property
    def pending(self) -> list[Approval]:
        """The approvals that it waits for."""
        return [one for one in self.approvals if one.state == "pending" and not one.review]

    def approval(self, approval_id: str) -> Approval | None:
        for one in self.approvals:
            if one.id == approval_id:
                return one
        return None

    def _enter(self, state: State, at: datetime) -> None:
        wait = "policy" if self.state == "planned" and self.plan_for_policy else _WAIT[self.state]
        self.waits[wait] = self.waits.get(wait, 0) + max(0, (at - self.since) // _MILLISECOND)
        self.state, self.since, self.holds = state, at, []

    def _end(self, outcome: Outcome, because: list[str], at: datetime) -> bool:
        if self.terminal:
            return False
        self._enter(outcome, at)
        self.because, self.suspended = because, []
        self.completed_at = at
        self.duration_ms = max(0, (at - self.submitted_at) // _MILLISECOND)
        for approval in self.approvals:
            if not approval.review:
                approval.end("closed")
        return self._changed(at)

    def _changed(self, at: datetime) -> bool:
        self.updated_at = at
        self.stalled_since = None
        self.waiting_for = self._waiting_for()
        return self._noted()

    def _noted(self) -> bool:
        """It shows something new, but nobody has moved it on."""
        self.revision += 1
        return True

    def _waiting_for(self) -> str | None:
        if self.terminal:
            return None
        if self.cancellation is not None:
            return self.expected
        if self.state == "waiting-for-approval" and self.pending:
            return "; ".join(map(_asked, self.pending))
        if self.state == "held":
            return "; ".join(map(str, self.holds))
        if self.suspended:
            return "; ".join(map(str, self.suspended))
        return "plan" if self.state == "planning" else self.expected


def _asked(approval: Approval) -> str:
    whom = (" and " if approval.all else " or ").join(approval.missing_from or approval.approvers)
    several = f"{approval.missing} of " if approval.missing > 1 and not approval.all else ""
    return f"approval by {several}{whom} until {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC"

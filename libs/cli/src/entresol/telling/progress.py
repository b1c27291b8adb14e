"""How a request goes, from the events of its chain: its state, its steps, and the requests for what it needs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from rich.text import Text
from rich.tree import Tree

from entresol.telling.facts import Document, fact, says
from entresol.telling.lives import waits_for
from entresol.terminal import clean, moment, span, state

_REQUIRES = "requires/"
"""What the names of steps begin with that stand for what is needed; they are shown by how that stands."""
_ENDED_BADLY = ("request.denied", "approval.rejected", "approval.expired", "run.failed", "run.cancelled")


@dataclass
class Progress:
    """What is known of a request from the events seen so far."""

    request_id: str
    state: str = "submitted"
    remark: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    begun: datetime | None = None
    approvals: list[str] = field(default_factory=list)
    plan: Document = field(default_factory=dict)
    waits: dict[str, Document] = field(default_factory=dict)
    """What each suspended step waits for, as `run.suspended` tells it."""
    resource: str = ""
    called: str = ""
    """What the request that needs this one calls it."""
    action: str = "create"
    needs: dict[str, "Progress"] = field(default_factory=dict)
    """The requests for what it needs, by their ids."""

    def see(self, event: Document) -> bool:
        """Take an event into account; False if it is about something else in the same chain."""
        data = event.get("data") or {}
        if data.get("request_id") != self.request_id:
            for need in self.needs.values():
                need.see(event)
            self._let_go(need.request_id for need in self.needs.values() if need.state in ENDED)
            return False
        self.begun = self.begun or datetime.fromisoformat(str(event["time"]))
        self._see(event, data)
        return True

    def _see(self, event: Document, data: Document) -> None:
        match fact(event):
            case "request.allowed":
                self.state, self.remark = "allowed", ""
            case "plan.requested":
                self.state, self.remark = "planning", says(event)
            case "run.planned":
                self.state, self.remark, self.plan = "planned", "", data
            case "approval.requested" if not data.get("review"):
                self.state, self.remark = "waiting-for-approval", says(event)
                self.approvals.append(str(data["approval_id"]))
            case "request.held":
                self.state, self.remark = "held", says(event)
            case "run.started":
                self.state, self.remark = "running", ""
                self.steps = dict.fromkeys(data.get("steps", ()), "waiting")
            case "run.suspended":
                self.waits[str(data["step"])] = data
            case "resume.requested":
                for step in [data["step"]] if data.get("step") else list(self.waits):
                    self.waits.pop(step, None)
            case "run.progressed":
                self.waits.pop(str(data["step"]), None)
                self.steps[str(data["step"])] = str(data["state"])
            case "compensation.succeeded":
                self.steps[str(data["step"])] = "undone"
            case "compensation.failed":
                self.steps[str(data["step"])] = "not undone"
            case "requirement.requested":
                wanted = str(data["wanted"]["resource_id"])
                name, action = str(data["name"]), str(data["action"])
                need = Progress(str(data["for_request_id"]), resource=wanted, called=name, action=action)
                self.needs[need.request_id] = need
            case "requirement.refused" if str(data["for_request_id"]) in self.needs:
                need = self.needs[str(data["for_request_id"])]
                need.state, need.remark = "refused", str(data["reason"])
            case "request.completed":
                self.state, self.waits = str(data["outcome"]), {}
            case name if name in _ENDED_BADLY:
                self.state, self.remark, self.waits = name.rpartition(".")[2], says(event), {}
        for step in data.get("running") or ():
            self.steps[str(step)] = "running"

    def _let_go(self, ended: Iterator[str]) -> None:
        over = set(ended)
        self.waits = {step: wait for step, wait in self.waits.items() if wait.get("requires") not in over}

    @property
    def standing(self) -> str:
        """Its state and why, in a line."""
        why = "; ".join(f"step {step} waits: {waits_for(wait)}" for step, wait in self.waits.items()) or self.remark
        return f"{self.state}: {why}" if why else self.state

    def offset(self, event: Document) -> str:
        at = datetime.fromisoformat(str(event["time"]))
        return span((at - (self.begun or at)).total_seconds() * 1000)

    def draw(self, tree: Tree) -> Tree:
        """The tree, grown by its steps, with what suspended ones wait for, and by what it needs."""
        needed = {f"{_REQUIRES}{need.called}" for need in self.needs.values()}
        own = [step for step, wait in self.waits.items() if wait.get("requires") not in self.needs]
        steps = [step for step in self.steps if step not in needed]
        for name in [*steps, *(step for step in own if step not in self.steps)]:
            tree.add(self._step(name))
        if self.needs:
            self.family(tree.add(Text("needs", style="dim")))
        return tree

    def family(self, tree: Tree) -> Tree:
        """The tree, grown by each request for what it needs; those that they need in turn grow from theirs."""
        for need in self.needs.values():
            done = "" if need.action == "create" else f"{need.action} "
            head = clean(f"{need.called}  {done}{need.resource}  ")
            branch = tree.add(Text.assemble(head, state(need.state), f"  {clean(need.remark)}" if need.remark else ""))
            for step in need.waits:
                branch.add(need._step(step))
            need.family(branch)
        return tree

    def _step(self, name: str) -> Text:
        if wait := self.waits.get(name):
            return Text.assemble(clean(name), "  ", state("suspended"), f"  {clean(waits_for(wait, _clock))}")
        return Text.assemble(clean(name), "  ", state(self.steps[name]))

    def tree(self) -> list[Document]:
        """The same for JSON."""
        return [
            {
                "name": need.called,
                "action": need.action,
                "resource": need.resource,
                "request": need.request_id,
                "state": need.state,
                "because": need.remark,
                "needs": need.tree(),
            }
            for need in self.needs.values()
        ]


ENDED = frozenset({"succeeded", "failed", "denied", "rejected", "expired", "cancelled", "refused"})


def _clock(time: str) -> str:
    return moment(time).plain

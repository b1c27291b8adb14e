"""Follow a request to its end and show how it goes: redrawn in place on a terminal, line by line elsewhere."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from entresol.doors.client import COMPLETED, Client
from entresol.failures import Code, Failure
from entresol.telling.facts import OUTCOMES, Document, fact, says
from entresol.telling.plans import outline
from entresol.terminal import Terminal, clean, fields, span, state

ENDED_WELL = frozenset({"succeeded"})


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

    def see(self, event: Document) -> bool:
        """Take an event into account; False if it is about something else in the same chain."""
        data = event.get("data") or {}
        if data.get("request_id") != self.request_id:
            return False
        self.begun = self.begun or datetime.fromisoformat(str(event["time"]))
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
            case "request.denied" | "approval.rejected" | "approval.expired" | "run.failed" | "run.cancelled" as name:
                self.state, self.remark = name.rpartition(".")[2], says(event)
            case "request.completed":
                self.state = str(data["outcome"])
        if fact(event) == "run.progressed":
            self.steps[str(data["step"])] = str(data["state"])
        for step in data.get("running") or ():
            self.steps[str(step)] = "running"
        return True

    def offset(self, event: Document) -> str:
        at = datetime.fromisoformat(str(event["time"]))
        return span((at - (self.begun or at)).total_seconds() * 1000)

    def picture(self, since: float) -> RenderableType:
        """The request now: its state, what it waits for, its steps."""
        grid = Table.grid(padding=(0, 2))
        head = Text.assemble(state(self.state), f"  {span((time.monotonic() - since) * 1000)}  ", clean(self.remark))
        grid.add_row(head)
        for name, how in self.steps.items():
            grid.add_row(Text.assemble("  ", clean(name), "  ", state(how)))
        for line in outline(self.plan) if not self.steps else ():
            grid.add_row(line)
        return grid


def watch(terminal: Terminal, client: Client, request_id: str, timeout_seconds: float) -> Document:
    """Show the request until it is complete; return it. Raises Failure with TIMED_OUT if it isn't by then."""
    progress = Progress(request_id)
    try:
        for event in _drawn(terminal, progress, client.follow(request_id, timeout_seconds)):
            if not terminal.live and progress.see(event) and event["type"] != COMPLETED:
                line = f"  +{progress.offset(event):<9} {fact(event)}  {says(event)}"
                terminal.remark(Text(clean(line.rstrip())))
                for part in outline(event["data"])[1:] if fact(event) == "run.planned" else ():
                    terminal.remark(Text.assemble("           ", part))
                for hint in _hints(event):
                    terminal.remark(Text(f"             {hint}", style="dim"))
    except Failure as failure:
        if failure.code is not Code.TIMED_OUT:
            raise
        what = f"{progress.state}: {progress.remark}" if progress.remark else progress.state
        hint = f"It goes on. See `entresol status {request_id}`, or stop it by `entresol cancel {request_id}`."
        text = f"request {request_id} is not complete after {timeout_seconds:g} s ({what})"
        raise Failure(text, Code.TIMED_OUT, hints=(hint,)) from None
    return client.request(request_id)


def _drawn(terminal: Terminal, progress: Progress, events: Iterable[Document]) -> Iterator[Document]:
    if not terminal.live:
        yield from events
        return
    since = time.monotonic()
    live = Live(get_renderable=lambda: progress.picture(since), console=terminal.out, refresh_per_second=8)
    with live:
        for event in events:
            if progress.see(event):
                for hint in _hints(event):
                    live.console.print(Text(hint, style="dim"))
            yield event


def _hints(event: Document) -> list[str]:
    if fact(event) != "approval.requested":
        return []
    if event["data"].get("review"):
        return [f"a reviewer signs it off with: entresol review sign {event['data']['approval_id']}"]
    return [f"an approver answers with: entresol approve {event['data']['approval_id']}"]


def outcome(request: Document) -> list[RenderableType]:
    """How a complete request ended: outcome, reasons, outputs or plan."""
    how = str(request.get("state"))
    took = f" after {span(request['duration_ms'])}" if request.get("duration_ms") is not None else ""
    parts: list[RenderableType] = [Text.assemble(f"{OUTCOMES.get(how, '·')} ", state(how), took)]
    parts += [Text(f"  because {clean(reason)}") for reason in request.get("because") or []]
    parts += outline(request.get("plan"))
    outputs = request.get("outputs") or {}
    if outputs:
        parts.append(fields((f"  {clean(name)}", value) for name, value in outputs.items()))
    return parts


def ended_well(request: Document) -> bool:
    return request.get("state") in ENDED_WELL

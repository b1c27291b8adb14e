"""Follow a request to its end and show how it goes: redrawn in place on a terminal, line by line elsewhere."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from entresol.doors.client import COMPLETED, Client
from entresol.failures import Code, Failure
from entresol.telling.facts import OUTCOMES, Document, fact, says
from entresol.telling.lives import remains, resuming
from entresol.telling.plans import outline
from entresol.telling.progress import Progress
from entresol.terminal import Terminal, clean, fields, span, state


def picture(progress: Progress, since: float) -> RenderableType:
    """The request now: its state, what it waits for, its steps, and what it needs."""
    took = span((time.monotonic() - since) * 1000)
    head = Text.assemble(state(progress.state), f"  {took}  ", clean(progress.remark))
    tree = progress.draw(Tree(head, guide_style="dim"))
    return tree if progress.steps else Group(tree, *outline(progress.plan))


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
        hint = f"It goes on. See `entresol status {request_id}`, or stop it by `entresol cancel {request_id}`."
        text = f"request {request_id} is not complete after {timeout_seconds:g} s ({progress.standing})"
        raise Failure(text, Code.TIMED_OUT, hints=(hint,)) from None
    return client.request(request_id)


def _drawn(terminal: Terminal, progress: Progress, events: Iterable[Document]) -> Iterator[Document]:
    if not terminal.live:
        yield from events
        return
    since = time.monotonic()
    live = Live(get_renderable=lambda: picture(progress, since), console=terminal.out, refresh_per_second=8)
    with live:
        for event in events:
            if progress.see(event):
                for hint in _hints(event):
                    live.console.print(Text(hint, style="dim"))
            yield event


def _hints(event: Document) -> list[str]:
    if fact(event) == "run.suspended" and event["data"].get("resumable"):
        return [f"somebody lets it go on with: {resuming(event['data']['request_id'], event['data']['step'])}"]
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
    parts += [Text(f"  {clean(line)}", style="yellow") for line in remains(request)]
    parts += outline(request.get("plan"))
    outputs = request.get("outputs") or {}
    if outputs:
        parts.append(fields((f"  {clean(name)}", value) for name, value in outputs.items()))
    return parts

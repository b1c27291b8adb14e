"""See how things are, and why: status, explain."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from entresol.failures import Code, Failure, Refused
from entresol.lookup import request_id, segment
from entresol.plans import outline
from entresol.session import Session
from entresol.terminal import cell, clean, fields, moment, short, span, state, table

Document = Mapping[str, Any]

OPEN_STATES = ("waiting-for-approval", "submitted", "allowed", "planned", "running")
_MOST = 200
_LATEST = 10


def status(
    session: Session,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[REQUEST|RESOURCE]", help="One in full: a request's id, or a resource.", show_default=False
        ),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
) -> None:
    """Show what runs, what waits for whom, what is stuck, and what ended lately; or one thing in full.

    [bold]Examples[/bold]

      entresol status

      entresol status 0193f2c4-81              (a request, by the beginning of its id)

      entresol status shop/dev/service/cart    (a resource)
    """
    if what is None:
        _overview(session, project)
    elif what.count("/") == 3:
        _resource(session, what)
    else:
        _request(session, what)


def explain(
    session: Session,
    what: Annotated[
        str, typer.Argument(metavar="ID", help="A request's id, its beginning, or a resource.", show_default=False)
    ],
) -> None:
    """Show why a request is as it is: every event of its chain below the one that caused it.

    Each line has the time since the beginning, what happened and who said so; below it what the policies found.

    [bold]Examples[/bold]

      entresol explain 0193f2c4-81

      entresol explain shop/prod/deployment/cart      (the latest request for that resource)
    """
    from entresol.explain import draw, link

    item = session.client.request(request_id(session.client, what))
    roots = link(session.client.chain(str(item["id"])))
    took = f" after {span(item['duration_ms'])}" if item.get("duration_ms") is not None else ""
    title = Text.assemble(
        ("request ", "dim"),
        clean(item["id"]),
        f"  {clean(item['action'])} {clean(item['resource'])}  ",
        state(item["state"]),
        took,
    )
    session.terminal.result({"request": item, "chain": [root.document() for root in roots]}, draw(title, roots))


def _overview(session: Session, project: str | None) -> None:
    client = session.client
    going = list(client.every("/v1/requests", state=OPEN_STATES, project=project, most=_MOST))
    waiting = [item for item in going if item["state"] == "waiting-for-approval"]
    stalled = [item for item in going if item.get("stalled_since")]
    running = [item for item in going if item not in waiting and item not in stalled]
    latest = [
        item
        for item in client.every("/v1/requests", project=project, most=_LATEST + len(going))
        if item["state"] not in OPEN_STATES
    ][:_LATEST]
    document = {"running": running, "waiting_for_approval": waiting, "stalled": stalled, "latest": latest}
    session.terminal.result(document, *_lists(running, waiting, stalled, latest))


def _lists(
    running: Sequence[Document], waiting: Sequence[Document], stalled: Sequence[Document], latest: Sequence[Document]
) -> list[RenderableType]:
    parts: list[RenderableType] = []
    rows: list[tuple[object, ...]]
    if waiting:
        rows = [(short(r["id"]), r["action"], r["resource"], r.get("actor"), r.get("waiting_for")) for r in waiting]
        parts += [
            table("request", "action", "resource", "asked by", "waits for", rows=rows, title="Waiting for approval"),
            "",
        ]
    if stalled:
        rows = [
            (short(r["id"]), r["action"], r["resource"], moment(r["stalled_since"]), r.get("waiting_for"))
            for r in stalled
        ]
        parts += [table("request", "action", "resource", "since", "waits for", rows=rows, title="Stalled"), ""]
    if running:
        rows = [(short(r["id"]), r["action"], r["resource"], state(r["state"]), _steps(r)) for r in running]
        parts += [table("request", "action", "resource", "state", "steps", rows=rows, title="Running"), ""]
    if latest:
        rows = [(short(r["id"]), r["action"], r["resource"], state(r["state"]), _took(r), _why(r)) for r in latest]
        parts.append(
            table("request", "action", "resource", "state", "took", "because", rows=rows, title="Ended lately")
        )
    return parts or [Text("no requests yet; `entresol request --help` shows how to ask")]


def _request(session: Session, given: str) -> None:
    item = session.client.request(request_id(session.client, given))
    parts: list[RenderableType] = [
        fields(
            [
                ("request", item["id"]),
                ("what", f"{item['action']} {item['resource']} ({item['offering']}@{item.get('offering_version')})"),
                ("state", Text.assemble(state(item["state"]), f"  {_took(item)}")),
                ("waits for", item.get("waiting_for")),
                ("stalled since", moment(item.get("stalled_since"))),
                ("because", "\n".join(map(str, item.get("because") or []))),
                ("asked by", item.get("actor")),
                ("asked at", moment(item.get("submitted_at"))),
                ("reason", item.get("reason")),
                ("dry run", "yes" if item.get("dry_run") else None),
                ("inputs", item.get("inputs")),
                ("outputs", item.get("outputs")),
            ]
        )
    ]
    rows: list[tuple[object, ...]]
    if item.get("steps"):
        rows = [(s.get("name"), state(s.get("state")), s.get("attempt"), s.get("message")) for s in item["steps"]]
        parts += ["", table("step", "state", "attempt", "message", rows=rows)]
    if item.get("approvals"):
        rows = [_approval(approval) for approval in item["approvals"]]
        parts += ["", table("approval", "policy", "state", "from", "answers", rows=rows)]
    parts += outline(item.get("plan"))
    session.terminal.result(item, *parts)


def _resource(session: Session, resource: str) -> None:
    path = "/".join(map(segment, resource.split("/")))
    try:
        item = session.client.read(f"/v1/resources/{path}")
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            hint = "If it was never provisioned, its requests are in `entresol status`."
            raise Failure(f"no resource {resource}", Code.NOT_FOUND, hints=(hint,)) from None
        raise
    entity = item.get("entity") or {}
    requests = list(session.client.every("/v1/requests", resource=resource, most=_LATEST))
    parts: list[RenderableType] = [
        fields(
            [
                ("resource", item["id"]),
                ("state", state(item["state"])),
                ("offering", f"{item['offering']}@{item.get('offering_version')}"),
                ("owner", item.get("owner")),
                ("expires at", moment(item.get("expires_at"))),
                ("entity", f"{entity['blueprint']} {entity['identifier']}" if entity else None),
                ("inputs", item.get("inputs")),
                ("outputs", item.get("outputs")),
                ("created", moment(item.get("created_at"))),
                ("changed", moment(item.get("updated_at"))),
            ]
        )
    ]
    if requests:
        rows = [(short(r["id"]), r["action"], state(r["state"]), r.get("actor"), _took(r), _why(r)) for r in requests]
        parts += ["", table("request", "action", "state", "asked by", "took", "because", rows=rows)]
    session.terminal.result({**item, "requests": requests}, *parts)


def _approval(approval: Document) -> tuple[object, ...]:
    answers = ", ".join(f"{answer['answer']} by {answer['by']}" for answer in approval.get("answers") or [])
    return (
        short(approval.get("id")),
        approval.get("policy"),
        state(approval.get("state")),
        ", ".join(approval.get("approvers") or []),
        answers,
    )


def _steps(item: Document) -> Text:
    return cell(", ".join(f"{step.get('name')} {step.get('state')}" for step in item.get("steps") or []))


def _took(item: Document) -> str:
    return span(item["duration_ms"]) if item.get("duration_ms") is not None else ""


def _why(item: Document) -> str:
    return "; ".join(map(str, item.get("because") or []))

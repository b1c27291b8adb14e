"""See how things are, and why: status, explain."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from entresol.doors.lookup import request_id, segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import overview
from entresol.telling.overview import took, why
from entresol.telling.plans import outline
from entresol.terminal import clean, fields, moment, short, span, state, table

Document = Mapping[str, Any]

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
    from entresol.telling.explain import draw, link

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
    found = overview.gather(session.client, project)
    session.terminal.result(found, *overview.draw(found))


def _request(session: Session, given: str) -> None:
    item = session.client.request(request_id(session.client, given))
    parts: list[RenderableType] = [
        fields(
            [
                ("request", item["id"]),
                ("what", f"{item['action']} {item['resource']} ({item['offering']}@{item.get('offering_version')})"),
                ("state", Text.assemble(state(item["state"]), f"  {took(item)}")),
                ("waits for", item.get("waiting_for")),
                ("held by", overview.held(item)),
                ("override", "\n".join(map(_override, item.get("overrides") or []))),
                ("glass", _glass(item.get("glass"))),
                ("stalled since", moment(item.get("stalled_since"))),
                ("because", "\n".join(map(str, item.get("because") or []))),
                ("asked by", item.get("actor")),
                ("asked at", moment(item.get("submitted_at"))),
                ("reason", item.get("reason")),
                ("break glass", item.get("break_glass") if not item.get("glass") else None),
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
        for noun, review in (("approval", False), ("review", True)):
            rows = [_asked(one) for one in item["approvals"] if bool(one.get("review")) is review]
            parts += ["", table(noun, "state", "who and what", rows=rows)] if rows else []
    if item.get("plan"):
        parts += ["", *outline(item["plan"])]
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
        rows = [(short(r["id"]), r["action"], state(r["state"]), r.get("actor"), took(r), why(r)) for r in requests]
        parts += ["", table("request", "action", "state", "asked by", "took", "because", rows=rows)]
    session.terminal.result({**item, "requests": requests}, *parts)


def _asked(approval: Document) -> tuple[object, ...]:
    end = "due" if approval.get("review") else "until"
    who = f"{approval.get('policy')}: {_quorum(approval)}, {end} {moment(approval.get('expires_at'))}"
    return (short(approval.get("id")), state(approval.get("state")), "\n".join((who, *_history(approval))))


def _quorum(approval: Document) -> str:
    """How many of the grants that are needed are there, and whose: `1/2 from group:sre`, `0/3 from each of …`."""
    granted = sum(answer.get("answer") == "granted" for answer in approval.get("answers") or [])
    who = list(map(str, approval.get("approvers") or []))
    if approval.get("all"):
        return f"{granted}/{len(who)} from each of {', '.join(who)}"
    return f"{granted}/{approval.get('count') or 1} from {' or '.join(who)}"


def _history(approval: Document) -> Iterator[str]:
    """What people said to it and what time did to it, a line each."""
    for one in approval.get("answers") or []:
        yield f"{one['answer']} by {one['by']}{_because(one)}"
    for one in approval.get("withdrawn") or []:
        yield f"taken back by {one['by']}{_because(one)}"
    for one in approval.get("delegations") or []:
        yield f"{one['by']} hands on to {one['to']}{_because(one)}"
    for one in approval.get("refused") or []:
        yield f"did not count: {one['by']}{_because(one)}"
    if approval.get("reminded_at"):
        yield f"reminded at {moment(approval['reminded_at'])}"
    pending = approval.get("state") == "pending"
    if approval.get("escalated_at"):
        yield f"escalated at {moment(approval['escalated_at'])}"
    elif pending and approval.get("escalates_at"):
        to = ", ".join(approval.get("escalates_to") or [])
        yield f"escalates to {to} at {moment(approval['escalates_at'])}"
    if approval.get("closed_because"):
        yield f"closed: {approval['closed_because']}"


def _because(said: Document) -> str:
    return f": {said['reason']}" if said.get("reason") else ""


def _override(one: Document) -> str:
    refused = f", which did not count: {one['refused']}" if one.get("refused") else ""
    return f"{one['by']}{_because(one)}{refused}"


def _glass(glass: Document | None) -> str | None:
    if not glass:
        return None
    return f"broken by {glass['by']}: {glass['reason']}\nwent past " + "; ".join(map(str, glass.get("bypassed") or []))

"""See how things are, and why: status, explain."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from entresol.doors.lookup import read_or_none, request_id, resource_id
from entresol.doors.paths import resource_path, segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import overview
from entresol.terminal import clean, short, span, state

if TYPE_CHECKING:
    from entresol.doors.client import Client

Document = Mapping[str, Any]

_LATEST = 10
_MOST_HINTS = 3


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

      entresol status shop/dev/service/cart    (a resource; service/cart if there is only one)
    """
    if what is None:
        _overview(session, project)
    elif "/" in what:
        _resource(session, resource_id(session.client, what))
    else:
        _request(session, request_id(session.client, what))


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


def _request(session: Session, wanted: str) -> None:
    from entresol.telling import one_request
    from entresol.telling.progress import Progress

    item = session.client.request(wanted)
    progress = Progress(wanted)
    for event in session.client.chain(wanted):
        progress.see(event)
    ahead = _ahead(session.client, item)
    document = {**item, "needs": progress.tree(), "behind": None if ahead is None else ahead["id"]}
    session.terminal.result(document, *one_request.draw(item, progress, ahead))


def _resource(session: Session, resource: str) -> None:
    from entresol.telling import one_resource

    client = session.client
    try:
        item = client.read(resource_path(resource))
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise Failure(f"no resource {resource}", Code.NOT_FOUND, hints=_asked_of(client, resource)) from None
        raise
    requests = list(client.every("/v1/requests", resource=resource, most=_LATEST))
    revisions = _all_or_none(client, f"{resource_path(resource)}/revisions")

    def read(wanted: str) -> Document | None:
        return read_or_none(client, resource_path(wanted))

    needs = one_resource.needs(item, read)
    needed_by = [] if session.terminal.json else one_resource.needed_by(item, read)
    offering = read_or_none(client, f"/v1/offerings/{segment(item['offering'])}")
    seen = one_resource.Seen(item, requests, revisions, needs, needed_by, offering)
    session.terminal.result(seen.document(), *one_resource.draw(seen))


def _asked_of(client: "Client", resource: str) -> list[str]:
    """What was asked of a resource that is not there, and how that stands."""
    asked = list(client.every("/v1/requests", resource=resource, most=_MOST_HINTS))
    if not asked:
        return [
            "Nothing was ever asked of it that is to be seen from here. `entresol status` shows the latest requests."
        ]
    return [f"{overview.action(one)} is {one['state']}: entresol status {short(one['id'])}" for one in asked]


def _ahead(client: "Client", item: Document) -> Document | None:
    """The request that an allowed one waits for, because it was begun on the same resource before."""
    if item["state"] != "allowed":
        return None
    going = client.every("/v1/requests", resource=str(item["resource"]), state="running", most=1)
    return next((one for one in going if one["id"] != item["id"]), None)


def _all_or_none(client: "Client", path: str) -> list[Document]:
    try:
        return list(client.every(path))
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            return []
        raise

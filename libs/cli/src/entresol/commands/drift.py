"""See where the world is not what resources say: drift."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from entresol.doors.lookup import EXISTING, read_or_none, resource_id
from entresol.doors.paths import resource_path, segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import drifts

if TYPE_CHECKING:
    from entresol.doors.client import Client

Document = Mapping[str, Any]

_LATEST = 20


def drift(
    session: Session,
    resource: Annotated[
        str | None, typer.Argument(help="One in full: the resource, or an end of its id.", show_default=False)
    ] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
) -> None:
    """Show what somebody changed by other ways: all resources that have drifted, or one with every difference.

    Resources that nobody can look at any more are listed too, with since when and why. Only places are told, never
    values: they may be secret. How often somebody looks, and what follows, is the offering's to say; nobody looks by
    itself where it says nothing.

    [bold]Examples[/bold]

      entresol drift

      entresol drift shop/dev/deployment/cart
    """
    if resource is not None:
        _one(session, resource)
        return
    found = drifted(session.client, project)
    unseen = unobserved(session.client, project)
    told: list[RenderableType] = [drifts.overview(found)] if found else []
    if unseen:
        told += [*([] if found else [Text("nothing has drifted, as far as is known")]), "", drifts.unobserved(unseen)]
    known = {one["id"] for one in found}
    session.terminal.result(
        [*found, *(one for one in unseen if one["id"] not in known)], *(told or [Text("nothing has drifted")])
    )


def drifted(client: "Client", project: str | None) -> list[Document]:
    """The resources that are not what they say."""
    there = client.every("/v1/resources", drifted="true", state=EXISTING, project=project)
    return [one for one in there if one.get("drift")]


def unobserved(client: "Client", project: str | None) -> list[Document]:
    """The resources that nobody can look at."""
    there = client.every("/v1/resources", unobserved="true", state=EXISTING, project=project)
    return [one for one in there if one.get("unobserved")]


def correction(client: "Client", resource: Document) -> Document | None:
    """The latest request to put its drift right, if there was one since it drifted."""
    since = datetime.fromisoformat(resource["drift"]["since"])
    for one in client.every("/v1/requests", resource=str(resource["id"]), most=_LATEST):
        if one["action"] == "reconcile" and datetime.fromisoformat(one["submitted_at"]) >= since:
            return one
    return None


def _one(session: Session, given: str) -> None:
    wanted = resource_id(session.client, given)
    try:
        item = session.client.read(resource_path(wanted))
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise Failure(f"no resource {wanted}", Code.NOT_FOUND) from None
        raise
    if not item.get("drift"):
        known = f"/v1/offerings/{segment(item['offering'])}"
        offering = read_or_none(session.client, known, version=item["offering_version"])
        session.terminal.result(item, drifts.unseen(item, offering))
        return
    last = correction(session.client, item)
    session.terminal.result({**item, "correction": last}, *drifts.in_full(item, last))

"""The catalog of things and their relations: get, import, export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from entresol.commands.manifests import checked, publish
from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.terminal import cell, fields, moment, table

Document = Mapping[str, Any]


def get(
    session: Session,
    blueprint: Annotated[str | None, typer.Argument(help="Only entities of this type.", show_default=False)] = None,
    identifier: Annotated[
        str | None, typer.Argument(metavar="ID", help="This one in full.", show_default=False)
    ] = None,
) -> None:
    """Show entities and how they relate; a relation whose target is not in the catalog is marked.

    [bold]Examples[/bold]

      entresol catalog get

      entresol catalog get Component

      entresol catalog get Component CartService
    """
    client = session.client
    if blueprint is not None and identifier is not None:
        try:
            entity = client.read(f"/v1/entities/{segment(blueprint)}/{segment(identifier)}")
        except Refused as refusal:
            if refusal.code is Code.NOT_FOUND:
                raise Failure(f"no {blueprint} {identifier} in the catalog", Code.NOT_FOUND) from None
            raise
        session.terminal.result(entity, *_in_full(entity))
        return
    entities = sorted(
        client.every("/v1/entities", blueprint=blueprint),
        key=lambda one: (str(one["blueprint"]), str(one["identifier"])),
    )
    if not entities and blueprint is not None:
        known = sorted(str(one["identifier"]) for one in client.every("/v1/blueprints"))
        if blueprint not in known:
            raise Failure(f"no blueprint {blueprint}; there are {', '.join(known) or 'none'}", Code.NOT_FOUND)
    rows = [(one["blueprint"], one["identifier"], one.get("title"), related(one)) for one in entities]
    session.terminal.result(entities, table("blueprint", "id", "title", "relations", rows=rows))


def import_(
    session: Session,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files or directories.", show_default=False)],
) -> None:
    """Bring a catalog over: Port blueprints and entities (JSON), Backstage catalog-info.yaml, or Entresol's own YAML.

    Blueprints and entities that refer to each other may come in any order: all are taken, or none.

    [bold]Example[/bold]   entresol catalog import blueprints.json entities.json
    """
    manifests = checked(paths)
    others = sorted({str(one.document.get("kind")) for one in manifests} - {"Blueprint", "Entity"})
    if others:
        raise Failure(f"these files also hold {', '.join(others)}: use `entresol apply`", Code.INVALID)
    publish(session, manifests)


def export(
    session: Session,
    style: Annotated[
        str, typer.Option("--format", help="`port`: blueprints and entities as Port takes them.")
    ] = "port",
) -> None:
    """Write the catalog as JSON to stdout: {"blueprints": […], "entities": […]}.

    [bold]Example[/bold]   entresol catalog export --format port > catalog.json
    """
    if style != "port":
        raise Failure(f"{style}: the one format there is, is port", Code.INVALID)
    session.terminal.json = True
    session.terminal.result(session.client.read("/v1/export", format=style))


def related(entity: Document) -> Text:
    """The relations in one cell; those that lead nowhere in red."""
    text = Text()
    for name, target, dangling in relations(entity):
        text.append(", " if text else "")
        text.append_text(cell(f"{name} → {target}"))
        if dangling:
            text.append(" (not there)", style="red")
    return text


def relations(entity: Document) -> list[tuple[str, str, bool]]:
    """Name, target and whether the target is missing, of each relation that leads somewhere."""
    missing = {(str(one["relation"]), str(one["target"])) for one in entity.get("dangling") or []}
    return [
        (name, str(target), (name, str(target)) in missing)
        for name, targets in (entity.get("relations") or {}).items()
        for target in (targets if isinstance(targets, list) else [targets])
        if target is not None
    ]


def _in_full(entity: Document) -> list[RenderableType]:
    head = fields(
        [
            ("blueprint", entity["blueprint"]),
            ("id", entity["identifier"]),
            ("title", entity.get("title")),
            ("team", entity.get("team")),
            *((f".{name}", value) for name, value in (entity.get("properties") or {}).items()),
            ("problems", "\n".join(map(str, entity.get("problems") or []))),
            ("resources", "\n".join(map(str, entity.get("resources") or []))),
            ("changed", moment(entity.get("updated_at"))),
        ]
    )
    rows: list[tuple[object, ...]] = [
        (f"{name} →", target, Text("not in the catalog", style="red") if gone else "")
        for name, target, gone in relations(entity)
    ]
    rows += [
        (f"← {one['relation']}", f"{one['blueprint']} {one['identifier']}", "") for one in entity.get("relatedBy") or []
    ]
    return [head, "", table("relation", "entity", "", rows=rows)] if rows else [head]

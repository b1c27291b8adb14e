"""Read the log: events, as a list or as they come."""

from typing import Annotated

import typer
from rich.text import Text

from entresol.session import Session
from entresol.telling.facts import Document, fact, publisher, says
from entresol.terminal import clean, moment


def events(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only this type, such as request.completed.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
    since_position: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="From behind this position of the log; 0 is its beginning.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, without --follow.")] = 100,
) -> None:
    """Show the platform's events: one line each, or one JSON object each with --output json.

    Without --follow: from --since-position on (the beginning, if not given). With it: what comes from now on, after
    what lies behind --since-position. A lost connection is resumed where it broke.

    [bold]Examples[/bold]

      entresol events --follow --type request.completed

      entresol events --since-position 1200 --limit 500 --output json | jq .type
    """
    kind = _whole(kind)
    if follow:
        for event in session.client.stream(after=since_position, type=kind, project=project):
            session.terminal.line(event, line(event))
        return
    for event in session.client.history(after=since_position, most=limit, type=kind, project=project):
        session.terminal.line(event, line(event))


def line(event: Document) -> Text:
    """One event as one line."""
    return Text.assemble(
        (f"{clean(event.get('position', '')):>7} ", "dim"),
        moment(event.get("time")),
        "  ",
        (clean(fact(event)), "bold"),
        (f" ({clean(publisher(event))}) ", "dim"),
        clean(says(event)),
    )


def _whole(kind: str | None) -> str | None:
    """`request.completed` is short for `dev.entresol.request.completed.v1`."""
    if kind is None or kind.startswith("dev.") or kind.count(".") != 1:
        return kind
    return f"dev.entresol.{kind}.v1"

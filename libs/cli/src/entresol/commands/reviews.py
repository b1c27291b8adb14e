"""Sign off what broke the glass, or object to it: list, sign, object."""

from typing import Annotated

import typer
from rich.text import Text

from entresol.commands.approvals import answer
from entresol.doors.lookup import approval_id
from entresol.session import Session
from entresol.telling.overview import open_reviews, reviews

Review = Annotated[
    str,
    typer.Argument(help="Its id or its request's, a unique beginning, or the resource.", show_default=False),
]


def list_(
    session: Session,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
) -> None:
    """List the broken glasses that nobody has signed off yet.

    [bold]Example[/bold]   entresol review list
    """
    found = open_reviews(session.client, project)
    session.terminal.result(found, reviews(found) if found else Text("nothing waits for sign-off"))


def sign(
    session: Session,
    review: Review,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the review.")] = None,
) -> None:
    """Sign off a broken glass: it was right to go past the rules. Never by the one who did.

    [bold]Example[/bold]   entresol review sign 0193f2c4-81 --reason "the outage left no choice"
    """
    answer(session, approval_id(session.client, review, review=True), "granted", reason, "signed off")


def object_(
    session: Session,
    review: Review,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept with the review.", show_default=False)],
) -> None:
    """Object to a broken glass. What was done stays done; that it was objected to stays on the log.

    [bold]Example[/bold]   entresol review object 0193f2c4-81 --reason "this could have waited for an approval"
    """
    answer(session, approval_id(session.client, review, review=True), "rejected", reason, "objected to")

"""What steps can be done by: list, show."""

from typing import Annotated

import typer
from rich.text import Text

from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import drivers
from entresol.terminal import table

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as `gitops`.", show_default=False)]


def list_(session: Session) -> None:
    """List the drivers that steps of offerings can name, and what each does.

    [bold]Example[/bold]   entresol driver list
    """
    found = sorted(session.client.every("/v1/drivers"), key=lambda one: str(one["name"]))
    if not found:
        session.terminal.result(found, Text("no driver was announced yet; is provisioning running?"))
        return
    rows = [(one["name"], "yes" if one["available"] else "no", one.get("summary")) for one in found]
    session.terminal.result(found, table("driver", "available", "what a step of it does", rows=rows))


def show(session: Session, name: Name) -> None:
    """Show what the `with` of a driver's steps may say, field by field, and what its steps give.

    [bold]Examples[/bold]

      entresol driver show gitops

      entresol driver show http -o yaml
    """
    try:
        found = session.client.read(f"/v1/drivers/{segment(name)}")
    except Refused as refusal:
        if refusal.code is not Code.NOT_FOUND:
            raise
        known = ", ".join(sorted(str(one["name"]) for one in session.client.every("/v1/drivers")))
        hints = [f"there are {known}"] if known else ["none was announced yet; is provisioning running?"]
        raise Failure(f"no driver {name}", Code.NOT_FOUND, hints=hints) from None
    session.terminal.result(found, *drivers.draw(found))

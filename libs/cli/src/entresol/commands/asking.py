"""What all commands have that ask for something: their options, how a request is sent, and how its end is awaited."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol import inputs as given_inputs
from entresol.doors.lookup import resource_id
from entresol.failures import Code
from entresol.session import Session
from entresol.terminal import clean, short

Document = dict[str, Any]

Resource = Annotated[
    str,
    typer.Argument(help="PROJECT/ENVIRONMENT/OFFERING/NAME, or an end of it that only one has.", show_default=False),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; approvers and auditors read it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Decide and plan, but change nothing.")]
Wait = Annotated[
    bool, typer.Option("--wait", "-w", help="Show progress until it is done; exit code 1 if it ends badly.")
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="How long --wait waits; exit code 6 after that.")]
Project = Annotated[
    str, typer.Option("--project", "-p", envvar="ENTRESOL_PROJECT", help="Whose it is: `shop`.", show_default=False)
]
Environment = Annotated[
    str,
    typer.Option("--environment", "-e", envvar="ENTRESOL_ENVIRONMENT", help="Where it is: `dev`.", show_default=False),
]
Values = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="KEY=VALUE", help="An input; JSON values allowed, KEY:=JSON insists."),
]
InputsFile = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs from YAML or JSON; -i goes on top.")
]
Class = Annotated[
    str | None,
    typer.Option("--class", metavar="CLASS", help="Kind within the offering; it helps to choose the implementation."),
]
Lifetime = Annotated[str | None, typer.Option(metavar="5d", help="Delete it by itself after this long.")]


def inputs_of(values: list[str] | None, file: Path | None) -> Document:
    """The inputs that were typed, on top of those of the file."""
    return given_inputs.merge(given_inputs.load(file) if file else {}, given_inputs.parse(values or []))


def about(session: Session, resource: str, action: str, **more: Any) -> Document:
    """A request about a resource, named in full or by an end of its id; what is None or False is left out."""
    project, environment, offering, name = resource_id(session.client, resource).split("/")
    body = {"action": action, "project": project, "environment": environment, "offering": offering, "name": name}
    return body | {key: value for key, value in more.items() if value is not None and value is not False}


def submit(
    session: Session,
    body: Document,
    wait: bool,
    timeout: float,
    *,
    key: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> Document | None:
    """Send a request; with `wait` return it once it has succeeded, and raise Exit if it ends otherwise.

    `told` is what the command said of it before; JSON has it too.
    """
    answer = session.client.submit(body, key)
    line = f"request {answer['id']}  {answer['action']} {answer['resource']} ({answer['offering']}@{answer['version']})"
    if not wait:
        hint = Text(f"  see how it goes: entresol status {short(answer['id'])}", style="dim")
        session.terminal.result({**answer, **(told or {})}, Text(clean(line)), hint)
        return None
    session.terminal.remark(Text(clean(line)))
    ended = watch(session, str(answer["id"]), timeout, told)
    if ended["state"] != "succeeded":
        raise typer.Exit(Code.ENDED_BADLY)
    return ended


def watch(session: Session, request_id: str, timeout: float, told: Mapping[str, Any] | None = None) -> Document:
    """Show a request until it is complete, and how it ended."""
    from entresol.telling import waiting

    ended = dict(waiting.watch(session.terminal, session.client, request_id, timeout))
    session.terminal.result({**ended, **(told or {})}, *waiting.outcome(ended))
    return ended

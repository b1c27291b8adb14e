"""Messages that a service could not handle: look at them, try them again, or give them up."""

import base64
import binascii
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.terminal import clean, fields, moment, short, state, table

Service = Annotated[str | None, typer.Option("--service", "-s", help="Only this service's.")]
Message = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE]", help="Id, or a unique beginning.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter of --service.")]


def list_(
    session: Session,
    service: Service = None,
    every: Annotated[bool, typer.Option("--all", help="Also what was redriven or discarded.")] = False,
) -> None:
    """List the messages that wait for an operator.

    [bold]Example[/bold]   entresol dead-letters list --service provisioning
    """
    letters = [one for one in _letters(session, service) if every or one.get("state") == "waiting"]
    rows = [
        (short(one["id"]), one["service"], one.get("type"), one.get("attempts"), moment(one.get("since")),
         state(one.get("state")), one.get("reason"))
        for one in letters
    ]  # fmt: skip
    columns = ("message", "service", "type", "attempts", "since", "state", "reason")
    session.terminal.result(letters, table(*columns, rows=rows) if rows else Text("no dead letters"))


def show(
    session: Session,
    message: Annotated[str, typer.Argument(help="Id, or a unique beginning.")],
    service: Service = None,
) -> None:
    """Show one dead letter whole, with its body.

    [bold]Example[/bold]   entresol dead-letters show 0193f2c4-81
    """
    letter = _find(session, message, service)
    names = (
        "id",
        "service",
        "reason",
        "attempts",
        "type",
        "partitionkey",
        "log_subject",
        "size_bytes",
        "digest",
        "since",
    )
    head = fields([*((name, letter.get(name)) for name in names), ("state", state(letter.get("state")))])
    session.terminal.result(letter, head, "", Text(clean(_body(letter))))


def redrive(
    session: Session,
    message: Message = None,
    service: Service = None,
    every: All = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it should work now.")] = None,
) -> None:
    """Try dead letters again, in order.

    [bold]Examples[/bold]

      entresol dead-letters redrive 0193f2c4-81

      entresol dead-letters redrive --service provisioning --all --reason "git server is back"
    """
    _order(session, "redrive", message, service, every, reason)


def discard(
    session: Session,
    message: Message = None,
    service: Service = None,
    every: All = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept on the log.", show_default=False)] = ...,  # type: ignore[assignment]
) -> None:
    """Give dead letters up. They stay on the log with the reason.

    [bold]Example[/bold]   entresol dead-letters discard 0193f2c4-81 --reason "test data"
    """
    _order(session, "discard", message, service, every, reason)


def _order(
    session: Session, order: str, message: str | None, service: str | None, every: bool, reason: str | None
) -> None:
    if (message is None) != every or (every and service is None):
        raise Failure("name one message, or --service NAME --all", Code.INVALID)
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if message is None:
        body["service"] = service
    else:
        letter = _find(session, message, service)
        body |= {"service": letter["service"], "message_id": letter["id"]}
    answer = session.client.write("POST", f"/v1/dead-letters/{order}", body)
    what = clean(body.get("message_id") or f"every dead letter of {service}")
    session.terminal.result(answer or body, Text(f"asked {body['service']} to {order} {what}"))


def _letters(session: Session, service: str | None) -> list[dict[str, Any]]:
    return list(session.client.every("/v1/dead-letters", service=service))


def _find(session: Session, message: str, service: str | None) -> dict[str, Any]:
    found = [one for one in _letters(session, service) if str(one["id"]).startswith(message)]
    if len(found) == 1:
        return found[0]
    if found:
        choices = tuple(f"{one['id']}  {one['service']}  {one.get('type')}" for one in found[:10])
        raise Failure(f"{message} is the beginning of {len(found)} dead letters", Code.INVALID, hints=choices)
    raise Failure(f"no dead letter whose id begins with {message}", Code.NOT_FOUND)


def _body(letter: dict[str, Any]) -> str:
    try:
        return base64.b64decode(str(letter.get("body") or "")).decode("utf-8", "replace")
    except binascii.Error:
        return str(letter.get("body"))

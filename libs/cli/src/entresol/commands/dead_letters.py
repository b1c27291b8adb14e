"""Messages that a service could not handle: look at them, try them again, or give them up.

A dead letter waits for an operator. A parked message is still being tried; later ones of its key wait behind either.
What messages hold is whatever somebody sent: it is shown as plain text, or in hex.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.terminal import clean, fields, moment, short, state, table

Letter = Mapping[str, Any]

DEAD, PARKED = ("waiting",), ("retrying", "waiting")
ENDED = ("redriven", "discarded", "released")
HEX_BYTES = 512

Service = Annotated[str | None, typer.Option("--service", "-s", help="Only this service's.")]
Type = Annotated[
    str | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this event type's, such as request.submitted.")
]
Message = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE]", help="Id, or a unique beginning.", show_default=False)
]
Stuck = Annotated[str, typer.Argument(metavar="MESSAGE|KEY", help="Id, or a unique beginning; or the partition key.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter, or every one of --service.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept on the log.", show_default=False)]


def list_(
    session: Session,
    service: Service = None,
    type_: Type = None,
    every: Annotated[bool, typer.Option("--all", help="Also what has ended, and how.")] = False,
) -> None:
    """List the messages that wait for an operator.

    Each was given up after its last attempt, or can't be read at all. It is kept whole; `show` tells more of it,
    `redrive` tries it again, `discard` gives it up. What is still being tried is in `entresol parked list`.

    [bold]Examples[/bold]

      entresol dead-letters list

      entresol dead-letters list --service provisioning --type request.submitted
    """
    letters = _letters(session, service, type_, None if every else DEAD)
    rows = [
        (short(one["id"]), one["service"], one.get("type"), one.get("attempts"), moment(one.get("since")),
         state(one.get("state")), one.get("behind") or "", one.get("reason"))
        for one in letters
    ]  # fmt: skip
    columns = ("message", "service", "type", "attempts", "since", "state", "behind", "reason")
    session.terminal.result(letters, table(*columns, rows=rows) if rows else Text("no dead letters"))


def show(
    session: Session,
    message: Annotated[str, typer.Argument(help="Id, or a unique beginning.")],
    service: Service = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the body's bytes there, as they came.", show_default=False),
    ] = None,
) -> None:
    """Show one message: why it failed, how often, of which chain it is, how it ended, and its body.

    The catalog has the first 64 KiB of a body; the digest is of the whole, which the service keeps.

    [bold]Examples[/bold]

      entresol dead-letters show 0193f2c4-81

      entresol dead-letters show 0193f2c4-81 --save body.json
    """
    letter = _find(session, message, service)
    body = _body(letter)
    if save is not None:
        _save(save, body)
    if len(body) < (letter.get("size_bytes") or 0) and letter.get("body"):
        session.terminal.warn(Text(f"these are the first {len(body)} of {letter['size_bytes']} bytes"))
    session.terminal.result(letter, _fields(letter), "", Text(_readable(body)))


def redrive(
    session: Session,
    message: Message = None,
    service: Service = None,
    type_: Type = None,
    every: All = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it should work now; on the log.")] = None,
) -> None:
    """Try dead letters again, in order: one, all, or all of an event type.

    Their attempts count from zero. What fails again becomes a dead letter again, under the same id.

    [bold]Examples[/bold]

      entresol dead-letters redrive 0193f2c4-81

      entresol dead-letters redrive --service provisioning --all --reason "git server is back"

      entresol dead-letters redrive --type request.submitted --reason "fixed in 0.1.1"
    """
    _order(session, "redrive", message, service, type_, every, reason)


def discard(
    session: Session,
    message: Message = None,
    service: Service = None,
    type_: Type = None,
    every: All = False,
    reason: Why = ...,  # type: ignore[assignment]
) -> None:
    """Give dead letters up: one, all, or all of an event type. What waited behind them goes on.

    Who did it and why stays on the log. There is no way back: the service forgets the message.

    [bold]Examples[/bold]

      entresol dead-letters discard 0193f2c4-81 --reason "test data"

      entresol dead-letters discard --service intake --all --reason "noise of a broken hook"
    """
    _order(session, "discard", message, service, type_, every, reason)


def parked(session: Session, service: Service = None) -> None:
    """List the partition keys that stand still, in which service, because of which message.

    Later messages of such a key wait behind the first, so that its order holds. A message that is `retrying` is tried
    again by itself, ever later; one that is `waiting` is a dead letter and waits for you. Messages that succeed at the
    second attempt are never listed. `behind` is as of the last attempt.

    [bold]Example[/bold]   entresol parked list --service provisioning
    """
    letters = [
        one
        for one in _letters(session, service, None, PARKED)
        if one.get("state") == "retrying" or one.get("partitionkey")
    ]
    rows = [
        (short(one["id"]), one["service"], one.get("partitionkey"), one.get("behind"), state(one.get("state")),
         one.get("attempts"), moment(one.get("retry_at")), one.get("reason"))
        for one in letters
    ]  # fmt: skip
    columns = ("message", "service", "key", "behind", "state", "attempts", "next attempt", "reason")
    session.terminal.result(letters, table(*columns, rows=rows) if rows else Text("no key is parked"))


def retry(
    session: Session,
    message: Stuck,
    service: Service = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why it should work now; on the log.")] = None,
) -> None:
    """Try the first message of a parked key now, instead of at its next attempt.

    [bold]Examples[/bold]

      entresol parked retry 0193f2c4-81

      entresol parked retry shop/dev/service/cart --reason "git server is back"
    """
    _send(session, "redrive", _one(_find(session, message, service, PARKED)), reason)


def drop(session: Session, message: Stuck, service: Service = None, reason: Why = ...) -> None:  # type: ignore[assignment]
    """Give up the first message of a parked key; the next of the key is tried at once.

    [bold]Example[/bold]   entresol parked discard shop/dev/service/cart --reason "the cart is gone"
    """
    _send(session, "discard", _one(_find(session, message, service, PARKED)), reason)


def _order(
    session: Session,
    order: str,
    message: str | None,
    service: str | None,
    type_: str | None,
    every: bool,
    reason: str | None,
) -> None:
    if [message is not None, type_ is not None, every].count(True) != 1:
        hints = ("`entresol dead-letters list` shows what there is.",)
        raise Failure("name one message, or --type TYPE, or --all", Code.INVALID, hints=hints)
    if message is not None:
        _send(session, order, _one(_find(session, message, service, PARKED)), reason)
        return
    chosen = {"event_type": _type(type_)} if type_ else {}
    if service is not None:
        _send(session, order, {"service": service, **chosen}, reason)
        return
    services = sorted({str(one["service"]) for one in _letters(session, None, type_, DEAD)})
    if not services:
        session.terminal.result([], Text("no dead letters"))
    for one in services:
        _send(session, order, {"service": one, **chosen}, reason)


def _send(session: Session, order: str, target: Mapping[str, str], reason: str | None) -> None:
    body = {**target, "reason": reason} if reason else dict(target)
    answer = session.client.write("POST", f"/v1/dead-letters/{order}", body)
    what = target.get("message_id") or f"every dead letter of {target.get('event_type', 'any type')}"
    session.terminal.line(answer or body, Text(clean(f"asked {target['service']} to {order} {what}")))


def _one(letter: Letter) -> dict[str, str]:
    return {"service": str(letter["service"]), "message_id": str(letter["id"])}


def _letters(
    session: Session, service: str | None, type_: str | None, states: Sequence[str] | None
) -> list[dict[str, Any]]:
    found = session.client.every("/v1/dead-letters", service=service, state=states)
    return [
        one
        for one in found
        if (states is None or one.get("state") in states) and (type_ is None or one.get("type") == _type(type_))
    ]


def _type(name: str) -> str:
    return name if name.startswith("dev.entresol.") else f"dev.entresol.{name}.v1"


def _find(session: Session, message: str, service: str | None, states: Sequence[str] | None = None) -> dict[str, Any]:
    """The letter of that id or key. One that waits goes before those that have ended."""
    letters = _letters(session, service, None, states)
    found = [one for one in letters if str(one["id"]).startswith(message) or one.get("partitionkey") == message]
    open_ones = [one for one in found if one.get("state") not in ENDED]
    if len(found) > 1 and len(open_ones) == 1:
        found = open_ones
    if len(found) == 1:
        return found[0]
    if found:
        choices = tuple(f"{one['id']}  {one['service']}  {one.get('type')}" for one in found[:10])
        hints = (*map(clean, choices), "Give more of the id, or --service.")
        raise Failure(f"{message} may be any of {len(found)} messages", Code.INVALID, hints=hints)
    hints = ("`entresol dead-letters list --all` and `entresol parked list` show what there is.",)
    raise Failure(f"no message whose id begins with {message}", Code.NOT_FOUND, hints=hints)


def _fields(letter: Letter) -> Any:
    chain = letter.get("correlationid")
    ended = [f"by {letter['ended_by']}"] if letter.get("ended_by") else []
    ended += [f"because {letter['ended_because']}"] if letter.get("ended_because") else []
    names = ("id", "service", "reason", "attempts", "type", "partitionkey", "log_subject", "size_bytes", "digest")
    return fields(
        [
            *((name.replace("_", " "), letter.get(name)) for name in names),
            ("event", letter.get("event_id")),
            ("chain", f"{chain}  (entresol explain {chain}, if a request began it)" if chain else None),
            ("since", moment(letter.get("since"))),
            ("state", state(letter.get("state"))),
            ("next attempt", moment(letter.get("retry_at"))),
            ("wait behind", letter.get("behind") or None),
            (
                "ended",
                Text(clean(" ".join([moment(letter["ended_at"]).plain, *ended]))) if letter.get("ended_at") else None,
            ),
        ]
    )


def _body(letter: Letter) -> bytes:
    try:
        return base64.b64decode(str(letter.get("body") or ""))
    except binascii.Error:
        return b""


def _readable(body: bytes) -> str:
    """The body as text that can't steer a terminal; in hex if it is no text."""
    try:
        return clean(body.decode())
    except UnicodeDecodeError:
        lines = [body[at : at + 16] for at in range(0, min(len(body), HEX_BYTES), 16)]
        shown = [f"{number * 16:06x}  {line.hex(' '):<47}  {_ascii(line)}" for number, line in enumerate(lines)]
        return "\n".join([*shown, "…"] if len(body) > HEX_BYTES else shown)


def _ascii(line: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)


def _save(path: Path, body: bytes) -> None:
    try:
        path.write_bytes(body)
    except OSError as error:
        hints = ("Name a file that can be written.",)
        raise Failure(f"{path} can't be written: {error.strerror}", Code.INVALID, hints=hints) from None

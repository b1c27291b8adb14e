"""Ask for things, change one's mind, and let go on what waits: request, cancel, override, resume."""

from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.commands.asking import (
    Class,
    DryRun,
    Environment,
    InputsFile,
    Lifetime,
    Project,
    Reason,
    Timeout,
    Values,
    Wait,
    inputs_of,
    submit,
    watch,
)
from entresol.commands.ruling import ruled
from entresol.doors.lookup import request_id, waiting_request_id
from entresol.doors.paths import segment
from entresol.failures import Code, Failure
from entresol.inputs import parse
from entresol.session import Session
from entresol.telling.lives import waits_for
from entresol.terminal import clean

Request = Annotated[
    str, typer.Argument(help="Id, a unique beginning of it, or a resource: its latest.", show_default=False)
]


def request(
    session: Session,
    offering: Annotated[str, typer.Argument(help="What to ask for, such as `deployment`.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name of the resource.", show_default=False)],
    project: Project,
    environment: Environment,
    values: Values = None,
    inputs: InputsFile = None,
    action: Annotated[
        str, typer.Option(help="create, update, apply (either), delete, extend, or one of the offering's own.")
    ] = "create",
    version: Annotated[
        str | None, typer.Option(help="Version of the offering; else the default, or the one that it has.")
    ] = None,
    class_: Class = None,
    lifetime: Lifetime = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    break_glass: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="In an emergency: go past what stands in the way, if you may; somebody reviews it."
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Repeating the command with the same key asks only once.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Ask for something: an offering's action on a resource.

    [bold]Examples[/bold]

      entresol request deployment cart -p shop -e staging -i image=shop/cart -i revision=1.2.0 -i replicas=3 --wait

      entresol request environment try-out -p shop -e dev --lifetime 5d

      entresol request deployment cart -p shop -e prod --action update -i revision=1.3.0 --dry-run --wait

      entresol request database orders -p shop -e dev --class small --version 2.0.0

      entresol request deployment cart -p shop -e prod --action revert --break-glass "the shop is down"
    """
    body: dict[str, Any] = {
        "offering": offering,
        "action": action,
        "project": project,
        "environment": environment,
        "name": name,
        "inputs": inputs_of(values, inputs),
        "dry_run": dry_run,
    }
    more = {"version": version, "class": class_, "lifetime": lifetime, "reason": reason, "break_glass": break_glass}
    body |= {key: value for key, value in more.items() if value is not None}
    submit(session, body, wait, timeout, key=idempotency_key)


def cancel(
    session: Session,
    request: Request,
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
) -> None:
    """Stop a request that is not complete yet; a step that runs is allowed to finish.

    [bold]Example[/bold]   entresol cancel 0193f2c4-81 --reason "wrong size"
    """
    wanted = request_id(session.client, request)
    answer = session.client.cancel(wanted, reason)
    if not wait:
        session.terminal.result(answer or {"id": wanted}, Text(f"asked to cancel {clean(wanted)}"))
        return
    ended = watch(session, wanted, timeout)
    if ended["state"] != "cancelled":
        raise Failure(f"too late: the request {ended['state']}", Code.ENDED_BADLY)


def override(
    session: Session,
    request: Request,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it can't wait.", show_default=False)],
) -> None:
    """Let a held request begin now, if what holds it lets you. Policy decides whether that counts.

    [bold]Example[/bold]   entresol override 0193f2c4-81 --reason "the fix can't wait for the night"
    """
    wanted = request_id(session.client, request)
    session.client.settled(wanted)
    said = session.client.write("POST", f"/v1/requests/{segment(wanted)}/override", {"reason": reason})
    after = ruled(lambda: session.client.request(wanted), said["event"], "the override")
    undecided = "" if after else "; policy has not said yet whether it counts"
    document = {"counted": True if after else None, **said}
    session.terminal.result(document, Text(clean(f"request {wanted} may begin{undecided}")))


def resume(
    session: Session,
    request: Request,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="Only this one; else all that wait.")] = None,
    reason: Reason = None,
    answers: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="KEY=VALUE", help="What the step is told; JSON values as in -i."),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Let a suspended step go on, and tell it what it waits to hear.

    `entresol status REQUEST` shows which steps wait for that. No secrets here: what a step is told is on the log.

    [bold]Examples[/bold]

      entresol resume 0193f2c4-81 --reason "looked at the data" --wait

      entresol resume shop/prod/database/orders --step migrate --answer rows=12 --answer ok=true
    """
    wanted = waiting_request_id(session.client, request)
    told = parse(answers or [], option="--answer")
    item = session.client.settled(wanted)
    steps = _resumable(item, step)
    if told and len(steps) > 1:
        names = " or ".join(f"--step {name}" for name in steps)
        raise Failure("several steps wait; say which of them is told that", Code.INVALID, hints=(names,))
    body = {"step": step, "reason": reason, "answer": told or None}
    given = {name: value for name, value in body.items() if value is not None}
    answer = session.client.write("POST", f"/v1/requests/{segment(wanted)}/resume", given)
    line = Text(clean(f"request {wanted}: {', '.join(steps)} may go on"))
    if not wait:
        session.terminal.result({"id": wanted, "steps": steps, **(answer or {})}, line)
        return
    session.terminal.remark(line)
    if watch(session, wanted, timeout)["state"] != "succeeded":
        raise typer.Exit(Code.ENDED_BADLY)


def _resumable(item: dict[str, Any], step: str | None) -> list[str]:
    """The steps that a person may let go on, or the one that is asked for; raise Failure if there is none."""
    waits = item.get("suspended") or []
    able = [str(one["step"]) for one in waits if one.get("resumable")]
    if step is not None and step in able:
        return [step]
    if step is None and able:
        return able
    others = [f"{one['step']} waits by itself: {waits_for(one)}" for one in waits if not one.get("resumable")]
    offered = [f"--step {name} can be resumed" for name in able]
    what = f"step {step}" if step is not None else "no step"
    verb = "does not wait for anybody" if step is not None else "waits for anybody"
    state = f"request {item['id']} ({item['state']})"
    raise Failure(f"{what} of {state} {verb}", Code.INVALID, hints=(*offered, *others))

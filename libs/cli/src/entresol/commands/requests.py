"""Ask for things, and change one's mind: request, cancel, override, extend, delete."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol import inputs as given_inputs
from entresol.doors.lookup import request_id, segment
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.terminal import clean, short

Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; approvers and auditors read it.")]
Wait = Annotated[
    bool, typer.Option("--wait", "-w", help="Show progress until it is done; exit code 1 if it ends badly.")
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="How long --wait waits; exit code 6 after that.")]

_MOMENT_SECONDS = 10.0


def request(
    session: Session,
    offering: Annotated[str, typer.Argument(help="What to ask for, such as `deployment`.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name of the resource.", show_default=False)],
    project: Annotated[str, typer.Option("--project", "-p", envvar="ENTRESOL_PROJECT", show_default=False)],
    environment: Annotated[str, typer.Option("--environment", "-e", envvar="ENTRESOL_ENVIRONMENT", show_default=False)],
    values: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="KEY=VALUE", help="An input; JSON values allowed, KEY:=JSON insists."),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs from YAML or JSON; -i goes on top.")
    ] = None,
    action: Annotated[
        str, typer.Option(help="create, update, apply (either), delete, extend, or one of the offering's own.")
    ] = "create",
    version: Annotated[str | None, typer.Option(help="Version of the offering; else the newest.")] = None,
    lifetime: Annotated[str | None, typer.Option(metavar="5d", help="Delete it by itself after this long.")] = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and plan, but change nothing.")] = False,
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

      entresol request deployment cart -p shop -e staging -i image=shop/cart -i revision=1.2 -i replicas=3 --wait

      entresol request environment try-out -p shop -e dev --lifetime 5d

      entresol request deployment cart -p shop -e prod --action update -i revision=1.3 --dry-run --wait

      entresol request deployment cart -p shop -e prod --action update -i revision=1.2 --break-glass "the shop is down"
    """
    merged = given_inputs.merge(given_inputs.load(inputs) if inputs else {}, given_inputs.parse(values or []))
    body: dict[str, Any] = {
        "offering": offering,
        "action": action,
        "project": project,
        "environment": environment,
        "name": name,
        "inputs": merged,
        "dry_run": dry_run,
    }
    more = {"version": version, "lifetime": lifetime, "reason": reason, "break_glass": break_glass}
    body |= {key: value for key, value in more.items() if value is not None}
    _submit(session, body, idempotency_key, wait, timeout)


def cancel(
    session: Session,
    request: Annotated[str, typer.Argument(help="Id, or a unique beginning of it.", show_default=False)],
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
    ended = _watch(session, wanted, timeout)
    if ended["state"] != "cancelled":
        raise Failure(f"too late: the request {ended['state']}", Code.ENDED_BADLY)


def override(
    session: Session,
    request: Annotated[str, typer.Argument(help="Id, or a unique beginning of it.", show_default=False)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it can't wait.", show_default=False)],
) -> None:
    """Let a held request begin now, if what holds it lets you. Policy decides whether that counts.

    [bold]Example[/bold]   entresol override 0193f2c4-81 --reason "the fix can't wait for the night"
    """
    wanted = request_id(session.client, request)
    before = session.client.request(wanted)
    answer = session.client.write("POST", f"/v1/requests/{segment(wanted)}/override", {"reason": reason})
    counted = _overridden(session, before)
    undecided = "" if counted else "; policy has not said yet whether it counts"
    document = {"id": wanted, "counted": counted, **(answer or {})}
    session.terminal.result(document, Text(clean(f"request {wanted} may begin{undecided}")))


def extend(
    session: Session,
    resource: Annotated[str, typer.Argument(help="PROJECT/ENVIRONMENT/OFFERING/NAME.", show_default=False)],
    lifetime: Annotated[str, typer.Option("--for", metavar="5d", help="How long from now.", show_default=False)],
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
) -> None:
    """Let a resource live longer.

    [bold]Example[/bold]   entresol extend shop/dev/environment/try-out --for 5d
    """
    _day_two(session, resource, {"action": "extend", "lifetime": lifetime}, reason, wait, timeout)


def delete(
    session: Session,
    resource: Annotated[str, typer.Argument(help="PROJECT/ENVIRONMENT/OFFERING/NAME.", show_default=False)],
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Delete a resource: a request like any other, through the same policies.

    [bold]Example[/bold]   entresol delete shop/dev/environment/try-out --wait
    """
    _day_two(session, resource, {"action": "delete"}, reason, wait, timeout)


def _overridden(session: Session, before: dict[str, Any]) -> bool | None:
    """Whether that let it begin; None if nobody has said so within a moment; raise Failure if it was refused."""
    held, known = before["state"] == "held", len(before.get("overrides") or [])
    deadline = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < deadline:
        item = session.client.request(str(before["id"]))
        for one in (item.get("overrides") or [])[known:]:
            if one.get("refused"):
                raise Failure(f"the override does not count: {one['refused']}", Code.NOT_ALLOWED)
        if held and item["state"] != "held":
            return True
        time.sleep(0.05)
    return None


def _day_two(
    session: Session, resource: str, body: dict[str, Any], reason: str | None, wait: bool, timeout: float
) -> None:
    parts = resource.split("/")
    if len(parts) != 4 or not all(parts):
        raise Failure(f"{resource}: write PROJECT/ENVIRONMENT/OFFERING/NAME", Code.INVALID)
    project, environment, offering, name = parts
    body |= {"project": project, "environment": environment, "offering": offering, "name": name}
    body |= {"reason": reason} if reason else {}
    _submit(session, body, None, wait, timeout)


def _submit(session: Session, body: dict[str, Any], key: str | None, wait: bool, timeout: float) -> None:
    answer = session.client.submit(body, key)
    line = f"request {answer['id']}  {answer['action']} {answer['resource']} ({answer['offering']}@{answer['version']})"
    if not wait:
        hint = Text(f"  see how it goes: entresol status {short(answer['id'])}", style="dim")
        session.terminal.result(answer, Text(clean(line)), hint)
        return
    session.terminal.remark(Text(clean(line)))
    ended = _watch(session, str(answer["id"]), timeout)
    if ended["state"] != "succeeded":
        raise typer.Exit(Code.ENDED_BADLY)


def _watch(session: Session, request_id: str, timeout: float) -> dict[str, Any]:
    from entresol.telling.waiting import outcome, watch

    ended = dict(watch(session.terminal, session.client, request_id, timeout))
    session.terminal.result(ended, *outcome(ended))
    return ended

"""Keep things as they are for a while: place locks, list them, lift them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.doors.lookup import of_list
from entresol.doors.paths import segment
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.telling.facts import scope
from entresol.terminal import clean, moment, short, state, table

Project = Annotated[str | None, typer.Option("--project", "-p", help="Only what is in this project.")]
Environment = Annotated[str | None, typer.Option("--environment", "-e", help="Only what is in this environment.")]
Offering = Annotated[str | None, typer.Option(help="Only resources of this offering.")]
Resource = Annotated[
    str | None, typer.Option(metavar="P/E/O/NAME", help="Only this resource: project/environment/offering/name.")
]
Action = Annotated[str | None, typer.Option(help="Only this action, such as delete.")]


def add(
    session: Session,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; everybody who waits reads it.", show_default=False)],
    project: Project = None,
    environment: Environment = None,
    offering: Offering = None,
    resource: Resource = None,
    action: Action = None,
    everything: Annotated[bool, typer.Option("--everything", help="The whole platform.")] = False,
    lasting: Annotated[str | None, typer.Option("--for", metavar="2h", help="Ends by itself after this long.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Ends by itself then: 2026-11-21T18:00.")] = None,
    not_for: Annotated[
        list[str] | None,
        typer.Option("--exempt", metavar="WHO", help="user:… or group:… it does not hold; repeat for more."),
    ] = None,
) -> None:
    """Let nobody change what the options name: requests that fit are held until the lock ends or is lifted.

    What runs already goes on. Without --for or --until the lock stays until somebody lifts it.

    [bold]Examples[/bold]

      entresol lock add --project ledger -e prod --reason "the ledger is being migrated" --for 2h --exempt group:sre

      entresol lock add --resource shop/prod/database/orders --action delete --reason "audit"

      entresol lock add --everything --reason "incident 812"
    """
    body: dict[str, Any] = {
        "scope": fitting(project, environment, offering, resource, action, everything=everything),
        "reason": reason,
        "exempt": not_for or [],
        **term(lasting, until),
    }
    answer = session.client.write("POST", "/v1/locks", body)
    line = f"lock {answer['id']}  {scope(body['scope'])}{ends(answer)}"
    hint = Text(f"  lift it: entresol lock lift {short(answer['id'])}", style="dim")
    session.terminal.result(body | answer, Text(clean(line)), hint)


def list_(
    session: Session,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were lifted or have ended.")] = False,
) -> None:
    """List the locks that are in force: what is locked, by whom, why, and until when.

    [bold]Example[/bold]   entresol lock list
    """
    locks = list(session.client.every("/v1/locks", state=None if every else "active", project=project))
    rows = [
        (
            short(one["id"]),
            state(one.get("ended") or one.get("state")),
            f"{scope(one.get('scope') or {})}{exempt(one)}\n{said(one)}",
        )
        for one in locks
    ]
    session.terminal.result(locks, table("lock", "state", "what and why", rows=rows) if rows else Text("no locks"))


def lift(
    session: Session,
    lock: Annotated[str, typer.Argument(help="Id, or a unique beginning.", show_default=False)],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept on the log.")] = None,
) -> None:
    """End a lock now: what it held goes on.

    [bold]Example[/bold]   entresol lock lift 0193f2c4-81 --reason "migrated"
    """
    wanted = of_list(session.client, "/v1/locks", lock, "lock", state="active")
    answer = session.client.write("DELETE", f"/v1/locks/{segment(wanted)}", {"reason": reason} if reason else {})
    session.terminal.result(answer or {"id": wanted}, Text(clean(f"lifted lock {wanted}")))


def term(lasting: str | None, until: str | None) -> dict[str, str]:
    """How long it lasts, as the door takes it: a length that the server counts, or a moment with its offset."""
    if lasting is not None and until is not None:
        raise Failure("--for and --until say the same; give one of them", Code.INVALID)
    if until is None:
        return {"for": lasting} if lasting is not None else {}
    try:
        at = datetime.fromisoformat(until).astimezone(UTC)  # without an offset it is the user's own time
    except (ValueError, OverflowError):
        hint = "Such as 2026-11-21T18:00, in your own time zone, or 2026-11-21T18:00Z."
        raise Failure(f"--until {until}: this is no date and time", Code.INVALID, hints=(hint,)) from None
    return {"until": at.isoformat(timespec="seconds")}


def ends(one: Mapping[str, Any]) -> str:
    return f", until {moment(one['until'])}" if one.get("until") else ""


def said(one: Mapping[str, Any]) -> str:
    """Why there is a lock or waiver, and below it who ended it before its time."""
    ticket = f"{one['ticket']}, " if one.get("ticket") else ""
    because = f": {one['ended_because']}" if one.get("ended_because") else ""
    end = f"\n{one['ended']} by {one['ended_by']}{because}" if one.get("ended_by") else ""
    return f"{one.get('reason')} ({ticket}by {one.get('by')}{ends(one)}){end}"


def exempt(lock: Mapping[str, Any]) -> str:
    return f", but not for {', '.join(lock['exempt'])}" if lock.get("exempt") else ""


def fitting(
    project: str | None,
    environment: str | None,
    offering: str | None,
    resource: str | None,
    action: str | None,
    *,
    everything: bool,
    **more: str | None,
) -> dict[str, str]:
    """The scope as an event has it. Raise Failure if it names nothing and nobody said that this is meant."""
    named = {"project": project, "environment": environment, "offering": offering, "resource": resource}
    given = {name: value for name, value in {**named, "action": action, **more}.items() if value is not None}
    if everything and given:
        raise Failure(f"--everything and --{next(iter(given))} contradict each other", Code.INVALID)
    if not everything and not given:
        hint = "Name it by --project, --environment, --offering, --resource or --action; or say --everything."
        raise Failure("what is it about?", Code.INVALID, hints=(hint,))
    if resource is not None and (resource.count("/") != 3 or not all(resource.split("/"))):
        raise Failure(f"--resource {resource}: write PROJECT/ENVIRONMENT/OFFERING/NAME", Code.INVALID)
    return given

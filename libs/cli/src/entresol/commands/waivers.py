"""Let a rule not hold for a while: grant waivers, list them, revoke them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.commands.locks import Action, Environment, Offering, Project, Resource, ends, fitting, said, term
from entresol.doors.lookup import of_list, request_id
from entresol.doors.paths import segment
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.telling.facts import scope
from entresol.terminal import clean, short, state, table

KINDS = ("Policy", "Quota", "Window")


def grant(
    session: Session,
    waives: Annotated[
        str, typer.Argument(metavar="KIND/NAME", help="Policy/…, Quota/… or Window/….", show_default=False)
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; auditors read it.", show_default=False)],
    ticket: Annotated[str, typer.Option(metavar="ID", help="Where it was agreed on.", show_default=False)],
    rule: Annotated[int | None, typer.Option(min=0, help="Only this rule of the policy, counted from 0.")] = None,
    project: Project = None,
    environment: Environment = None,
    offering: Offering = None,
    resource: Resource = None,
    action: Action = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this request: its id, or a unique beginning.")
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Whatever is asked for.")] = False,
    lasting: Annotated[str | None, typer.Option("--for", metavar="7d", help="For this long.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until then: 2026-11-21T18:00.")] = None,
) -> None:
    """Let a policy, a quota or a window not count for what the options name, until a time.

    What it would have said is recorded all the same, with the waiver beside it.

    [bold]Examples[/bold]

      entresol waiver grant Policy/sensible-sizes -p shop --for 7d --reason "load test" --ticket OPS-812

      entresol waiver grant Window/nights --request 0193f2c4-81 --for 2h --reason "hotfix" --ticket INC-7
    """
    kind, _, name = waives.partition("/")
    if kind not in KINDS or not name:
        raise Failure(f"{waives}: write {', '.join(f'{one}/NAME' for one in KINDS)}", Code.INVALID)
    last = term(lasting, until)
    if not last:
        raise Failure("a waiver needs an end; give --for or --until", Code.INVALID)
    wanted = request_id(session.client, request) if request is not None else None
    about = fitting(project, environment, offering, resource, action, everything=everything, request=wanted)
    body: dict[str, Any] = {"waives": waives, "scope": about, "reason": reason, "ticket": ticket, **last}
    body |= {} if rule is None else {"rule": rule}
    answer = session.client.write("POST", "/v1/waivers", body)
    line = f"waiver {answer['id']}  {waives} for {scope(about)}{ends(answer)}"
    hint = Text(f"  end it: entresol waiver revoke {short(answer['id'])}", style="dim")
    session.terminal.result(body | answer, Text(clean(line)), hint)


def list_(
    session: Session,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were revoked or have ended.")] = False,
) -> None:
    """List the waivers that are in force: of what, for what, by whom, why, and until when.

    [bold]Example[/bold]   entresol waiver list
    """
    waivers = list(session.client.every("/v1/waivers", state=None if every else "active", project=project))
    rows = [
        (
            short(one["id"]),
            state(one.get("ended") or one.get("state")),
            f"{_waived(one)}\n{said(one)}",
        )
        for one in waivers
    ]
    found = table("waiver", "state", "what and why", rows=rows) if rows else Text("no waivers")
    session.terminal.result(waivers, found)


def revoke(
    session: Session,
    waiver: Annotated[str, typer.Argument(help="Id, or a unique beginning.", show_default=False)],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept on the log.")] = None,
) -> None:
    """End a waiver now: the rule holds again.

    [bold]Example[/bold]   entresol waiver revoke 0193f2c4-81 --reason "the test is over"
    """
    wanted = of_list(session.client, "/v1/waivers", waiver, "waiver", state="active")
    answer = session.client.write("DELETE", f"/v1/waivers/{segment(wanted)}", {"reason": reason} if reason else {})
    session.terminal.result(answer or {"id": wanted}, Text(clean(f"revoked waiver {wanted}")))


def _waived(waiver: Mapping[str, Any]) -> str:
    rule = f" rule {waiver['rule']}" if waiver.get("rule") is not None else ""
    return f"{waiver.get('waives')}{rule} for {scope(waiver.get('scope') or {})}"

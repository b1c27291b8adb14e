"""The life of what there is already: extend, delete, pause, unpause, adopt, reconcile, rollback.

Each is a request like any other, through the same gates.
"""

from typing import Annotated

import typer

from entresol.commands.asking import (
    Class,
    DryRun,
    Environment,
    InputsFile,
    Lifetime,
    Project,
    Reason,
    Resource,
    Timeout,
    Values,
    Wait,
    about,
    inputs_of,
    submit,
)
from entresol.doors.lookup import resource_id
from entresol.doors.paths import resource_path
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import drifts, revisions


def extend(
    session: Session,
    resource: Resource,
    lifetime: Annotated[
        str, typer.Option("--for", "--lifetime", metavar="5d", help="How long from now.", show_default=False)
    ],
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = 60.0,
) -> None:
    """Let a resource live longer.

    [bold]Example[/bold]   entresol extend shop/dev/environment/try-out --for 5d
    """
    submit(session, about(session, resource, "extend", lifetime=lifetime, reason=reason), wait, timeout)


def delete(
    session: Session,
    resource: Resource,
    orphan: Annotated[
        bool, typer.Option("--orphan", help="Leave in the world, and list, what can't be removed; else it stays yours.")
    ] = False,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Delete a resource: a request like any other, through the same policies.

    It is refused while other resources need this one, and it is done only when nothing of it is found any more.

    [bold]Examples[/bold]

      entresol delete shop/dev/environment/try-out --wait

      entresol delete shop/dev/database/orders --orphan --reason "its cluster is gone"
    """
    body = about(session, resource, "delete", orphan=orphan, reason=reason, dry_run=dry_run)
    submit(session, body, wait, timeout)


def pause(
    session: Session,
    resource: Resource,
    lifetime: Annotated[
        str, typer.Option("--for", "--lifetime", metavar="2h", help="How long from now.", show_default=False)
    ],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; whoever is refused meanwhile reads it.", show_default=False)
    ],
    wait: Wait = False,
    timeout: Timeout = 60.0,
) -> None:
    """Do nothing to a resource for a while: no change, no correction of drift, no expiry. It ends by itself.

    [bold]Example[/bold]   entresol pause shop/prod/database/orders --for 2h --reason "a migration by hand"
    """
    submit(session, about(session, resource, "pause", lifetime=lifetime, reason=reason), wait, timeout)


def unpause(
    session: Session, resource: Resource, reason: Reason = None, wait: Wait = False, timeout: Timeout = 60.0
) -> None:
    """End a pause before its time.

    [bold]Example[/bold]   entresol unpause shop/prod/database/orders --wait
    """
    submit(session, about(session, resource, "unpause", reason=reason), wait, timeout)


def reconcile(
    session: Session,
    resource: Resource,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Make a resource again what it says: all of its steps once more, with the inputs that it has.

    [bold]Examples[/bold]

      entresol reconcile shop/dev/deployment/cart --wait

      entresol reconcile shop/dev/deployment/cart --dry-run --wait
    """
    submit(session, about(session, resource, "reconcile", reason=reason, dry_run=dry_run), wait, timeout)


def adopt(
    session: Session,
    offering: Annotated[str, typer.Argument(help="What it is, such as `database`.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name that the resource gets.", show_default=False)],
    project: Project,
    environment: Environment,
    values: Values = None,
    inputs: InputsFile = None,
    version: Annotated[str | None, typer.Option(help="Version of the offering; else the default.")] = None,
    class_: Class = None,
    lifetime: Lifetime = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Own something that is there already, as if it had been asked for with these inputs. Nothing of it is changed.

    With --dry-run --wait it shows what differs from what these inputs would make. What differs after the adoption is
    drift: `entresol reconcile` puts it right.

    [bold]Examples[/bold]

      entresol adopt database orders -p shop -e prod -i size=large --dry-run --wait

      entresol adopt database orders -p shop -e prod -i size=large --reason "made by hand in 2019" --wait
    """
    body = {
        "offering": offering,
        "action": "adopt",
        "project": project,
        "environment": environment,
        "name": name,
        "inputs": inputs_of(values, inputs),
        "dry_run": dry_run,
    }
    more = {"version": version, "class": class_, "lifetime": lifetime, "reason": reason}
    body |= {key: value for key, value in more.items() if value is not None}
    if submit(session, body, wait, timeout) is None or dry_run or session.terminal.json:
        return
    owned = session.client.read(resource_path(f"{project}/{environment}/{offering}/{name}"))
    session.terminal.result(owned, *drifts.after_adoption(owned))


def rollback(
    session: Session,
    resource: Resource,
    to: Annotated[
        int | None, typer.Option(metavar="REVISION", help="Which one; else the one before.", show_default=False)
    ] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 600.0,
) -> None:
    """Go back to an earlier revision of a resource: its inputs and its version of the offering, as they were.

    It first shows what that changes. `entresol status RESOURCE` lists the revisions.

    [bold]Examples[/bold]

      entresol rollback shop/prod/deployment/cart --wait

      entresol rollback shop/prod/deployment/cart --to 3 --dry-run --wait
    """
    wanted = resource_id(session.client, resource)
    try:
        known = list(session.client.every(f"{resource_path(wanted)}/revisions"))
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise Failure(f"no resource {wanted}", Code.NOT_FOUND) from None
        raise
    now, then = revisions.choose(wanted, known, to)
    snapshot = {"revision": then["revision"], "request_id": then.get("request_id")}
    body = about(
        session,
        wanted,
        "rollback",
        version=then["version"],
        inputs=then.get("inputs") or {},
        snapshot={name: value for name, value in snapshot.items() if value is not None},
        reason=reason,
        dry_run=dry_run,
    )
    for part in revisions.draw(now, then):
        session.terminal.remark(part)
    told = {"from_revision": now["revision"], "to_revision": then["revision"], "changes": revisions.changes(now, then)}
    submit(session, body, wait, timeout, told=told)

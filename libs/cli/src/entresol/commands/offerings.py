"""What can be asked for, in its versions: list, show, explain, impact; promote, deprecate, defect."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.commands.asking import Class, Environment, Project
from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.telling import offerings, stages
from entresol.terminal import cell, clean, state, table

Document = Mapping[str, Any]

Name = Annotated[
    str, typer.Argument(metavar="OFFERING", help="Its name, or name@version, such as `database`.", show_default=False)
]
Version = Annotated[str | None, typer.Option("--version", help="This version of it.", show_default=False)]
Exact = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="Which one, unless it is in the name.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; who runs it reads that.")]
Because = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; who runs it reads that.", show_default=False)
]


def list_(session: Session) -> None:
    """List every version of what can be asked for, its stage, and how many resources run it.

    [bold]Example[/bold]   entresol offering list
    """
    found = sorted(session.client.every("/v1/offerings"), key=lambda one: (one["name"], stages.order(one)))
    rows = [
        (
            one["name"],
            one.get("version"),
            state(one.get("stage")),
            cell(one.get("resources")),
            (one.get("manifest") or {}).get("metadata", {}).get("title"),
        )
        for one in found
    ]
    if not rows:
        session.terminal.result(found, Text("no offerings yet; `entresol apply --starter` brings some"))
        return
    session.terminal.result(found, table("offering", "version", "stage", "resources", "title", rows=rows))


def show(session: Session, offering: Name, version: Version = None) -> None:
    """Show what an offering takes, does, gives and needs, and how its versions stand.

    [bold]Examples[/bold]

      entresol offering show database

      entresol offering show database --version 1.0.0
    """
    found = _read(session, *_split(offering, version))
    session.terminal.result(found, *offerings.draw(found))


def explain(
    session: Session,
    offering: Name,
    project: Project,
    environment: Environment,
    class_: Class = None,
    version: Version = None,
) -> None:
    """Say which version and which implementation a request for something new would get, and why.

    What there is already stays with the version and the implementation that it has: `entresol status RESOURCE`.

    [bold]Examples[/bold]

      entresol offering explain database -p shop -e dev

      entresol offering explain database -p shop -e prod --class fast --version 2.0.0
    """
    from entresol_manifests.implementations import choose

    name, wanted = _split(offering, version)
    found = _read(session, name, wanted)
    spec = found["manifest"]["spec"]
    choice = choose(spec, environment=environment, project=project, class_=class_)
    telling = offerings.Explanation(found, wanted, project, environment, class_, choice)
    session.terminal.result(telling.document(), *telling.draw())


def impact(
    session: Session,
    offering: Name,
    version: Version = None,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's.")] = None,
) -> None:
    """Show which resources run which version of an offering, whose they are, and what that means for them.

    [bold]Examples[/bold]

      entresol offering impact database

      entresol offering impact database --version 1.0.0
    """
    name, wanted = _split(offering, version)
    found = _read(session, name, None, required=False)
    try:
        path = f"/v1/offerings/{segment(name)}/impact"
        runs = list(session.client.every(path, version=wanted, project=project))
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise _unknown(session, name, wanted) from None
        raise
    document = {"offering": name, "version": wanted, "resources": runs}
    session.terminal.result(document, *offerings.impact(name, wanted, found, runs))


def promote(session: Session, offering: Name, version: Exact = None, reason: Reason = None) -> None:
    """Make a version the default: who names no version gets it from now on.

    [bold]Example[/bold]   entresol offering promote database 2.0.0 --reason "tried in dev for a week"
    """
    _stage(session, offering, version, "default", reason)


def deprecate(session: Session, offering: Name, version: Exact = None, reason: Reason = None) -> None:
    """Let a version fade: nothing new is made with it unless it is named. What runs it goes on.

    [bold]Example[/bold]   entresol offering deprecate database 1.0.0 --reason "2.0.0 is cheaper"
    """
    _stage(session, offering, version, "deprecated", reason)


def defect(session: Session, offering: Name, reason: Because, version: Exact = None) -> None:
    """Say that a version is broken: nothing is made with it or updated to it any more.

    Deleting, and updating to another version, always work.

    [bold]Example[/bold]   entresol offering defect database 1.1.0 --reason "it loses backups"
    """
    _stage(session, offering, version, "defective", reason)


def _stage(session: Session, offering: str, version: str | None, stage: str, reason: str | None) -> None:
    name, wanted = _split(offering, version)
    if wanted is None:
        raise Failure(f"which version of {name}? Write {name} VERSION", Code.INVALID, hints=_known(session, name))
    body = {"stage": stage} | ({"reason": reason} if reason else {})
    leaves = stage in stages.TO_LEAVE
    ends_default = leaves and stages.default_of(_read(session, name, None, required=False)) == wanted
    try:
        answer = session.client.write("POST", f"/v1/offerings/{segment(name)}/{segment(wanted)}/stage", body)
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise _unknown(session, name, wanted) from None
        raise
    document = {"name": name, "version": wanted, "stage": stage, **(answer or {})}
    line = Text.assemble(clean(f"{name}@{wanted} is "), state(stage), f" now: {stages.means(stage)}")
    hint = Text(f"  who runs it: entresol offering impact {clean(name)} --version {clean(wanted)}", style="dim")
    none = f"  no version of {clean(name)} is the default now: entresol offering promote {clean(name)} VERSION"
    more = [Text(none, style="yellow")] if ends_default else []
    session.terminal.result(document, line, *more, *([hint] if leaves else []))


def _split(offering: str, version: str | None) -> tuple[str, str | None]:
    """Name and version of `database`, `database@1.0.0`, or both apart."""
    name, _, inside = offering.partition("@")
    if not name or (inside and version and inside != version):
        raise Failure(f"{offering}: write OFFERING VERSION or OFFERING@VERSION", Code.INVALID)
    return name, inside or version


def _read(session: Session, name: str, version: str | None, *, required: bool = True) -> Any:
    """The offering with all of its versions; None if it is not there and need not be."""
    try:
        return session.client.read(f"/v1/offerings/{segment(name)}", version=version)
    except Refused as refusal:
        if refusal.code is not Code.NOT_FOUND:
            raise
        if not required:
            return None
        raise _unknown(session, name, version) from None


def _unknown(session: Session, name: str, version: str | None) -> Failure:
    what = name if version is None else f"{name}@{version}"
    return Failure(f"no offering {what}", Code.NOT_FOUND, hints=_known(session, name))


def _known(session: Session, name: str) -> list[str]:
    """What there is instead: the versions of that name, or the names."""
    there = list(session.client.every("/v1/offerings"))
    versions = [str(one["version"]) for one in there if one["name"] == name]
    names = sorted({str(one["name"]) for one in there})
    return [f"there are {', '.join(versions or names) or 'none'}"]

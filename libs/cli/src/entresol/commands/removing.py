"""Take manifests out of force: remove. Who sits at a terminal is shown what hangs on it, and asked."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.terminal import clean

MOST_NAMED = 10
MEANS = {
    "Policy": "what it denied or asked people for is so no more, and what waits for it goes on",
    "Quota": "what it limited is limited no more",
    "Window": "what it held back may begin",
    "Trigger": "its events ask for nothing any more",
    "Route": "nobody is told of its events any more",
}


def remove(
    session: Session,
    manifest: Annotated[
        str, typer.Argument(metavar="KIND/NAME", help="Such as Policy/no-surprises.", show_default=False)
    ],
    version: Annotated[
        str | None, typer.Option(help="An offering's version, or an entity's blueprint, if there are several.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; without a terminal nobody is asked.")] = False,
) -> None:
    """Take a manifest out of force: a policy, a quota, a window, a trigger, an offering, …

    On a terminal what hangs on it is shown, and you are asked. What waits for it is examined again. What it was is
    kept on the log; `entresol apply` puts it back.

    [bold]Examples[/bold]

      entresol remove Policy/no-surprises

      entresol remove Offering/database --version 1.0.0 --yes
    """
    kind, _, name = manifest.partition("/")
    if not kind or not name:
        raise Failure(f"{manifest}: write KIND/NAME, such as Policy/no-surprises", Code.INVALID)
    said = f"{manifest}@{version}" if version else manifest
    if session.terminal.asks and not yes:
        for line in _hanging(session, kind, name, version):
            session.terminal.warn(Text(clean(line)))
        if not typer.confirm(clean(f"Remove {said}?"), err=True):
            raise Failure("nothing was removed", Code.ENDED_BADLY)
    session.client.remove(kind, name, version)
    document = {"kind": kind, "name": name, "version": version, "result": "removed"}
    session.terminal.result(document, Text(clean(f"removed {said}")))


def _hanging(session: Session, kind: str, name: str, version: str | None) -> Iterator[str]:
    """What follows for whom, as far as this token sees."""
    if kind in MEANS:
        yield MEANS[kind]
    if kind != "Offering":
        return
    try:
        runs = list(session.client.every(f"/v1/offerings/{segment(name)}/impact", version=version))
        offerings = list(session.client.every("/v1/offerings"))
    except Refused:
        yield "what runs it is not known"
        return
    if runs:
        names = _named(str(one["id"]) for one in runs)
        yield f"these run it, and can then only be deleted or updated to another version: {names}"
    needing = [
        f"{one['name']}@{one['version']}"
        for one in offerings
        for required in one["manifest"]["spec"].get("requires") or ()
        if required["offering"] == name and (version is None or required.get("version") in (None, version))
    ]
    if needing:
        yield f"these offerings require it: {_named(dict.fromkeys(needing))}"


def _named(names: Iterator[str] | dict[str, None]) -> str:
    listed = list(names)
    more = len(listed) - MOST_NAMED
    return ", ".join(listed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

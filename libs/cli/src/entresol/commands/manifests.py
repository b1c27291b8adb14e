"""Publish manifests: apply, validate. The same reading and checking serves both, and the catalog's import."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from entresol.failures import Code, Failure, Refused
from entresol.session import Session
from entresol.terminal import clean, state, table

if TYPE_CHECKING:
    from entresol_manifests.reading import Manifest

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH…", help="YAML or JSON files, or directories of them; - is the standard input.", show_default=False
    ),
]


def apply(
    session: Session,
    paths: Paths = None,
    starter: Annotated[bool, typer.Option("--starter", help="Also the offerings that come with Entresol.")] = False,
    proposed: Annotated[
        bool, typer.Option("--proposed", help="New versions of offerings become no default; who names them gets them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check, and change nothing.")] = False,
) -> None:
    """Publish manifests, all or none: offerings, policies, triggers, blueprints, entities, routes, …

    They are checked here first; a fault is told as file:line. Port blueprints and entities (JSON) and Backstage
    catalog-info.yaml are taken as they are. What did not change is left alone.

    [bold]Examples[/bold]

      entresol apply platform/

      entresol apply blueprints.json entities.json

      entresol apply --starter

      kustomize build platform/ | entresol apply -

      entresol apply offerings/database.yaml --proposed     (then: entresol offering promote database 2.0.0)
    """
    wanted = [*(paths or []), *([starter_directory()] if starter else [])]
    if not wanted:
        raise Failure("nothing to apply: name files or directories, or --starter", Code.INVALID)
    publish(session, checked(wanted), dry_run=dry_run, proposed=proposed)


def validate(session: Session, paths: Paths = None) -> None:
    """Check manifests without a server; exit code 1 if anything is wrong.

    Every fault is one line `file:line: message`, as editors and CI read it.

    [bold]Example[/bold]   entresol validate platform/
    """
    if not paths:
        raise Failure("nothing to validate: name files or directories", Code.INVALID)
    manifests, faults = check(paths)
    document = {"manifests": len(manifests), "faults": faults}
    if faults:
        lines = [Text(clean(fault)) for fault in faults]
        session.terminal.result(document, *lines)
        raise typer.Exit(Code.ENDED_BADLY)
    kinds = sorted({str(manifest.document.get("kind")) for manifest in manifests})
    session.terminal.result(document, Text(clean(f"✓ {len(manifests)} manifests are fine ({', '.join(kinds)})")))


def starter_directory() -> Path:
    """Where the starter platform's manifests are."""
    return Path(__file__).parent.parent / "starter"


def check(paths: Sequence[Path]) -> tuple[list["Manifest"], list[str]]:
    """What the files hold, and every fault found as `file:line: pointer: message`."""
    from entresol_manifests.checking import check as check_document
    from entresol_manifests.reading import STANDARD_INPUT, ManifestError, read

    missing = [f"{path}: no such file or directory" for path in paths if path != STANDARD_INPUT and not path.exists()]
    if missing:
        return [], missing
    try:
        manifests = read(list(paths))
    except ManifestError as error:
        return [], str(error).splitlines()
    faults = [
        _fault(manifest, finding.pointer, finding.message)
        for manifest in manifests
        for finding in check_document(manifest.document)
    ]
    if not manifests and not faults:
        faults = [f"{path}: holds no manifests" for path in paths]
    return manifests, faults


def checked(paths: Sequence[Path]) -> list["Manifest"]:
    """What the files hold; raise Failure with every fault if there is one."""
    manifests, faults = check(paths)
    if faults:
        noun = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise Failure(f"{noun} in the manifests; nothing was applied", Code.INVALID, hints=faults)
    return manifests


def publish(
    session: Session, manifests: Sequence["Manifest"], *, dry_run: bool = False, proposed: bool = False
) -> None:
    """Post all of them in one batch and say what became of each."""
    documents: list[dict[str, Any]] = [dict(manifest.document) for manifest in manifests]
    try:
        results = session.client.apply(documents, dry_run=dry_run, proposed=proposed)
    except Refused as refusal:
        if not refusal.violations:
            raise
        faults = [_located(manifests, *each) for each in refusal.violations]
        raise Failure(f"{refusal.message}; nothing was applied", refusal.code, hints=faults) from None
    if not dry_run:
        _await_catalog(session, documents, results)
    rows = [(result.get("kind"), _name(result), state(result.get("result"))) for result in results]
    counts = ", ".join(
        f"{count} {word}"
        for word in ("created", "changed", "unchanged")
        if (count := sum(result.get("result") == word for result in results))
    )
    summary = Text(f"{'would be: ' if dry_run else ''}{counts}")
    session.terminal.result(results, table("kind", "name", "result", rows=rows), summary)


def _await_catalog(session: Session, documents: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> None:
    """Let the catalog hear of the last that is new, and so of all of them: the next command may read them."""
    from entresol_manifests.digest import digest

    changed = [one for one, told in zip(documents, results, strict=False) if told.get("result") != "unchanged"]
    if changed:
        kind, name, wanted = changed[-1]["kind"], changed[-1]["metadata"]["name"], digest(changed[-1])
        session.client.heard("/v1/manifests", lambda one: one["digest"] == wanted, kind=kind, name=name, limit=500)


def _fault(manifest: "Manifest", pointer: str, message: str) -> str:
    return f"{manifest.origin.path}:{manifest.line_of(pointer)}: {pointer or '/'}: {message}"


def _located(manifests: Sequence["Manifest"], pointer: str, message: str) -> str:
    """The fault that the server has found in the batch, where it stands in a file."""
    number, slash, rest = pointer.removeprefix("/").partition("/")
    if number.isdecimal() and int(number) < len(manifests):
        return _fault(manifests[int(number)], slash + rest, message)
    return f"{pointer or '/'}: {message}"


def _name(result: dict[str, Any]) -> str:
    version = result.get("version")
    return f"{result.get('name')}@{version}" if version else str(result.get("name"))

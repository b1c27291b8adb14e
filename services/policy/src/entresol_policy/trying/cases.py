"""Read case files: what is given, what is expected, and the manifests they are about.

Whatever a file holds, the only exception is Faults: one line `file:line: pointer: message` for each thing in it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from entresol_manifests.checking import check
from entresol_manifests.reading import CASES, SUFFIXES, Manifest, ManifestError, Origin, documents, read
from entresol_manifests.schemas import differences, validator

from entresol_policy.books import KINDS
from entresol_policy.trying.form import NEEDED, SCHEMA


class Faults(Exception):
    """What is wrong with a case file, or with the manifests that it is about."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `given` is all of it, also what the file gives to every case."""

    name: str
    line: int
    given: Mapping[str, Any]
    expect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CaseFile:
    path: Path
    manifests: tuple[Manifest, ...]
    """Policies, windows and quotas."""
    cases: tuple[Case, ...]


def find(paths: Iterable[Path]) -> list[Path]:
    """The case files among the paths and beneath the directories, in sorted order; hidden ones are skipped."""
    found: list[Path] = []
    for given in paths:
        if not given.is_dir():
            found.append(given)
            continue
        for folder, directories, names in os.walk(given):
            directories[:] = sorted(name for name in directories if not name.startswith("."))
            wanted = (name for name in sorted(names) if name.lower().endswith(CASES) and not name.startswith("."))
            found += [Path(folder) / name for name in wanted]
    return list(dict.fromkeys(found))


def read_cases(path: Path) -> CaseFile:
    """The cases of one file and the manifests they are about. Raise Faults."""
    source = _document(path)
    document, faults = source.document, differences(source.document, SCHEMA, _validator())
    if faults:
        raise Faults([_told(source, one.pointer, one.message) for one in faults])
    cases, wrong = [], []
    for index, one in enumerate(document["cases"]):
        pointer = f"/cases/{index}"
        given = merged(document.get("given", {}), one.get("given", {}))
        request = given.get("request", {})
        missing = [f"{key} is missing; `given` may say it for every case" for key in NEEDED if key not in request]
        wrong += [_told(source, f"{pointer}/given/request", message) for message in missing]
        cases.append(Case(one["name"], source.line_of(pointer), given, one["expect"]))
    names = [one.name for one in cases]
    doubled = (at for at, name in enumerate(names) if name in names[:at])
    wrong += [_told(source, f"/cases/{at}/name", "an earlier case has this name already") for at in doubled]
    if wrong:
        raise Faults(wrong)
    return CaseFile(path, tuple(_manifests(source, path)), tuple(cases))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What is above on top of what is below, key by key and deeply; anything but maps is replaced."""
    whole = dict(below)
    for key, value in above.items():
        known = whole.get(key)
        whole[key] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return whole


@cache
def _validator() -> Any:
    return validator(SCHEMA)


def _document(path: Path) -> Manifest:
    """The file's only document, as something that knows its lines."""
    if not path.name.lower().endswith(CASES):
        raise Faults([f"{path}:1: not a case file: its name ends in none of {', '.join(CASES)}"])
    try:
        found = list(documents(path, path.resolve().parent))
    except ManifestError as error:
        raise Faults([str(error)]) from None
    if len(found) != 1:
        raise Faults([f"{path}:1: a case file holds one document, but this one {len(found)}"])
    return Manifest(found[0].value, Origin(path, 1), found[0].lines)


def _manifests(source: Manifest, path: Path) -> Iterator[Manifest]:
    folder = path.parent
    named = source.document.get("policies")
    if named is not None:
        paths = [folder / one for one in named]
        absent = (at for at, one in enumerate(paths) if not one.exists())
        if faults := [_told(source, f"/policies/{at}", "there is no such file or directory") for at in absent]:
            raise Faults(faults)
    else:
        paths = [one for one in sorted(folder.iterdir()) if _may_hold_manifests(one)]
    try:
        found = [one for one in read(paths) if one.document.get("kind") in KINDS]
    except ManifestError as error:
        raise Faults([str(error)]) from None
    faults = [_told(one, finding.pointer, finding.message) for one in found for finding in check(one.document)]
    known: dict[tuple[str, str], Manifest] = {}
    for one in () if faults else found:
        kind, name = one.document["kind"], one.document["metadata"]["name"]
        if (earlier := known.setdefault((kind, name), one)) is not one:
            faults.append(_told(one, "/metadata/name", f"{kind} {name} is in {earlier.origin} already"))
    if not found and named != []:
        faults = [_told(source, "/policies", f"no policy, window or quota lies beside it in {folder}")]
    if faults:
        raise Faults(faults)
    yield from found


def _may_hold_manifests(path: Path) -> bool:
    name = path.name.lower()
    return path.is_file() and name.endswith(SUFFIXES) and not name.endswith(CASES) and not name.startswith(".")


def _told(source: Manifest, pointer: str, message: str) -> str:
    return f"{source.origin.path}:{source.line_of(pointer)}: {pointer or '/'}: {message}"

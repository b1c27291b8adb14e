"""Read manifests from files and directories: Entresol's own, Port's JSON, Backstage's catalog-info.

Whatever a file holds, the only exception is ManifestError, with the place and what to do about it. What comes back
is complete: folders that steps name are inlined, so that a manifest can be published and frozen as it is.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from entresol_manifests import backstage, folders, json_text, port, yaml_text
from entresol_manifests.pointers import child, parent
from entresol_manifests.positions import Parsed, TextError

LARGEST_FILE: Final = 1024 * 1024
SUFFIXES: Final = (".yaml", ".yml", ".json")
CASES: Final = (".test.yaml", ".test.yml")
"""Files that try policies out and lie beside them; they hold no manifests."""
STANDARD_INPUT: Final = Path("-")
API_VERSION: Final = "entresol.dev/v1"


class ManifestError(Exception):
    """What is wrong in which file, where, and what to do; `str()` is all of it in one line."""

    def __init__(self, message: str, path: Path, line: int = 1, column: int = 1, remedy: str = "") -> None:
        self.message, self.path, self.line, self.column, self.remedy = message, path, line, column, remedy
        super().__init__(f"{path}:{line}:{column}: {message}" + (f" ({remedy})" if remedy else ""))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest begins; lines count from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest as plain JSON, with where each part of it was written."""

    document: dict[str, Any]
    origin: Origin
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    places: tuple[tuple[str, str], ...] = field(default=(("", ""),), repr=False, compare=False)
    """Beginnings of pointers in the document, and what they were in the file; the first that fits counts."""

    def line_of(self, pointer: str) -> int:
        """The line of a JSON pointer, or of the nearest thing around it that the file has."""
        for ours, theirs in self.places:
            if pointer == ours or pointer.startswith(f"{ours}/"):
                pointer = theirs + pointer[len(ours) :]
                break
        while pointer and pointer not in self.lines:
            pointer = parent(pointer)
        return self.lines.get(pointer, self.origin.line)


@dataclass(slots=True)
class _Backstage:
    """What was read from Backstage so far, because an API's provider is named at the component."""

    entities: list[dict[str, Any]] = field(default_factory=list)
    providers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    root: Path
    """Nothing outside of it is read on behalf of this file."""
    documents: tuple[Parsed, ...] = ()
    error: ManifestError | None = None


def read(paths: Iterable[Path]) -> list[Manifest]:
    """The manifests of the files and of every *.yaml, *.yml and *.json beneath the directories, in sorted order.

    `-` is the standard input, and its folders are those of the working directory.
    Hidden files and folders are skipped, *.test.yaml, and folders that an offering's steps name, which hold templates.
    Raises ManifestError for the first thing that is wrong.
    """
    files = [_parse(path, root) for given in paths for path, root in _candidates(Path(given))]
    templates = {
        folder
        for file in files
        for parsed in file.documents
        if isinstance(parsed.value, dict)
        for folder in folders.folders(parsed.value, file.path.parent)
    }
    manifests: list[Manifest] = []
    portal = _Backstage()
    for file in files:
        if any(file.path.resolve().is_relative_to(folder) for folder in templates):
            continue
        if file.error is not None:
            raise file.error
        for parsed in file.documents:
            manifests += _manifests(parsed, file, portal)
    backstage.name_providers(portal.providers, portal.entities)
    return manifests


def _candidates(given: Path) -> Iterator[tuple[Path, Path]]:
    if given == STANDARD_INPUT:
        yield given, Path.cwd()
    elif given.is_file():
        if given.suffix.lower() not in SUFFIXES:
            raise ManifestError(f"not a manifest: its name ends in none of {', '.join(SUFFIXES)}", given)
        if given.name.lower().endswith(CASES):
            raise ManifestError("not a manifest but cases that try policies out", given)
        yield given, given.resolve().parent
    elif given.is_dir():
        root = given.resolve()
        for parent_folder, directories, names in os.walk(given):
            directories[:] = sorted(name for name in directories if not name.startswith("."))
            for name in sorted(names):
                path = Path(parent_folder) / name
                if name.startswith(".") or name.lower().endswith(CASES):
                    continue
                if path.suffix.lower() in SUFFIXES:
                    yield path, root
    else:
        raise ManifestError("there is no such file or directory", given)


def _parse(path: Path, root: Path) -> _File:
    try:
        return _File(path, root, tuple(documents(path, root)))
    except ManifestError as error:
        return _File(path, root, error=error)


def documents(path: Path, root: Path) -> Iterator[Parsed]:
    """The documents of one file, whatever they are; raise ManifestError. The file lies beneath the root, resolved."""
    if not path.resolve().is_relative_to(root):
        raise ManifestError("a link that leads outside of the directory", path, remedy="copy the file")
    try:
        with nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ManifestError(f"can't be read: {error.strerror}", path) from None
    if len(raw) > LARGEST_FILE:
        raise ManifestError(f"larger than {LARGEST_FILE // 1024} KiB", path, remedy="split the file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ManifestError("not UTF-8", path, line, remedy="save the file as UTF-8") from None
    try:
        if path.suffix.lower() == ".json":
            yield json_text.parse(text)
        else:
            yield from yaml_text.parse_all(text)
    except TextError as error:
        raise ManifestError(error.message, path, error.line, error.column, error.remedy) from None


def _manifests(parsed: Parsed, file: _File, portal: _Backstage) -> Iterator[Manifest]:
    if isinstance(parsed.value, list):
        for index, value in enumerate(parsed.value):
            yield _manifest(value, child("", index), parsed, file, portal)
    else:
        yield _manifest(parsed.value, "", parsed, file, portal)


def _manifest(value: Any, pointer: str, parsed: Parsed, file: _File, portal: _Backstage) -> Manifest:
    def wrong(message: str, at: str = "", remedy: str = "") -> ManifestError:
        return ManifestError(message, file.path, source.line_of(pointer + at), remedy=remedy)

    origin = Origin(file.path, parsed.lines.get(pointer, 1))
    source = Manifest({}, origin, parsed.lines)
    if not isinstance(value, dict):
        raise wrong("not a manifest: a map with apiVersion, kind, metadata and spec is expected")
    if port.is_blueprint(value):
        return Manifest(port.blueprint(value), origin, parsed.lines, port.places(pointer))
    if port.is_entity(value):
        if not value.get("blueprint"):
            raise wrong("an entity that does not name its blueprint", remedy='add "blueprint": "…"')
        return Manifest(port.entity(value), origin, parsed.lines, port.places(pointer))
    version = value.get("apiVersion")
    if isinstance(version, str) and version.startswith("score.dev/"):
        raise wrong("Score files are not supported yet", remedy="write a request for an offering instead")
    if backstage.is_entity(value):
        if value.get("kind") not in backstage.KINDS:
            raise wrong(f"of Backstage's kinds, {', '.join(backstage.KINDS)} can be read", "/kind")
        if not isinstance(value.get("metadata"), dict) or not isinstance(value.get("spec", {}), dict):
            raise wrong("a Backstage entity needs metadata and spec")
        try:
            entity = backstage.entity(value)
            portal.providers |= dict.fromkeys(backstage.provides(value), entity["metadata"]["name"])
            portal.entities.append(entity)
        except backstage.ReferenceUnreadable as error:
            raise wrong(str(error), error.pointer) from None
        return Manifest(entity, origin, parsed.lines, backstage.places(pointer))
    if version != API_VERSION or not isinstance(value.get("kind"), str):
        raise wrong(f"not a manifest: apiVersion: {API_VERSION} and a kind are expected", "/apiVersion")
    try:
        home = file.path.parent.resolve()
        changed = folders.inline(value, home, file.root)
    except folders.FolderError as error:
        raise wrong(error.message, error.pointer, error.remedy) from None
    moved = tuple((ours, pointer + theirs) for ours, theirs in changed)
    return Manifest(value, origin, parsed.lines, (*moved, ("", pointer)))

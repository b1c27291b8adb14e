"""Judge whether `schemas/` still keeps the promises of an earlier commit.

`compatibility.py` compares with HEAD, `compatibility.py --against v1.2.0` with any revision; it exits 1 and names
file and JSON pointer of each broken promise. Two readings of "compatible", because the readers differ:

* Events and the envelope are written by us and read by others, old events by new readers and new events by old
  readers. Only optional fields may be added, and that raises the minor version in `$id`.
* Manifests are written by others and read by us: whatever was accepted must be accepted still. Widening is welcome.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = "schemas"
IGNORED_FOLDERS = {"examples"}
GENERATED = {"asyncapi.json"}

ANNOTATIONS = {"title", "description", "examples", "default", "deprecated", "readOnly", "writeOnly", "$comment"}
IDENTITY = {"$id", "$schema", "$defs", "$ref", "$anchor", "x-publisher"}
LOWER_BOUNDS = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
UPPER_BOUNDS = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"}
SUBSCHEMAS = {"items", "additionalProperties", "propertyNames", "contains", "unevaluatedProperties", "unevaluatedItems"}
JSON_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
COMPARED = {"type", "enum", "const", "required", "properties", "oneOf", "anyOf", "allOf"}

Schema: TypeAlias = dict[str, Any]
Tree: TypeAlias = Mapping[str, Schema]
"""Schemas by their path below `schemas/`."""
Effect: TypeAlias = Literal["adds", "narrows", "widens"]

NEXT_MAJOR = "leave the schema as it was and put the change into a .v{major} beside it"


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a schema file."""

    file: str
    pointer: str = ""

    def __truediv__(self, token: str | int) -> "Place":
        return Place(self.file, f"{self.pointer}/{str(token).replace('~', '~0').replace('/', '~1')}")

    def __str__(self) -> str:
        return f"{SCHEMAS}/{self.file}#{self.pointer}"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that documents can notice."""

    effect: Effect
    place: Place
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise, and how to keep it."""

    place: Place
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}; {self.remedy}"


class Comparison:
    """Walks two versions of one schema side by side, through references, each pair of spots once."""

    def __init__(self, before: Tree, after: Tree) -> None:
        self._before = before
        self._after = after
        self._seen: set[tuple[Place, Place]] = set()

    def changes(self, file: str) -> list[Change]:
        return list(self._walk(self._before[file], self._after[file], Place(file), Place(file)))

    def _walk(self, old: Any, new: Any, was: Place, now: Place) -> Iterator[Change]:
        old, was = resolve(self._before, old, was)
        new, now = resolve(self._after, new, now)
        if (was, now) in self._seen:
            return
        self._seen.add((was, now))
        if old is False or new is False:
            if old is not new:
                yield (
                    Change("narrows", now, "nothing fits any more") if new is False else Change("widens", now, "opened")
                )
            return
        yield from self._values(old, new, now)
        yield from self._fields(old, new, was, now)
        for keyword in sorted(SUBSCHEMAS & (old.keys() | new.keys())):
            yield from self._subschema(keyword, old.get(keyword, True), new.get(keyword, True), was, now)
        for keyword in ("oneOf", "anyOf", "allOf"):
            yield from self._branches(keyword, old.get(keyword, []), new.get(keyword, []), was, now)

    def _values(self, old: Schema, new: Schema, now: Place) -> Iterator[Change]:
        yield from set_changes(types(old), types(new), now / "type", "type")
        if old.get("enum", old.get("const")) is not None or new.get("enum", new.get("const")) is not None:
            keyword = "const" if "const" in new else "enum"
            yield from set_changes(allowed(old), allowed(new), now / keyword, "value")
        for keyword in sorted((old.keys() | new.keys()) - COMPARED - SUBSCHEMAS - ANNOTATIONS - IDENTITY):
            yield from keyword_changes(keyword, old.get(keyword), new.get(keyword), now / keyword)

    def _fields(self, old: Schema, new: Schema, was: Place, now: Place) -> Iterator[Change]:
        for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
            yield Change("narrows", now / "required", f"`{name}` is newly required")
        for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
            yield Change("widens", now / "required", f"`{name}` is no longer required")
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted(before.keys() - after.keys()):
            yield Change("narrows", now / "properties" / name, f"property `{name}` was removed or renamed")
        for name in sorted(after.keys() - before.keys()):
            yield Change("adds", now / "properties" / name, f"property `{name}` was added")
        for name in sorted(before.keys() & after.keys()):
            yield from self._walk(before[name], after[name], was / "properties" / name, now / "properties" / name)

    def _subschema(self, keyword: str, old: Any, new: Any, was: Place, now: Place) -> Iterator[Change]:
        place = now / keyword
        if new is False and old is not False:
            yield Change("narrows", place, f"`{keyword}: false` was added")
        elif old is False and new is not False:
            yield Change("widens", place, f"`{keyword}: false` was taken away")
        else:
            yield from self._walk(old, new, was / keyword, place)

    def _branches(self, keyword: str, old: list[Any], new: list[Any], was: Place, now: Place) -> Iterator[Change]:
        place = now / keyword
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from self._walk(before, after, was / keyword / index, place / index)
        if len(old) == len(new):
            return
        first = not old or not new
        grew = len(new) > len(old)
        narrows = grew if first or keyword == "allOf" else not grew
        yield Change("narrows" if narrows else "widens", place, f"a branch was {'added' if grew else 'removed'}")


def resolve(tree: Tree, schema: Any, place: Place) -> tuple[Any, Place]:
    """Follow `$ref` to the schema meant and to where it is written. `true` is the schema without rules."""
    while isinstance(schema, dict) and "$ref" in schema:
        file, _, fragment = schema["$ref"].partition("#")
        target = place.file
        if file:
            parts: list[str] = []
            for part in (PurePosixPath(place.file).parent / file).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            target = "/".join(parts)
        place = Place(target, fragment)
        schema = tree[target]
        for token in fragment.split("/")[1:]:
            schema = schema[token.replace("~1", "/").replace("~0", "~")]
    return ({} if schema is True else schema), place


def types(schema: Schema) -> frozenset[str]:
    """JSON types the schema lets through; every number is meant by `number`, integers among them."""
    named = schema.get("type")
    if named is None:
        return JSON_TYPES
    listed = frozenset([named] if isinstance(named, str) else named)
    return listed | {"integer"} if "number" in listed else listed


def allowed(schema: Schema) -> frozenset[str] | None:
    """The listed values, as JSON texts; None if any value may stand there."""
    if "const" in schema:
        return frozenset({json.dumps(schema["const"], sort_keys=True)})
    return frozenset(json.dumps(value, sort_keys=True) for value in schema["enum"]) if "enum" in schema else None


def set_changes(old: frozenset[str] | None, new: frozenset[str] | None, place: Place, noun: str) -> Iterator[Change]:
    if old == new:
        return
    if old is None:
        yield Change("narrows", place, f"the {noun}s are limited now")
        return
    if new is None:
        yield Change("widens", place, f"the {noun}s are no longer limited")
        return
    if gone := sorted(old - new):
        yield Change("narrows", place, f"{noun} {', '.join(gone)} was removed")
    if come := sorted(new - old):
        yield Change("widens", place, f"{noun} {', '.join(come)} was added")


def keyword_changes(keyword: str, old: Any, new: Any, place: Place) -> Iterator[Change]:
    """Bounds have a direction; of any other keyword only "came" and "went" can be told, and a change counts as both."""
    if old == new:
        return
    if isinstance(old, int | float) and isinstance(new, int | float) and keyword in LOWER_BOUNDS | UPPER_BOUNDS:
        narrows = new > old if keyword in LOWER_BOUNDS else new < old
        yield Change("narrows" if narrows else "widens", place, f"`{keyword}` went from {old} to {new}")
    elif keyword == "uniqueItems":
        yield Change("narrows" if new else "widens", place, f"`uniqueItems` went from {old} to {new}")
    elif old is None:
        yield Change("narrows", place, f"`{keyword}` was added")
    elif new is None:
        yield Change("widens", place, f"`{keyword}` was removed")
    else:
        yield Change("narrows", place, f"`{keyword}` changed")


def version(document: Schema) -> tuple[int, int] | None:
    """Major and minor version in `$id`; None where it holds no minor version."""
    found = re.search(r"\.v(\d+)\.(\d+)\.json$", document.get("$id", ""))
    return (int(found[1]), int(found[2])) if found else None


def next_major(file: str) -> str:
    found = re.search(r"\.v(\d+)\.json$", file)
    return NEXT_MAJOR.format(major=int(found[1]) + 1 if found else 2)


def compare(before: Tree, after: Tree) -> list[Finding]:
    """Every promise of `before` that `after` breaks, each once, in the order of the files."""
    findings: dict[Finding, None] = {}
    for file in sorted(file for file, document in before.items() if "properties" in document):
        if file not in after:
            remedy = "keep it for as long as its events may be read; a new major stands beside it"
            findings[Finding(Place(file), "the schema was removed", remedy)] = None
            continue
        for finding in judge(file, before, after):
            findings[finding] = None
    return list(findings)


def judge(file: str, before: Tree, after: Tree) -> Iterator[Finding]:
    old, new = before[file], after[file]
    changes = Comparison(before, after).changes(file)
    read_by_others = not file.startswith("manifests/")
    for change in changes:
        if change.effect == "narrows" or (change.effect == "widens" and read_by_others):
            older = "; readers of the older minor version refuse it" if change.effect == "widens" else ""
            yield Finding(change.place, change.what + older, next_major(file))
    if old.get("x-publisher") != new.get("x-publisher"):
        what = f"the publisher changed from {old.get('x-publisher')} to {new.get('x-publisher')}"
        yield Finding(Place(file, "/x-publisher"), what, next_major(file))
    yield from judge_version(file, old, new, grown=any(change.effect == "adds" for change in changes))


def judge_version(file: str, old: Schema, new: Schema, grown: bool) -> Iterator[Finding]:
    place = Place(file, "/$id")
    was, now = version(old), version(new)
    if was is None:
        if old.get("$id") != new.get("$id"):
            yield Finding(place, "the `$id` changed", "others refer to it: leave it as it was")
    elif now is None or now[0] != was[0]:
        yield Finding(place, f"the major version of `$id` is not {was[0]}", next_major(file))
    elif now < was:
        yield Finding(place, f"the minor version fell from {was[1]} to {now[1]}", f"make it {was[0]}.{was[1]} or more")
    elif grown and now == was:
        remedy = f"make it {was[0]}.{was[1] + 1}, and run `make schemas`"
        yield Finding(place, "an optional field was added, but the minor version stayed", remedy)


def is_schema(path: PurePosixPath) -> bool:
    return path.suffix == ".json" and path.parts[0] not in IGNORED_FOLDERS and path.name not in GENERATED


def working_tree(root: Path) -> Tree:
    folder = root / SCHEMAS
    files = {PurePosixPath(path.relative_to(folder).as_posix()): path for path in sorted(folder.rglob("*.json"))}
    return {str(name): json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if is_schema(name)}


def committed(root: Path, revision: str) -> Tree | None:
    """The schemas of a revision; None if it has none, or if nothing was committed yet.

    Raises LookupError for a revision that does not exist, so that a misspelt one is no free pass.
    """

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)

    if git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").returncode:
        if revision == "HEAD" and git("rev-parse", "--git-dir").returncode == 0:
            return None
        raise LookupError(f"git knows no revision {revision!r} in {root}")
    listed = git("ls-tree", "-r", "--name-only", "--full-tree", revision, f"{SCHEMAS}/").stdout.splitlines()
    names = [name.removeprefix(f"{SCHEMAS}/") for name in listed]
    tree = {
        name: json.loads(git("show", f"{revision}:{SCHEMAS}/{name}").stdout)
        for name in names
        if is_schema(PurePosixPath(name))
    }
    return tree or None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REV", default="HEAD", help="the commit to keep promises of (HEAD)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        before = committed(options.root, options.against)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    if before is None:
        print(f"no schemas were committed at {options.against} yet: there is no promise to break")
        return 0
    findings = compare(before, working_tree(options.root))
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print(f"{len(before)} schemas keep what they promised at {options.against}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

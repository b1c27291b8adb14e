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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from entresol_manifests.compatibility import Comparison, Place, Schema, Tree

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = "schemas"
IGNORED_FOLDERS = {"examples"}
GENERATED = {"asyncapi.json"}

NEXT_MAJOR = "leave the schema as it was and put the change into a .v{major} beside it"


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise, and how to keep it."""

    place: Place
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{SCHEMAS}/{self.place}: {self.message}; {self.remedy}"


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

"""What a step wants of a branch, and commits that bring it about without a working tree: nothing is followed or run."""

import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dulwich.object_store import commit_tree_changes, iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID, Tree

from entresol_provisioning import drivers
from entresol_provisioning.drivers import Plan, StepFailed, Touched, fields, paths
from entresol_provisioning.drivers.git.objects import Objects, fold

Entry = tuple[int, ObjectID]
"""Mode, and name of the content."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a step wants of a branch: contents by path, and paths that must not be there."""

    write: Mapping[str, bytes]
    remove: frozenset[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What would have to change in a tree."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    before: Mapping[str, str] = field(default_factory=dict)
    """Names of the blobs that are there, of what is changed or removed."""
    executable: frozenset[str] = frozenset()
    """Of what is changed; that stays so, since no step says anything of it."""

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class InTheWay(StepFailed):
    """Something that no step has made is where a file should be."""


def compare(objects: Objects, head: ObjectID | None, change: Change) -> Difference:
    """Raise InTheWay where a link, a submodule, a directory, or a name that some take for the same, is in the way."""
    found = {path: _entry(objects, head, path, change.remove) for path in sorted({*change.write, *change.remove})}
    wanted = {path: Blob.from_string(content).id for path, content in change.write.items()}
    there = {path: one for path, one in found.items() if one is not None and one[1] != wanted.get(path)}
    added = tuple(path for path in found if path in wanted and found[path] is None)
    _check_names(objects, head, added, change.remove)
    return Difference(
        added=added,
        changed=tuple(path for path in there if path in wanted),
        removed=tuple(path for path in there if path not in wanted),
        before={path: name.decode() for path, (_, name) in there.items()},
        executable=frozenset(path for path, (mode, _) in there.items() if mode & 0o111),
    )


def blob(objects: Objects, head: ObjectID | None, path: str) -> ObjectID | None:
    """The content of the file at the path; None if there is no file."""
    try:
        found = _entry(objects, head, path)
    except InTheWay:
        return None
    return None if found is None else found[1]


def is_there(objects: Objects, head: ObjectID | None, change: Change) -> bool:
    """Whether all of it is as wanted; what is in the way is not."""
    try:
        return not compare(objects, head, change)
    except InTheWay:
        return False


def look(objects: Objects, head: ObjectID | None, change: Change) -> tuple[bool, tuple[drivers.Difference, ...]]:
    """Whether any of the files is there, and what somebody else seems to have done to them."""
    exists = False
    differences: list[drivers.Difference] = []
    for path in sorted({*change.write, *change.remove}):
        wanted = change.write.get(path)
        try:
            found = _entry(objects, head, path)
        except InTheWay:
            exists = True
            differences.append(drivers.Difference(path, "changed"))
            continue
        if found is None:
            if wanted is not None:
                differences.append(drivers.Difference(path, "removed"))
            continue
        exists = True
        if wanted is None:
            differences.append(drivers.Difference(path, "added"))
        elif found[1] != Blob.from_string(wanted).id:
            differences += fields.within_file(path, objects.raw(found[1]), wanted)
    return exists, tuple(differences)


def everything(change: Change) -> Difference:
    """The difference to a repository that is not there yet."""
    return Difference(tuple(sorted(change.write)), (), ())


def commit(
    objects: Objects,
    parents: Sequence[ObjectID],
    start: ObjectID | None,
    change: Change,
    difference: Difference,
    message: str,
    committer: str,
) -> ObjectID:
    """Add the commit and everything in it: the tree of the start with the difference. Not saved yet."""
    entries: dict[str, Entry | None] = dict.fromkeys(difference.removed)
    for path in (*difference.added, *difference.changed):
        mode = 0o755 if path in difference.executable else 0o644
        entries[path] = (stat.S_IFREG | mode, add(objects, change.write[path]))
    return record(objects, parents, grow(objects, start, entries), message, committer)


def add(objects: Objects, content: bytes) -> ObjectID:
    """Add a file's content; return its name."""
    blob = Blob.from_string(content)
    objects.add_object(blob)
    return blob.id


def grow(objects: Objects, start: ObjectID | None, entries: Mapping[str, Entry | None]) -> ObjectID:
    """Add the tree of the start, a commit, with these entries and without those that are None."""
    root: Any = Tree() if start is None else objects.commit(start).tree
    coming = {path: entry for path, entry in entries.items() if entry is not None}
    going = dict.fromkeys(path for path in entries if path not in coming)
    becomes_a_file = any(folder in coming for path in going for folder in paths.folders(path))
    for some in (going, coming) if becomes_a_file else (entries,):
        changes = [(path.encode(errors="surrogateescape"), *(entry or (None, None))) for path, entry in some.items()]
        root = commit_tree_changes(objects, root, changes)  # type: ignore[arg-type]
    return ObjectID(root)


def record(objects: Objects, parents: Sequence[ObjectID], tree: ObjectID, message: str, committer: str) -> ObjectID:
    """Add a commit of the tree."""
    new = Commit()
    new.tree = tree
    new.parents = list(parents)
    new.author = new.committer = committer.encode()
    new.author_time = new.commit_time = int(time.time())
    new.author_timezone = new.commit_timezone = 0
    new.encoding = b"UTF-8"
    new.message = message.encode()
    objects.add_object(new)
    return new.id


def entries(objects: Objects, commit: ObjectID | None) -> dict[str, Entry]:
    """Every file, link and submodule of the commit."""
    if commit is None:
        return {}
    return _beneath(objects, objects.commit(commit).tree)


def plan(digest: str, added: Sequence[str], changed: Sequence[str], removed: Sequence[str]) -> Plan:
    """The plan to do that to these files."""
    marked: list[tuple[str, Literal["add", "change", "destroy"], str]] = [
        *(("+", "add", one) for one in added),
        *(("~", "change", one) for one in changed),
        *(("-", "destroy", one) for one in removed),
    ]
    return Plan(
        digest=digest,
        adds=len(added),
        changes=len(changed),
        destroys=len(removed),
        summary=tuple(f"{mark} {path}" for mark, _, path in marked),
        resources=tuple(Touched(path, change) for _, change, path in marked),
    )


def _beneath(objects: Objects, tree: ObjectID) -> dict[str, Entry]:
    found = iter_tree_contents(objects, tree)  # type: ignore[arg-type]
    return {
        (one.path or b"").decode(errors="surrogateescape"): (one.mode or 0, ObjectID(one.sha or b"")) for one in found
    }


def _entry(objects: Objects, head: ObjectID | None, path: str, going: frozenset[str] = frozenset()) -> Entry | None:
    """The file at the path; None if nothing is there, or only what goes."""
    if head is None:
        return None
    *folders, name = path.encode().split(b"/")
    tree = objects.tree(objects.commit(head).tree)
    for number, folder in enumerate(folders):
        if folder not in tree:
            return None
        mode, sha = tree[folder]
        if stat.S_ISREG(mode) and b"/".join(folders[: number + 1]).decode() in going:
            return None
        if not stat.S_ISDIR(mode):
            raise InTheWay(f"{path}: something in the repository that is no directory is in the way")
        tree = objects.tree(sha)
    if name not in tree:
        return None
    mode, sha = tree[name]
    if stat.S_ISDIR(mode) and {f"{path}/{one}" for one in _beneath(objects, sha)} <= going:
        return None
    if not stat.S_ISREG(mode):
        raise InTheWay(f"{path}: a link, a submodule or a directory is in the way")
    return mode, sha


def _check_names(objects: Objects, head: ObjectID | None, added: Iterable[str], going: frozenset[str]) -> None:
    """Raise InTheWay where two names differ only by capitals or by how accents are written: some disks have but one."""
    alike: dict[str, str] = {}
    root = None if head is None else objects.commit(head).tree
    for path in added:
        tree, place = root, ""
        for part in path.split("/"):
            other = part if tree is None else objects.alike(tree, part)
            there, place = (f"{place}/{one}" if place else one for one in (other, part))
            if other == part or any(f"{one}/".startswith(f"{there}/") for one in going):
                there = alike.setdefault(fold(place), place)
            if there != place:
                raise InTheWay(f"{place}: {there} is there, and on some machines that is the same; choose another name")
            tree = None if tree is None else objects.folder(tree, part)

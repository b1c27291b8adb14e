"""Commits in a bare repository, without a working tree: nothing is ever followed or run.

The branch moves by compare-and-set, so two writers never lose each other's commit; whoever comes second starts from
the other's. A crash leaves nothing that stops the next attempt: dulwich's own locks would stay for good.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dulwich.object_store import PackBasedObjectStore, commit_tree_changes
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from entresol_provisioning.drivers import StepFailed

LOOKED_BACK = 5000
"""Commits that are searched for a step's trailer."""

_ONE_AT_A_TIME = threading.Lock()
"""Whoever puts a file of a repository into place; so what looks like a lock of ours is one that a crash has left."""


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

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def compare(repo: Repo, head: ObjectID | None, change: Change) -> Difference:
    """Raise StepFailed where a link, a submodule or a directory is in the way."""
    found = {path: _entry(repo, head, path) for path in sorted({*change.write, *change.remove})}
    wanted = {path: Blob.from_string(content).id for path, content in change.write.items()}
    there = {path: blob.decode() for path, blob in found.items() if blob is not None and blob != wanted.get(path)}
    return Difference(
        added=tuple(path for path in found if path in wanted and found[path] is None),
        changed=tuple(path for path in there if path in wanted),
        removed=tuple(path for path in there if path not in wanted),
        before=there,
    )


def everything(change: Change) -> Difference:
    """The difference to a repository that is not there yet."""
    return Difference(tuple(sorted(change.write)), (), ())


def commit(
    repo: Repo, head: ObjectID | None, change: Change, difference: Difference, message: str, committer: str
) -> ObjectID:
    """Store the commit and everything in it, on disk when it returns; no branch points to it yet."""
    objects = _Objects(repo)
    root = Tree() if head is None else _commit(repo, head).tree
    changes: list[tuple[bytes, int | None, ObjectID | None]] = []
    for path in (*difference.added, *difference.changed):
        blob = Blob.from_string(change.write[path])
        objects.add_object(blob)
        changes.append((path.encode(), stat.S_IFREG | 0o644, blob.id))
    changes += [(path.encode(), None, None) for path in difference.removed]
    new = Commit()
    new.tree = commit_tree_changes(objects, root, changes)  # type: ignore[arg-type]
    new.parents = [] if head is None else [head]
    new.author = new.committer = committer.encode()
    new.author_time = new.commit_time = int(time.time())
    new.author_timezone = new.commit_timezone = 0
    new.encoding = b"UTF-8"
    new.message = message.encode()
    objects.add_object(new)
    return new.id


class _Objects:
    """The repository's objects, written as git does it: under a name of their own, and then put into place.

    dulwich writes them under a lock, which a crash leaves behind for good, and does not sync them by itself; a commit
    that was recorded as done has to survive a power cut.
    """

    def __init__(self, repo: Repo) -> None:
        self._store: PackBasedObjectStore = repo.object_store
        self._place = Path(repo.controldir()) / "objects"

    def __getitem__(self, name: ObjectID) -> ShaFile:
        return self._store[name]

    def add_object(self, one: ShaFile) -> None:
        name = one.id.decode()
        target = self._place / name[:2] / name[2:]
        try:
            os.utime(target)  # keeps a collector of garbage away from what nothing points to yet
            return
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
        number, unfinished = tempfile.mkstemp(prefix="tmp_obj_", dir=self._place)  # git's gc removes old ones
        with os.fdopen(number, "wb") as file:
            file.write(one.as_legacy_object())
            os.fchmod(number, 0o444)
            _sync(file)
        os.replace(unfinished, target)


def move(repo: Repo, ref: bytes, old: ObjectID | None, new: ObjectID) -> bool:
    """Let the branch point to the new commit if it still points to the old one; return whether it did.

    Takes the lock that git takes, as a second name of a file of ours: so a lock that a crash has left is told from
    one that somebody else holds.
    """
    with contextlib.suppress(KeyError):
        ref = repo.refs.follow(Ref(ref))[0][-1]
    place = Path(repo.controldir())
    branch = place / os.fsdecode(ref)
    lock = branch.with_name(f"{branch.name}.lock")
    ours = place / f"entresol-{hashlib.sha256(ref).hexdigest()[:16]}"
    branch.parent.mkdir(parents=True, exist_ok=True)
    with _ONE_AT_A_TIME:
        if ours.exists() and lock.exists() and ours.samefile(lock):
            lock.unlink()
        ours.unlink(missing_ok=True)
        with ours.open("xb") as file:
            file.write(new + b"\n")
            _sync(file)
        try:
            os.link(ours, lock)
        except FileExistsError:
            ours.unlink()
            return False
        unchanged = head_of(repo, ref) == old
        if unchanged:
            os.replace(lock, branch)
        else:
            lock.unlink()
        ours.unlink()
    return unchanged


def head_of(repo: Repo, ref: bytes) -> ObjectID | None:
    """Where the branch points to; None if it has no commit yet."""
    try:
        return repo.refs[Ref(ref)]
    except KeyError:
        return None


def find_trailer(repo: Repo, head: ObjectID | None, trailer: str) -> ObjectID | None:
    """The newest of the last commits whose message has the trailer."""
    if head is None:
        return None
    wanted = trailer.encode()
    for entry in repo.get_walker(include=[head], max_entries=LOOKED_BACK):
        if wanted in entry.commit.message.splitlines():
            return entry.commit.id
    return None


def _commit(repo: Repo, name: ObjectID) -> Commit:
    found = repo[name]
    if not isinstance(found, Commit):
        raise StepFailed("the branch does not point to a commit")
    return found


def _entry(repo: Repo, head: ObjectID | None, path: str) -> ObjectID | None:
    """The blob at the path; None if nothing is there."""
    if head is None:
        return None
    *folders, name = path.encode().split(b"/")
    tree: Any = repo[_commit(repo, head).tree]
    for folder in folders:
        if folder not in tree:
            return None
        mode, sha = tree[folder]
        if not stat.S_ISDIR(mode):
            raise StepFailed(f"{path}: something in the repository that is no directory is in the way")
        tree = repo[sha]
    if name not in tree:
        return None
    mode, sha = tree[name]
    if not stat.S_ISREG(mode):
        raise StepFailed(f"{path}: a link, a submodule or a directory is in the way")
    found: ObjectID = sha
    return found


def create(place: Path, ref: bytes) -> None:
    """Make an empty bare repository whose first branch is the ref; do nothing if it is there."""
    if (place / "HEAD").exists():
        return
    unfinished = place.with_name(f".{place.name}.unfinished")
    with _ONE_AT_A_TIME:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        Repo.init_bare(str(unfinished), default_branch=ref.removeprefix(b"refs/heads/")).close()
        os.replace(unfinished, place)


def listed(paths: Iterable[str], mark: str) -> Iterator[str]:
    return (f"{mark} {path}" for path in paths)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())

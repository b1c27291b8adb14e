"""The objects of a repository: those that it has, and those that a round of steps adds, durable once they are saved.

They are written as git does it: under a name of their own, and then put into place. dulwich writes them under a lock,
which a crash leaves behind for good, and does not sync them by itself; a commit that was recorded as done has to
survive a power cut.
"""

import hashlib
import os
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from dulwich.errors import NotGitRepository
from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.object_store import PackBasedObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile, Tree
from dulwich.pack import write_pack_index, write_pack_objects
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion

from entresol_provisioning.drivers import StepFailed, paths

T = TypeVar("T")

TOGETHER = 16
"""Files that are synced at the same time: the disk then takes many of them in one go."""


class Damaged(StepFailed):
    """A repository can't be read: what it should hold is not there, or is not what it should be."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the repository is damaged: {what}; git fsck tells more", retryable=True)


def opened(place: Path) -> Repo:
    """The repository that lies there, of which nothing leads elsewhere."""
    for one in ("objects", "refs/heads"):
        paths.unlinked(place, one)
    try:
        return Repo(str(place))
    except (NotGitRepository, UnsupportedExtension, UnsupportedVersion, ValueError) as error:
        raise Damaged("it is none that can be read") from error


class Objects:
    """What a repository holds, and what was added to it and is not saved yet. Used by one thread at a time."""

    def __init__(self, repo: Repo) -> None:
        self._store: PackBasedObjectStore = repo.object_store
        self._place = Path(repo.controldir()) / "objects"
        self._added: dict[ObjectID, ShaFile] = {}
        self._trees: dict[ObjectID, Tree] = {}
        self._names: dict[ObjectID, dict[str, str]] = {}

    def __getitem__(self, name: ObjectID) -> ShaFile:
        """One that belongs to the caller, who may change it."""
        added = self._added.get(name)
        return self._stored(name, self._store.__getitem__) if added is None else added.copy()

    def raw(self, name: ObjectID) -> bytes:
        added = self._added.get(name)
        return self._stored(name, self._store.get_raw)[1] if added is None else added.as_raw_string()

    @staticmethod
    def _stored(name: ObjectID, read: Callable[[ObjectID], T]) -> T:
        try:
            return read(name)
        except Exception as error:  # there is no end to what dulwich raises for bytes that it did not expect
            raise Damaged(f"{name.decode(errors='replace')[:40]!r} is not there, or can't be read") from error

    def commit(self, name: ObjectID) -> Commit:
        found = self[name]
        if not isinstance(found, Commit):
            raise StepFailed("the branch does not point to a commit")
        self._stored(name, lambda _: found.tree)  # it is only parsed now
        return found

    def tree(self, name: ObjectID) -> Tree:
        """Only for reading: it is shared."""
        if name not in self._trees:
            found = self[name]
            if not isinstance(found, Tree):
                raise Damaged("something that should be a directory is none")
            self._stored(name, lambda _: len(found))
            self._trees[name] = found
        return self._trees[name]

    def folder(self, name: ObjectID, inside: str) -> ObjectID | None:
        """The tree of that name in a tree."""
        tree, key = self.tree(name), inside.encode()
        return tree[key][1] if key in tree and stat.S_ISDIR(tree[key][0]) else None

    def alike(self, name: ObjectID, inside: str) -> str:
        """What is in a tree under that name, or under one that is the same where capitals don't count; or the name."""
        if inside.encode() in self.tree(name):
            return inside
        if name not in self._names:
            listed = (one.decode(errors="surrogateescape") for one in self.tree(name))
            self._names[name] = {fold(one): one for one in listed}
        return self._names[name].get(fold(inside), inside)

    def add_object(self, one: ShaFile) -> None:
        self._added[one.id] = one.copy()

    def save(self) -> None:
        """Put everything that was added on disk."""
        written: list[tuple[str, Path]] = []
        for name, one in self._added.items():
            target = self._place / name[:2].decode() / name[2:].decode()
            try:
                os.utime(target)  # keeps a collector of garbage away from what nothing points to yet
            except FileNotFoundError:
                target.parent.mkdir(exist_ok=True)
                if target.parent.is_symlink():
                    raise StepFailed("the repository holds a symbolic link, which is not followed") from None
                written.append((self._write(one), target))
        _each(_sync, [unfinished for unfinished, _ in written])
        for unfinished, target in written:
            os.replace(unfinished, target)
        _each(_sync, {str(target.parent) for _, target in written})
        self._added.clear()

    def pack(self) -> list[Path]:
        """Write everything that was added into one pack; gives its files. That is quick, and need not last."""
        if not self._added:
            return []
        place = self._place / "pack"
        number, unfinished = tempfile.mkstemp(prefix="tmp_pack_", dir=place)  # git's gc removes old ones
        os.close(number)
        os.unlink(unfinished)
        added = list(self._added.values())
        with open(f"{unfinished}.pack", "wb") as pack:
            entries, checksum = write_pack_objects(pack, added, deltify=False, object_format=DEFAULT_OBJECT_FORMAT)
        with open(f"{unfinished}.idx", "wb") as index:
            write_pack_index(index, sorted((one, *place) for one, place in entries.items()), checksum)
        name = hashlib.sha1(b"".join(sorted(self._added)), usedforsecurity=False).hexdigest()
        files = [place / f"pack-{name}{ending}" for ending in (".pack", ".idx")]
        for file in files:
            os.replace(f"{unfinished}{file.suffix}", file)
        self._added.clear()
        return files

    def _write(self, one: ShaFile) -> str:
        number, unfinished = tempfile.mkstemp(prefix="tmp_obj_", dir=self._place)  # git's gc removes old ones
        with os.fdopen(number, "wb") as file:
            file.write(one.as_legacy_object())
            os.fchmod(number, 0o444)
        return unfinished


def fold(name: str) -> str:
    """What is the same of names that are one on disks where neither capitals nor the spelling of accents counts."""
    return unicodedata.normalize("NFC", name).casefold()


def _each(act: Callable[[str], None], paths: Iterable[str]) -> None:
    waiting = list(paths)
    if len(waiting) <= TOGETHER:
        for one in waiting:
            act(one)
        return
    with ThreadPoolExecutor(TOGETHER) as threads:
        list(threads.map(act, waiting))


def _sync(path: str) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""The branches of a bare repository that lies here, moved by compare-and-set.

So two writers never lose each other's commit; whoever comes second starts from the other's. A crash leaves nothing
that stops the next attempt: dulwich's own locks would stay for good.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dulwich.objects import ObjectID
from dulwich.refs import Ref, SymrefLoop
from dulwich.repo import Repo

from entresol_provisioning.drivers import StepFailed, paths
from entresol_provisioning.drivers.git.objects import Damaged

_HEADS = "refs/heads/"
_ONE_AT_A_TIME = threading.Lock()
"""Whoever puts a file of a repository into place; so what looks like a lock of ours is one that a crash has left."""


def head_of(repo: Repo, branch: str) -> ObjectID | None:
    """Where the branch points to; None if it has no commit yet."""
    try:
        return repo.refs[Ref(_HEADS.encode() + branch.encode())]
    except KeyError:
        return None
    except SymrefLoop:
        raise Damaged(f"the branch {branch} stands for itself") from None


def is_empty(place: Path) -> bool:
    with Repo(str(place)) as repo:
        return not any(name.startswith(b"refs/") for name in repo.get_refs())


def move(repo: Repo, branch: str, old: ObjectID | None, new: ObjectID | None) -> bool:
    """Let the branch point to the new commit if it still points to the old one; return whether it did.

    Without a new commit the branch goes.
    """
    ref = _HEADS + branch
    with contextlib.suppress(KeyError):
        ref = os.fsdecode(repo.refs.follow(Ref(ref.encode()))[0][-1])
    if not ref.startswith(_HEADS):
        raise StepFailed(f"the branch {branch} stands for something that is no branch")
    branch = paths.branch(ref.removeprefix(_HEADS))
    place = Path(repo.controldir())
    file = paths.unlinked(place, ref)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            _remove_empty(file)
    except OSError:
        raise StepFailed(f"another branch is in the way of the branch {branch}") from None
    with _ONE_AT_A_TIME, _locked(place, file) as lock:
        if lock is None or head_of(repo, branch) != old:
            return False
        if new is not None:
            _fill(lock, new + b"\n")
            os.replace(lock, file)
        else:
            if not _forget_packed(place, ref.encode()):
                return False
            file.unlink(missing_ok=True)
    return True


def create(place: Path, branch: str) -> None:
    """Make an empty bare repository whose first branch it is; do nothing if the repository is there.

    It is there as a whole or not at all, however many make it at once.
    """
    if (place / "HEAD").exists():
        return
    unfinished = place.with_name(f".{place.name}.unfinished")
    with _ONE_AT_A_TIME:
        if (place / "HEAD").exists():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        Repo.init_bare(str(unfinished), default_branch=branch.encode()).close()
        try:
            os.replace(unfinished, place)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            reason = "something that is no repository is where it should be made"
            raise StepFailed(f"{place.name}: {reason}") from None


def _remove_empty(folder: Path) -> None:
    """Raise OSError if any file is in it."""
    for one in folder.iterdir():
        _remove_empty(one)
    folder.rmdir()


@contextmanager
def _locked(place: Path, file: Path) -> Iterator[Path | None]:
    """Git's lock of a file, which may become the file; None if somebody else holds it.

    It is taken as a second name of a file of ours, so a lock that a crash has left is told from one of somebody else.
    """
    lock = file.with_name(f"{file.name}.lock")
    ours = place / f"entresol-{hashlib.sha256(os.fsencode(file.relative_to(place))).hexdigest()[:16]}"
    if ours.exists() and lock.exists() and ours.samefile(lock):
        lock.unlink()
    ours.unlink(missing_ok=True)
    ours.open("xb").close()
    try:
        os.link(ours, lock)
    except FileExistsError:
        ours.unlink()
        yield None
        return
    try:
        yield lock
    finally:
        lock.unlink(missing_ok=True)
        ours.unlink()


def _forget_packed(place: Path, ref: bytes) -> bool:
    """Whether the branch is not among the packed ones, or not any more."""
    packed = place / "packed-refs"
    try:
        lines = packed.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return True
    kept = [line for line in lines if line.split()[1:2] != [ref]]
    if kept == lines:
        return True
    with _locked(place, packed) as lock:
        if lock is None:
            return False
        _fill(lock, b"".join(kept))
        os.replace(lock, packed)
    return True


def _fill(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())

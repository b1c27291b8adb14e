"""Templates of new repositories: where they lie, and a copy of one that can be handed to copier.

A template is a folder beneath the templates' root (its last commit, if it is a git repository), or a bare repository
beneath the repositories' root. Nothing is fetched, and nobody but the operator decides what lies there. Only plain
files are copied, and links that lead to one within the template.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo

from entresol_provisioning.drivers import StepFailed, paths

MOST_FILES = 5000
LARGEST_BYTES = 32 * 1024**2
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}){0,3}$"
"""What the schema of a `with` says of a template's name."""
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class File(NamedTuple):
    """What is at a path."""

    mode: int
    content: bytes

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class Template:
    """Where one lies."""

    name: str
    place: Path
    is_repository: bool
    ref: str | None

    def read(self) -> tuple[str, dict[str, File]]:
        """Its revision (a commit, or a digest of a plain folder), and everything in it."""
        if not self.is_repository:
            files = _bounded(self.name, _of_folder(self.place))
            code = hashlib.sha256()
            for path in sorted(files):
                code.update(f"{path}\0{files[path].mode:o}\0{len(files[path].content)}\0".encode())
                code.update(files[path].content)
            return f"sha256:{code.hexdigest()}", files
        with Repo(str(self.place)) as repo:
            commit = self._commit(repo)
            return commit.id.decode(), _bounded(self.name, _of_commit(repo, commit))

    def _commit(self, repo: Repo) -> Commit:
        names = [f"refs/tags/{self.ref}", f"refs/heads/{self.ref}"] if self.ref else ["HEAD"]
        found: ObjectID | None = None
        for name in names:
            if found is None and Ref(name.encode()) in repo.refs:
                found = repo.refs[Ref(name.encode())]
        if found is None and self.ref and _COMMIT.match(self.ref):
            found = ObjectID(self.ref.encode())
        try:
            one = None if found is None else repo[found]
            while isinstance(one, Tag):
                one = repo[one.object[1]]
        except KeyError:
            one = None
        if not isinstance(one, Commit):
            wanted = f"no tag, branch or commit {self.ref}" if self.ref else "no commit yet"
            raise StepFailed(f"the template {self.name} has {wanted}")
        return one


def find(templates: Path, repositories: Path, name: str, ref: str | None) -> Template:
    """Raise StepFailed if there is none, or if a name or a link would lead elsewhere."""
    parts = name.split("/")
    usual = all(_PART.match(part) and ".." not in part and not part.endswith(".git") for part in parts)
    if len(parts) > 4 or not usual:
        raise StepFailed(f"{name[:100]!r} is not a template's name; URLs can't be named here")
    if ref is not None:
        paths.branch(ref)
    place = templates
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise StepFailed(f"the template {name} is a symbolic link, or behind one, which is not followed")
    if place.is_dir():
        git = place / ".git"
        is_repository = git.is_dir() and not git.is_symlink()
        if ref is not None and not is_repository:
            raise StepFailed(f"the template {name} is a plain folder, which has no {ref[:100]}; leave out ref")
        return Template(name, place, is_repository, ref)
    try:
        place = paths.beneath(repositories, name)
    except StepFailed:
        place = repositories / "-"
    if not (place / "HEAD").is_file():
        raise StepFailed(f"there is no template {name}, neither in the templates' directory nor among the repositories")
    return Template(name, place, True, ref)


def write(name: str, files: Mapping[str, File], place: Path) -> None:
    """Put the files there; raise StepFailed for a link that leads out of the template, or to anything but a file."""
    links = []
    for path, file in files.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_link:
            links.append(target)
            continue
        target.write_bytes(file.content)
        target.chmod(0o700 if file.mode & 0o111 else 0o600)
    for link in links:
        # All of them are there before the first is followed, and none before all files are written.
        os.symlink(files[str(link.relative_to(place))].content, link)
    root = place.resolve()
    for link in links:
        led = Path(os.path.realpath(link))
        if not led.is_relative_to(root) or not led.is_file():
            raise StepFailed(
                f"the template {name}: the link {link.relative_to(place)} leads to no file of the template"
            )


def _bounded(name: str, found: Iterator[tuple[str, File]]) -> dict[str, File]:
    files: dict[str, File] = {}
    size = 0
    for path, file in found:
        # Before it is rendered a path may hold what the rendered one must not.
        if any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/")) or len(path) > 2048:
            raise StepFailed(f"the template {name} holds {path[:100]!r}, which no repository may have")
        files[path] = file
        size += len(file.content)
        if len(files) > MOST_FILES or size > LARGEST_BYTES:
            raise StepFailed(f"the template {name} exceeds {MOST_FILES} files or {LARGEST_BYTES // 1024**2} MiB")
    return files


def _of_commit(repo: Repo, commit: Commit) -> Iterator[tuple[str, File]]:
    for entry in iter_tree_contents(repo.object_store, commit.tree):
        assert entry.path is not None
        assert entry.mode is not None
        assert entry.sha is not None
        path = os.fsdecode(entry.path)
        if stat.S_IFMT(entry.mode) not in (stat.S_IFREG, stat.S_IFLNK):
            raise StepFailed(f"the template's {path[:100]} is a submodule, which can't be copied")
        blob = repo[entry.sha]
        assert isinstance(blob, Blob)
        yield path, File(entry.mode, blob.as_raw_string())


def _of_folder(place: Path) -> Iterator[tuple[str, File]]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(place / folder) as found:
            for one in sorted(found, key=lambda one: one.name):
                path = f"{folder}{one.name}"
                if one.is_symlink():
                    yield path, File(stat.S_IFLNK, os.fsencode(os.readlink(one.path)))
                elif one.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                elif one.is_file(follow_symlinks=False):
                    if one.stat().st_size > LARGEST_BYTES:
                        raise StepFailed(f"the template's {path[:100]} exceeds {LARGEST_BYTES // 1024**2} MiB")
                    executable = one.stat().st_mode & 0o100
                    yield path, File(stat.S_IFREG | (0o755 if executable else 0o644), Path(one.path).read_bytes())
                else:
                    raise StepFailed(f"the template's {path[:100]} is no file, folder or link")

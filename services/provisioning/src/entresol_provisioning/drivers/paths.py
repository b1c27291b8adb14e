"""Names and paths that steps may write to. Everything that is not plainly harmless is refused."""

import hashlib
import re
from pathlib import Path

from entresol_manifests.paths import LONGEST, is_harmless

from entresol_provisioning.drivers import StepFailed

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_REPOSITORY = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?\Z")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}\Z")
BRANCH_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"
REPOSITORY_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,99}(/[a-z0-9][a-z0-9._-]{0,99}){0,2}$"
"""What the schema of a `with` says of them; it lets pass whatever is usable."""


def relative(path: str) -> str:
    """The path as it may be used beneath a root; raise StepFailed for anything that could lead out of it.

    `.git` in any spelling that some file system takes for it is refused too.
    """
    if not path or len(path) > LONGEST:
        raise StepFailed("a path is empty or too long")
    if not is_harmless(path):
        raise StepFailed(f"{path[:100]!r} is not a path that may be written to")
    return path


def beneath(root: Path, name: str) -> Path:
    """The bare repository of that name beneath the root; raise StepFailed if a link or a name would lead elsewhere.

    `carts` and `carts.git` are the same repository, kept in the directory `carts.git`.
    """
    parts = name.removesuffix(".git").split("/")
    if len(parts) > 3 or not all(_REPOSITORY.match(one) and ".." not in one for one in parts):
        raise StepFailed(f"{name[:100]!r} is not a repository name: lower-case letters, digits, dots and dashes")
    if parts[-1].endswith((".git", ".lock")):
        raise StepFailed(f"the repository name {name[:100]!r} must not end with .lock, or twice with .git")
    parts[-1] += ".git"
    return unlinked(root, "/".join(parts))


def unlinked(root: Path, relative: str) -> Path:
    """The path beneath the root; raise StepFailed if any part of it is a symbolic link, whatever it points to."""
    place = root
    for part in relative.split("/"):
        place = place / part
        if place.is_symlink():
            raise StepFailed(f"{relative[:100]}: a symbolic link is on the way, which is not followed")
    return place


def folders(path: str) -> list[str]:
    """Every folder that a path goes through."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def branch(name: str) -> str:
    """The branch if git would take it and it can't be taken for an option; raise StepFailed otherwise."""
    bad = ".." in name or "//" in name or "/." in name or name.endswith(("/", ".", ".lock")) or ".lock/" in name
    if bad or not _BRANCH.match(name):
        raise StepFailed(f"{name[:100]!r} is not a usable branch name")
    return name


def slug(text: str) -> str:
    """The text if it can be a directory's name as it is, else a digest of it."""
    return text if _SLUG.match(text) else hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def is_name(text: str) -> bool:
    """Whether a resource, a project or an environment may be called so."""
    return bool(_NAME.match(text))

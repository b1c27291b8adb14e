"""Terraform's working directories: one per resource and step, with its own state, used by one run at a time.

The lock is a file lock that the terraform process inherits: if this service is killed while terraform runs, the
next attempt waits for it instead of working on the same state.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.paths import relative, slug, unlinked

VARIABLES = "entresol.tfvars.json"
MARK = ".entresol.json"
STATE = "terraform.tfstate"
LONGEST_NAME = 200
_PART = r"\w[\w .,+@=~()-]*"
_ENDINGS = "tf|tofu|tftpl|tpl|tmpl|txt|md|yaml|yml|sh|pem|json"
FILE_NAME = rf"^(\.terraform\.lock\.hcl|({_PART}/)*{_PART}\.({_ENDINGS}))$"
"""Of what a module may have: nothing hidden, nothing that leads out of it."""
REFUSED_NAME = r"(?i)(\.(tf|tofu|tfvars)\.json)$|\.tfstate"
"""Of those, what terraform would read as more than text, or as its state."""
_LOCK_FILE = ".terraform.lock.hcl"
_PLUGINS = ".terraform"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory and the key by which its secrets are referred to."""

    name: str
    place: Path

    @property
    def state(self) -> Path:
        return self.place / STATE

    def refer(self, output: str) -> dict[str, str]:
        """What is told of a sensitive output."""
        return {"secretRef": f"terraform:{self.name}#{output}"}

    def write(self, files: Mapping[str, str], variables: Mapping[str, Any]) -> bool:
        """Put the module and its variables there; return whether the module differs from the initialised one.

        Files of an earlier module that are no longer in it are removed. No symbolic link is followed, by terraform
        neither: raises StepFailed if one is in the way.
        """
        for name in (STATE, f"{STATE}.backup", _LOCK_FILE):
            unlinked(self.place, name)
        wanted = _digest(files)
        mark = self._mark()
        for name in set(mark.get("files", [])) - files.keys():
            unlinked(self.place, relative(name)).unlink(missing_ok=True)
        if mark.get("digest") != wanted:
            self._save_mark({"files": sorted({*files, *mark.get("files", [])}), "digest": None})
            for name, text in files.items():
                unlinked(self.place, name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._put(name, text)
        # Values go into a file that terraform reads literally; a .tf.json would be evaluated.
        self._put(VARIABLES, json.dumps(dict(variables)))
        return mark.get("digest") != wanted

    def initialised(self, files: Mapping[str, str]) -> None:
        self._save_mark({"files": sorted(files), "digest": _digest(files)})

    def is_initialised(self, files: Mapping[str, str]) -> bool:
        return self._mark().get("digest") == _digest(files)

    def _mark(self) -> dict[str, Any]:
        try:
            found = json.loads((self.place / MARK).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _save_mark(self, mark: Mapping[str, Any]) -> None:
        self._put(MARK, json.dumps(mark))

    def _put(self, name: str, text: str) -> None:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise StepFailed(f"{name} holds characters that are no text") from None
        unlinked(self.place, name).write_bytes(content)


def of(root: Path, work: StepWork) -> Workspace:
    """The workspace of the step; names that are no plain slug are replaced by a digest of them."""
    parts = [slug(one) for one in (work.project, work.environment, work.offering, work.name, work.step)]
    return Workspace("/".join(parts), unlinked(root, "/".join(parts)))


def with_state(root: Path, work: StepWork, *, proves: bool = False) -> Workspace:
    """The workspace of a step of terraform.

    Raises StepFailed if its state was lost: terraform would take that for a state in which nothing is. `proves`:
    it is asked whether anything is left, so no state is the answer.
    """
    workspace = of(root, work)
    state = workspace.state
    # Terraform makes an empty one to lock it, which a crash of the very first apply leaves; a destroy removes it.
    was_done = work.previous is not None
    if state.exists():
        is_lost = not state.stat().st_size and (was_done or state.with_name(f"{STATE}.backup").exists())
    else:
        is_lost = was_done and not work.attempted and not proves
    if is_lost:
        raise StepFailed(
            f"the state of {workspace.name} is lost, so nobody knows what there is: put back its file {STATE}, or one "
            "that holds no resources if nothing is left"
        )
    return workspace


def scratch(root: Path, workspace: Workspace, key: str, files: Mapping[str, str]) -> Workspace:
    """A copy with the same state, for looking without touching. What was initialised for these files is shared."""
    name = hashlib.sha256(f"{workspace.name}\n{key}".encode(errors="replace")).hexdigest()[:32]
    copy = Workspace(workspace.name, root / ".scratch" / name)
    shutil.rmtree(copy.place, ignore_errors=True)
    copy.place.mkdir(parents=True, mode=0o700)
    for file in (STATE, _LOCK_FILE):
        if unlinked(workspace.place, file).exists():
            shutil.copy2(workspace.place / file, copy.place / file)
    if workspace.is_initialised(files):
        copy.write(files, {})
        copy.initialised(files)
        if unlinked(workspace.place, _PLUGINS).exists():
            (copy.place / _PLUGINS).symlink_to(workspace.place / _PLUGINS)
    return copy


def digest_key(root: Path) -> bytes:
    """A secret of this place, made when it is first needed, by which plans are digested: see `changes`."""
    place = root / ".digest-key"
    if not place.exists():
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, unfinished = tempfile.mkstemp(prefix=".unfinished", dir=root)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(number)
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, place)
        finally:
            os.unlink(unfinished)
    return place.read_bytes()


def remove(workspace: Workspace) -> None:
    shutil.rmtree(workspace.place, ignore_errors=True)


@asynccontextmanager
async def locked(root: Path, workspace: Workspace) -> AsyncIterator[int]:
    """Hold the workspace; gives the lock's file descriptor, for processes that work in it. Waits until it is free."""
    locks = root / ".locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = hashlib.sha256(workspace.name.encode()).hexdigest()[:32]
    lock = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.1)
        yield lock
    finally:
        # Not only closed: what a module has left running may have inherited it.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()

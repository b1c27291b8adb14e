"""Remote git repositories, spoken to through the git program: what it takes to reach each kind safely.

Nothing that a user wrote can become an option, a command or a prompt: URLs are checked, `--` stands before them,
and git runs without hooks, helpers and configuration of its machine. Pushes are never forced.
"""

import asyncio
import base64
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from entresol_manifests.secrets import SecretMissing, resolve

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.processes import Finished, run

_QUIET = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "credential.helper=",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.autoDetach=false",
)
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_~/][^\s:]*\Z")
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:\]-]*\Z")
_PASSED_ON = (
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
)


class PushRefused(Exception):
    """Somebody else's commit came first."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository elsewhere and how to reach it."""

    url: str
    secret_ref: str | None
    seconds: float

    async def head(self, mirror: Path, branch: str) -> str | None:
        """Fetch the branch into the mirror; return its commit, None if the remote has no such branch."""
        await self._prepare(mirror)
        ref = f"refs/heads/{branch}"
        listed = await self._git(mirror, "ls-remote", "--", self.url, ref)
        if not listed.out.strip():
            return None
        target = f"+{ref}:refs/fetched/{branch}"
        fetch = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.url, target)
        done = await self._run(mirror, *fetch)
        if done.code and ".lock'" in done.err:
            # Nobody else writes here, so a crash has left the lock; and a mirror holds nothing of its own.
            await asyncio.to_thread(shutil.rmtree, mirror)
            await self._prepare(mirror)
            done = await self._run(mirror, *fetch)
        if done.code:
            raise self._failure("fetch", done)
        return (await self._git(mirror, "rev-parse", "--verify", f"refs/fetched/{branch}")).out.strip()

    async def _prepare(self, mirror: Path) -> None:
        """Make the mirror if there is none: beside its place, and moved there when it is whole."""
        if (mirror / "HEAD").exists():
            return
        making = mirror.with_name(f"{mirror.name}.making")
        await asyncio.to_thread(_make_empty, making)
        await self._git(making, "init", "--quiet", "--bare", ".")
        await asyncio.to_thread(shutil.rmtree, mirror, ignore_errors=True)
        making.rename(mirror)

    async def push(self, mirror: Path, commit: str, branch: str) -> None:
        """Raise PushRefused if the branch has moved since it was fetched."""
        arguments = ("push", "--quiet", "--porcelain", "--no-verify", "--", self.url, f"{commit}:refs/heads/{branch}")
        done = await self._run(mirror, *arguments)
        if done.code == 0:
            return
        said = done.out + done.err
        if any(
            sign in said for sign in ("non-fast-forward", "fetch first", "stale info", "cannot lock ref", "[rejected]")
        ):
            raise PushRefused
        raise self._failure("push", done)

    async def _git(self, directory: Path, *arguments: str) -> Finished:
        done = await self._run(directory, *arguments)
        if done.code:
            raise self._failure(arguments[0], done)
        return done

    async def _run(self, directory: Path, *arguments: str) -> Finished:
        options = [part for one in _QUIET for part in ("-c", one)]
        try:
            async with asyncio.timeout(self.seconds):
                return await run(("git", *options, *arguments), env=self._environment(), directory=directory)
        except TimeoutError:
            raise StepFailed(f"git {arguments[0]} took longer than {self.seconds:g} s", retryable=True) from None
        except FileNotFoundError:
            raise StepFailed("the program git is missing here; install it") from None

    def _environment(self) -> dict[str, str]:
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ALLOW_PROTOCOL": "https:ssh:git:file",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            "LC_ALL": "C",
        }
        if self.secret_ref is None:
            return env
        if self.url.startswith("https://"):
            # By the environment, because the arguments of a process can be read by everybody on the machine.
            login = self._secret()
            login = login if ":" in login else f"entresol:{login}"
            env["GIT_CONFIG_COUNT"] = "1"
            env["GIT_CONFIG_KEY_0"] = "http.extraHeader"
            env["GIT_CONFIG_VALUE_0"] = f"Authorization: Basic {base64.b64encode(login.encode()).decode()}"
        elif self.secret_ref.startswith("file:"):
            key = shlex.quote(self.secret_ref.removeprefix("file:"))
            env["GIT_SSH_COMMAND"] += f" -o IdentitiesOnly=yes -i {key}"
        else:
            raise StepFailed("a destination that is reached by ssh needs its key as file:/PATH")
        return env

    def _secret(self) -> str:
        assert self.secret_ref is not None
        try:
            return resolve(self.secret_ref)
        except SecretMissing as error:
            raise StepFailed(str(error)) from None

    def _failure(self, command: str, done: Finished) -> StepFailed:
        lines = [line for line in done.err.strip().splitlines() if line.strip()][-3:]
        said = "; ".join(lines)[:500] or f"exit code {done.code}"
        if self.secret_ref is not None and self.url.startswith("https://"):
            for part in {self._secret(), self._secret().partition(":")[2]} - {""}:
                said = said.replace(part, "…")
        return StepFailed(f"git {command} failed: {said}", retryable=True)


def _make_empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def checked_url(url: str, *, local: bool) -> str:
    """The URL if git may be given it; raise StepFailed otherwise. `local`: whether this machine's own may be named."""
    if not url.isprintable() or " " in url or url.startswith("-"):
        raise StepFailed("the repository's URL holds characters that it must not")
    if url.startswith("/") or url.startswith("file://"):
        if not local:
            raise StepFailed("repositories of this machine are not allowed; set allow_local_repositories to allow them")
        if ".." in url.split("/"):
            raise StepFailed("the repository's path must not hold ..")
        return url
    if _SCP.match(url):
        return url
    try:
        parts = urlsplit(url)
        host, password, user = parts.hostname or "", parts.password, parts.username
    except ValueError:
        raise StepFailed("the repository's URL can't be read") from None
    if parts.scheme not in ("https", "ssh", "git") or not _HOST.match(host):
        raise StepFailed("the repository must be an https, ssh or git URL, or the name of one that is kept here")
    if password is not None or (user is not None and (parts.scheme != "ssh" or user.startswith("-"))):
        raise StepFailed("the repository's URL holds credentials; give them as secretRef")
    return url


def is_url(repository: str) -> bool:
    """Whether it is anything but the name of a repository beneath the root."""
    return "://" in repository or repository.startswith(("/", "-")) or ":" in repository or "@" in repository

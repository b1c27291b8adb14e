"""Remote git repositories, spoken to through the git program: what it takes to reach each kind safely.

Nothing that a user wrote can become an option, a command or a prompt: URLs are checked, `--` stands before them,
and git runs without hooks, helpers and configuration of its machine. `access` is the login. Pushes are never forced: a
lease only guards what is deleted.
"""

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.file import FileLocked
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo, UnsupportedExtension, UnsupportedVersion

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.git.access import Access
from entresol_provisioning.drivers.git.objects import Damaged
from entresol_provisioning.drivers.git.refs import head_of
from entresol_provisioning.drivers.processes import Finished, run

_QUIET = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "credential.helper=",
    "protocol.ext.allow=never",
    "http.followRedirects=false",  # the login would go along
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
MOVED_SECONDS = 0.005
"""Between two looks whether a branch has moved."""
_RACES = (
    "[rejected]",
    "fetch first",
    "non-fast-forward",
    "stale info",
    "cannot lock ref",
    "failed to lock",
    "failed to update ref",
    "incorrect old value",
)
"""How git and its servers say that somebody else's commit came first."""
_DAMAGED = (
    ".lock'",  # nobody else writes here, so a crash has left it
    "bad config",
    "bad object",
    "not a git repository",
    "is empty",
    "corrupt",
    "did not send all necessary objects",
    "unpacker error",
)
"""How git says that a mirror is not what it should be."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a branch pointed to, and where it is to point; None: no such branch."""

    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository elsewhere and how to reach it."""

    url: str
    access: Access
    seconds: float

    async def heads(self, mirror: Path, branches: Collection[str], *, moved: bool = False) -> dict[str, str | None]:
        """Fetch the branches into the mirror; return their commits, None for what the remote does not have.

        If they are known to have moved, they are fetched without asking first: that is a little quicker. Of a
        repository on this machine nothing is fetched, the mirror shares its objects; it is pushed to as any other.
        """
        await self._prepare(mirror)
        if (here := await asyncio.to_thread(self._shared, mirror, branches)) is not None:
            return here
        if moved and not (await self._run(mirror, *self._fetching(branches))).code:
            return dict(zip(branches, await asyncio.to_thread(_held, mirror, branches), strict=True))
        heads = await self._listed(mirror, branches)
        there = [branch for branch, head in heads.items() if head is not None]
        if await asyncio.to_thread(_held, mirror, there) == [heads[branch] for branch in there]:
            return heads
        await self._git(mirror, *self._fetching(there))
        return heads | dict(zip(there, await asyncio.to_thread(_held, mirror, there), strict=True))

    def _shared(self, mirror: Path, branches: Collection[str]) -> dict[str, str | None] | None:
        """The branches of a bare repository on this machine, whose objects the mirror then sees; None for any other."""
        place = Path(self.url.removeprefix("file://"))
        if not place.is_absolute() or "%" in self.url or not (place / "objects").is_dir():
            return None
        if _alternates(place).exists():
            return None
        alternates = _alternates(mirror)
        wanted = f"{place / 'objects'}\n"
        if not alternates.exists() or alternates.read_text() != wanted:
            alternates.parent.mkdir(exist_ok=True)
            alternates.write_text(wanted)
        try:
            with Repo(str(place)) as repo:
                heads = {branch: head_of(repo, branch) for branch in branches}
        except (NotGitRepository, UnsupportedExtension, UnsupportedVersion, ValueError):
            return None
        return {branch: None if head is None else head.decode() for branch, head in heads.items()}

    def shares(self, mirror: Path) -> bool:
        """Whether the mirror sees all objects of the remote, without having any."""
        return _alternates(mirror).exists()

    def _fetching(self, branches: Collection[str]) -> tuple[str, ...]:
        options = ("--quiet", "--no-tags", "--no-write-fetch-head")
        return ("fetch", *options, "--", self.url, *map(_fetched, branches))

    async def moved(self, mirror: Path, heads: Mapping[str, str | None], seconds: float) -> None:
        """Wait until somebody moves one of the branches, so that the time until they do it again is the longest."""
        with contextlib.suppress(TimeoutError, StepFailed):
            async with asyncio.timeout(seconds):
                while True:
                    now = await asyncio.to_thread(self._shared, mirror, heads) or await self._listed(mirror, heads)
                    if now != heads:
                        return
                    await asyncio.sleep(MOVED_SECONDS)

    async def _listed(self, mirror: Path, branches: Collection[str]) -> dict[str, str | None]:
        refs = {f"refs/heads/{branch}": branch for branch in branches}
        listed = await self._git(mirror, "ls-remote", "--", self.url, *refs)
        if not listed.out and self.url.startswith("https://"):
            # To git, a page that says anything at all is a server of old without any branches.
            listed = await self._git(mirror, "ls-remote", "--", self.url, *refs, env={"GIT_TRACE_PACKET": "1"})
            if " packet: " not in listed.err:
                raise StepFailed("what answers at the repository's URL is no server of git", retryable=True)
        heads: dict[str, str | None] = dict.fromkeys(branches)
        for line in listed.out.splitlines():
            commit, _, ref = line.partition("\t")
            if ref in refs:  # what is asked for is a pattern, to which longer names answer too
                heads[refs[ref]] = commit
        return heads

    async def is_empty(self, mirror: Path) -> bool:
        """Whether the remote has neither branch nor tag; its mirror was made by `heads`."""
        return not (await self._git(mirror, "ls-remote", "--", self.url)).out.strip()

    async def _prepare(self, mirror: Path) -> None:
        """Make the mirror if there is none: beside its place, and moved there when it is whole."""
        if (mirror / "HEAD").exists():
            return
        making = mirror.with_name(f"{mirror.name}.making")
        await asyncio.to_thread(_make_empty, making)
        await self._git(making, "init", "--quiet", "--bare", ".")
        await asyncio.to_thread(shutil.rmtree, mirror, ignore_errors=True)
        making.rename(mirror)

    async def push(self, mirror: Path, moves: Mapping[str, Move]) -> dict[str, StepFailed | None]:
        """Move all branches with one push; return those that were refused: None if somebody else came first, else why.

        A branch goes only from where it is said to point to; a new commit is one on top of that, so none is lost.
        """
        leases = (f"--force-with-lease=refs/heads/{one}:{move.old}" for one, move in moves.items() if move.new is None)
        specs = (f"{move.new or ''}:refs/heads/{one}" for one, move in moves.items())
        arguments = ("push", "--quiet", "--porcelain", "--no-verify", *leases, "--", self.url, *specs)
        done = await self._run(mirror, *arguments)
        if done.code == 0:
            return {}
        refused: dict[str, StepFailed | None] = {}
        for line in done.out.splitlines():
            if line.startswith("!\t"):
                _, refs, said = line.split("\t", 2)
                is_race = any(sign in said for sign in _RACES)
                branch = refs.rpartition(":")[2].removeprefix("refs/heads/")
                told = "\n".join([*_remarks(done.err), said])
                failure = self._failure("push", Finished(done.code, "", told))
                if isinstance(failure, Damaged):
                    raise failure
                refused[branch] = None if is_race else failure
        if not refused:
            raise self._failure("push", done)
        return refused

    async def tidy(self, mirror: Path) -> None:
        """Put small packs together; what goes wrong there is of no consequence."""
        with contextlib.suppress(StepFailed):
            await self._git(mirror, "repack", "--quiet", "-d", "-l", "--geometric=2")

    async def _git(self, directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        done = await self._run(directory, *arguments, env=env)
        if done.code:
            raise self._failure(arguments[0], done)
        return done

    async def _run(self, directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        options = [part for one in _QUIET for part in ("-c", one)]
        try:
            async with asyncio.timeout(self.seconds):
                return await run(
                    ("git", *options, *arguments), env=self.access.environment() | dict(env or {}), directory=directory
                )
        except TimeoutError:
            raise StepFailed(f"git {arguments[0]} took longer than {self.seconds:g} s", retryable=True) from None
        except FileNotFoundError:
            raise StepFailed("the program git is missing here; install it") from None

    def _failure(self, command: str, done: Finished) -> StepFailed:
        reason, lasts = self.access.explain(done.err)
        if any(sign in done.err for sign in _DAMAGED):
            return Damaged(reason)
        return StepFailed(f"git {command} failed: {reason or f'exit code {done.code}'}", retryable=not lasts)


def _remarks(err: str) -> list[str]:
    """What the server's hooks say, who may refuse a push."""
    return [line for line in err.splitlines() if line.startswith("remote: ")][-2:]


def _alternates(repository: Path) -> Path:
    return repository / "objects" / "info" / "alternates"


def _place(branch: str) -> str:
    """Where a branch is kept in a mirror: no name is in another's way there, as `a` would be in that of `a/b`."""
    return f"refs/fetched/{hashlib.sha256(branch.encode()).hexdigest()[:32]}"


def _fetched(branch: str) -> str:
    return f"+refs/heads/{branch}:{_place(branch)}"


def _held(mirror: Path, branches: Collection[str]) -> list[str | None]:
    """The commits that the mirror has fetched, and so all that belongs to them."""
    try:
        with Repo(str(mirror)) as repo:
            found = repo.get_refs()
    except (NotGitRepository, UnsupportedExtension, UnsupportedVersion, ValueError) as error:
        raise Damaged("its mirror is none that can be read") from error
    heads = [found.get(Ref(_place(branch).encode())) for branch in branches]
    return [None if head is None else head.decode() for head in heads]


def remember(mirror: Repo, heads: Mapping[str, ObjectID | None]) -> None:
    """Note what was pushed, so that it need not be fetched."""
    with contextlib.suppress(FileLocked):  # left by a crash; the next fetch stumbles on it, and starts anew
        for branch, head in heads.items():
            if head is not None:
                mirror.refs[Ref(_place(branch).encode())] = head


def _make_empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)

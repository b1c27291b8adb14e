"""Writers: many steps and an outside pusher on one branch. One commit for each step, nobody's lost, nothing forced."""

import asyncio
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from entresol_provisioning.drivers import StepFailed, StepResult, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from tests.faults.trials import SQLITE, Evidence, Proof, Scale, Trial
from tests.fleet import free_port

WRITERS = 50
END_SECONDS = 120.0
NOTHING = 40 * "0"
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "bo",
    "GIT_AUTHOR_EMAIL": "bo@example.org",
    "GIT_COMMITTER_NAME": "bo",
    "GIT_COMMITTER_EMAIL": "bo@example.org",
}


def git(place: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=place, env=ENV, capture_output=True, text=True, check=check, timeout=END_SECONDS
    )


def prove_writers_converge(trial: Trial) -> Evidence:
    """Fifty writers at a time, to a repository kept here, to one by its path, and to one by the git protocol."""
    rounds = trial.count(1, 1, 50)
    evidence = Evidence({"rounds": 0, "commits of steps": 0, "commits of outsiders": 0, "heads seen": 0, "pushes": 0})
    served = trial.scratch / "served"
    served.mkdir()
    with git_daemon(served) as address:
        for number in range(rounds):
            for kind in (("here", "git"), ("here", "path", "git"), ("here", "path", "git"))[trial.scale]:
                began = time.monotonic()
                name = f"{kind}-{number}"
                root = trial.scratch / name / "repositories" if kind == "here" else served
                repository = root / f"{name}.git"
                bare(repository)
                url = {"here": name, "path": f"file://{repository}", "git": f"{address}/{repository.name}"}[kind]
                # Each driver as in a process of its own: they share no lock, so the branch alone decides who is first.
                drivers = 2 if kind == "here" or trial.scale == Scale.LONG else 1
                asyncio.run(_round(trial, name, repository, url, drivers, evidence))
                trial.say(f"{name} took {time.monotonic() - began:.1f} s")
    evidence.counts["lost"] = len(evidence.breaches)
    return evidence


async def _round(trial: Trial, name: str, repository: Path, url: str, several: int, evidence: Evidence) -> None:
    settings = Settings(data=trial.scratch / name, allow_local_repositories=True, git_seconds=END_SECONDS)
    drivers = [GitOps(settings.model_copy(update={"data": settings.data / str(one)})) for one in range(several)]
    for one in drivers:
        one._settings.repositories_root = settings.repositories
    watch = Watch(repository)
    git(repository, "config", "core.logAllRefUpdates", "true")
    outsider = Outsider(repository, trial.scratch / name / "outside", trial.dice)
    with watch, outsider:
        works = [_work(number, url, f"{name}-{number}") for number in range(WRITERS)]
        trial.dice.shuffle(works)
        done = await asyncio.gather(*(_insist(drivers[index % several], work) for index, work in enumerate(works)))
    for one in drivers:
        await one.close()
    evidence.counts["rounds"] += 1
    evidence.counts["commits of outsiders"] += len(outsider.commits)
    evidence.counts["heads seen"] += len(watch.heads)
    evidence.counts["pushes"] += len(pushes(repository))
    evidence.counts["commits of steps"] += len({result.outputs["commit"] for result in done})
    evidence.breaches += _judge(name, repository, works, done, outsider, watch)


def _judge(
    name: str, repository: Path, works: list[StepWork], done: list[StepResult], outsider: "Outsider", watch: "Watch"
) -> Iterator[str]:
    history = git(repository, "log", "--format=%H", "main").stdout.split()
    trailers = git(repository, "log", "--format=%(trailers:key=Entresol-Step,valueonly,separator=)", "main").stdout
    by_step = Counter(line for line in trailers.splitlines() if line)
    for work in works:
        if by_step[work.idempotency_key] != 1:
            yield f"{name}: {by_step[work.idempotency_key]} commits for {work.idempotency_key}"
    for result in done:
        if result.outputs["commit"] not in history:
            yield f"{name}: {result.outputs['commit']} was said to be on the branch, and is not"
    for commit in outsider.commits:
        if commit not in history:
            yield f"{name}: the outsider's {commit} is gone"
    if outsider.failed:
        yield f"{name}: the outsider: {outsider.failed}"
    if len(outsider.commits) < 2:
        yield f"{name}: the outsider came through only {len(outsider.commits)} times"
    for head in watch.heads:
        if head not in history:
            yield f"{name}: the branch was at {head}, and was forced away from it"
    yield from (f"{name}: {one}" for one in forced(repository))
    files = set(git(repository, "ls-tree", "-r", "--name-only", "main").stdout.split())
    missing = {f"things/{work.name}.yaml" for work in works} - files
    if missing:
        yield f"{name}: {len(missing)} files are missing: {sorted(missing)[:5]}"
    if (broken := git(repository, "fsck", "--strict", "--no-dangling", check=False)).returncode:
        yield f"{name}: fsck says {broken.stderr[:500]}"
    if locks := [str(one) for one in repository.rglob("*.lock")]:
        yield f"{name}: locks are left: {locks}"


async def _insist(driver: GitOps, work: StepWork) -> StepResult:
    """As the platform does: a step that a passing failure stopped is tried again, as one that was attempted."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        try:
            return await driver.apply(work)
        except StepFailed as failure:
            if not failure.retryable or time.monotonic() > deadline:
                raise
        work = replace(work, attempted=True)
        await asyncio.sleep(0.1)


def _work(number: int, url: str, name: str) -> StepWork:
    with_: dict[str, object] = {"path": "things", "files": {f"{name}.yaml": f"number: {number}\nsame: everywhere\n"}}
    return StepWork(
        request_id=f"request-{name}",
        run_id=f"run-{name}",
        step="commit",
        idempotency_key=f"run-{name}/commit",
        action="create",
        resource_id=f"shop/dev/thing/{name}",
        project="shop",
        environment="dev",
        offering="thing",
        name=name,
        actor="user:ada",
        with_=with_,
        destination={"repository": url},
        deadline=time.monotonic() + END_SECONDS,
    )


class Outsider:
    """Somebody with a clone, who commits and pushes while the steps do; never by force."""

    def __init__(self, repository: Path, clone: Path, dice: random.Random) -> None:
        self._clone = clone
        self._dice = dice
        git(repository.parent, "clone", "--quiet", str(repository), str(clone))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push, name="outsider")
        self.commits: list[str] = []
        self.failed = ""

    def __enter__(self) -> "Outsider":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _push(self) -> None:
        number = 0
        try:
            while not self._stop.is_set() or len(self.commits) < 2:
                (self._clone / f"outside-{number}").write_text("x\n")
                git(self._clone, "add", ".")
                git(self._clone, "commit", "--quiet", "-m", f"outside {number}")
                while git(self._clone, "push", "--quiet", check=False).returncode:
                    git(self._clone, "pull", "--quiet", "--rebase")
                self.commits.append(git(self._clone, "rev-parse", "HEAD").stdout.strip())
                number += 1
                self._stop.wait(self._dice.uniform(0.0, 0.2))
        except subprocess.SubprocessError as error:
            self.failed = f"{error}: {getattr(error, 'stderr', '')}"


class Watch:
    """Sees where the branch is, again and again: whatever it was at has to be in its history for good."""

    def __init__(self, repository: Path) -> None:
        self._ref = repository / "refs" / "heads" / "main"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")
        self.heads: set[str] = set()

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.001):
            try:
                self.heads.add(self._ref.read_text().strip())
            except FileNotFoundError:
                continue


def pushes(repository: Path) -> list[tuple[str, str]]:
    """From where to where each push has moved the branch, by the repository's own log."""
    log = repository / "logs" / "refs" / "heads" / "main"
    return [(line.split()[0], line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []


def forced(repository: Path) -> Iterator[str]:
    """The pushes that took something away from the branch."""
    history = git(repository, "rev-list", "--reverse", "--topo-order", "main").stdout.split()
    place = {commit: number for number, commit in enumerate(history)}
    for old, new in pushes(repository):
        if place.get(new, -1) <= place.get(old, -1 if old == NOTHING else len(place)):
            yield f"a push moved the branch from {old} to {new}, by force"


def bare(repository: Path, *, empty: bool = False) -> None:
    """A bare repository, with one commit unless it is to be empty."""
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    if empty:
        return
    tree = git(repository, "hash-object", "-t", "tree", "-w", "/dev/null").stdout.strip()
    first = git(repository, "commit-tree", "-m", "first", tree).stdout.strip()
    git(repository, "update-ref", "refs/heads/main", first)


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """A git server on loopback that takes pushes; gives its address."""
    port = free_port()
    address = f"git://127.0.0.1:{port}"
    options = ("--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1", f"--port={port}")
    with subprocess.Popen(
        ["git", "daemon", *options, f"--base-path={root}", "--max-connections=0", str(root)],
        env=ENV,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        try:
            probe = root / "probe.git"
            bare(probe)
            deadline = time.monotonic() + 30
            while git(root, "ls-remote", f"{address}/probe.git", check=False).returncode:
                if time.monotonic() > deadline:
                    raise RuntimeError("git daemon does not answer")
                time.sleep(0.02)
            yield address
        finally:
            os.killpg(server.pid, 15)


def _missing() -> str | None:
    done = subprocess.run(["git", "daemon", "--help"], capture_output=True, check=False)
    return None if done.returncode in (0, 129) else "git has no daemon here"


PROOFS = (
    Proof(
        "G22",
        "parallel git writers converge: one commit for each request, nobody's lost, nothing forced",
        prove_writers_converge,
        databases=(SQLITE,),
    ),
)

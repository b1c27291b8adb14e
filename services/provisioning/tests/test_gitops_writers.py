"""Many writers at one repository: one commit for each step, nobody's lost, nothing forced."""

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dulwich.repo import Repo
from entresol_eventing import failpoints
from entresol_eventing.testing import eventually
from entresol_provisioning.drivers import StepFailed, StepResult, StepWork
from entresol_provisioning.drivers.git import history
from entresol_provisioning.drivers.git.objects import Objects
from entresol_provisioning.drivers.git.remotes import Remote
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import (
    ENV,
    Outsider,
    bare,
    cloned,
    files_of,
    git,
    locks_in,
    push,
    steps_of,
)

WRITERS = 50


@pytest.fixture
async def drivers(settings: Settings, tmp_path: Path) -> AsyncIterator[list[GitOps]]:
    """Two, as in processes of their own: they share no lock, so the branch alone decides who is first."""
    repositories = settings.repositories
    made = [
        GitOps(settings.model_copy(update={"data": tmp_path / name, "repositories_root": repositories}))
        for name in ("one", "other")
    ]
    yield made
    for one in made:
        await one.close()


@pytest.fixture(params=["here", "elsewhere"])
def repository(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Path:
    return bare(settings.repositories / "infra.git" if request.param == "here" else tmp_path / "elsewhere.git")


@pytest.fixture
def step(work: Callable[..., StepWork], repository: Path) -> Callable[..., StepWork]:
    def make(number: int) -> StepWork:
        spec = {"repository": "infra" if repository.name == "infra.git" else f"file://{repository}"}
        files = {f"written-{number}": f"{number}\n"}
        return work(run_id=f"run-{number}", with_={"path": "w", "files": files}, destination=spec)

    return make


async def insisted(driver: GitOps, work: StepWork) -> StepResult:
    """As the service does: a passing failure is no end."""
    async with asyncio.timeout(100):
        while True:
            try:
                return await driver.apply(work)
            except StepFailed as failure:
                if not failure.retryable:
                    raise
            work = replace(work, attempted=True)
            await asyncio.sleep(0.05)


async def test_fifty_writers_and_somebody_who_pushes_all_the_time_lose_nothing(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path, tmp_path: Path
) -> None:
    await drivers[0].apply(step(0))
    with Outsider(cloned(repository, tmp_path / "clone")) as outsider:
        done = await asyncio.gather(*(insisted(drivers[number % 2], step(number)) for number in range(1, WRITERS + 1)))
    assert not outsider.failed
    assert steps_of(repository) == sorted(f"run-{number}/only" for number in range(WRITERS + 1))
    found = git(repository, "rev-list", "main").split()
    assert {one.outputs["commit"] for one in done} | set(outsider.commits) <= set(found)
    assert len({one.outputs["commit"] for one in done}) == WRITERS
    wanted = [f"outside-{number}" for number in range(len(outsider.commits))]
    assert files_of(repository) == sorted([*wanted, *(f"w/written-{number}" for number in range(WRITERS + 1))])
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""
    assert locks_in(repository) == []


@pytest.mark.parametrize("repository", ["elsewhere"], indirect=True)
async def test_what_waits_goes_with_one_push_and_still_has_a_commit_for_each_step(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes: list[int] = []
    whole = Remote.push

    def all_are_here() -> bool:
        (rounds,) = drivers[0]._repositories._rounds.values()
        return len(rounds._acting) + len(rounds._waiting) == WRITERS

    async def counted(self: Remote, *arguments: object) -> object:
        if not pushes:
            await eventually(all_are_here)
        pushes.append(1)
        return await whole(self, *arguments)  # type: ignore[arg-type]

    await drivers[0].apply(step(WRITERS))
    monkeypatch.setattr(Remote, "push", counted)
    await asyncio.gather(*(drivers[0].apply(step(number)) for number in range(WRITERS)))
    assert len(pushes) <= 2
    assert git(repository, "rev-list", "--count", "main") == str(WRITERS + 1)


@pytest.mark.parametrize("repository", ["elsewhere"], indirect=True)
async def test_a_step_that_a_server_refuses_hinders_no_other(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    hook = repository / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nread old new ref\n! git ls-tree -r --name-only $new | grep -q written-3$\n")
    hook.chmod(0o755)
    done = await asyncio.gather(*(drivers[0].apply(step(number)) for number in range(6)), return_exceptions=True)
    failures = [one for one in done if isinstance(one, BaseException)]
    assert [str(one) for one in failures] == [str(done[3])]
    assert "hook declined" in str(done[3])
    assert files_of(repository) == [f"w/written-{number}" for number in (0, 1, 2, 4, 5)]


async def test_what_one_step_gives_up_on_another_does_not(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    acting = [asyncio.create_task(drivers[0].apply(step(number))) for number in range(8)]
    await asyncio.sleep(0)
    for task in acting[::2]:
        task.cancel()
    done = await asyncio.gather(*acting, return_exceptions=True)
    assert [isinstance(one, StepResult) for one in done] == [False, True] * 4
    assert {f"run-{number}/only" for number in range(1, 8, 2)} <= set(steps_of(repository))


async def test_when_all_have_given_up_nothing_goes_on(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    acting = [asyncio.create_task(drivers[0].apply(step(number))) for number in range(8)]
    await eventually(lambda: bool(drivers[0]._repositories._rounds))
    for task in acting:
        task.cancel()
    await asyncio.gather(*acting, return_exceptions=True)
    assert all(one._running is None for one in drivers[0]._repositories._rounds.values())
    assert (await drivers[0].apply(step(9))).message == "1 added"


async def test_who_asks_while_the_last_one_gives_up_is_served_all_the_same(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    await drivers[0].apply(step(1))
    (rounds,) = drivers[0]._repositories._rounds.values()
    begun, may_end = threading.Event(), threading.Event()

    def hold(view: View) -> None:
        begun.set()
        assert may_end.wait(30)

    leaving = asyncio.create_task(rounds.ask(hold, {"main"}))
    assert await asyncio.to_thread(begun.wait, 30)
    leaving.cancel()
    await asyncio.sleep(0)
    staying = asyncio.create_task(rounds.ask(lambda view: "served", {"main"}, reads=True))
    await asyncio.sleep(0)
    may_end.set()
    assert await staying == "served"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_crash_between_push_and_record_repeats_nothing(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path, tmp_path: Path
) -> None:
    works = [step(number) for number in range(10)]
    done = await asyncio.gather(*(drivers[0].apply(one) for one in works))
    clone = cloned(repository, tmp_path / "clone")
    for number in range(0, 10, 2):
        push(clone, f"w/written-{number}", "by hand\n")
    head = git(repository, "rev-parse", "main")
    again = await asyncio.gather(*(drivers[1].apply(replace(one, attempted=True)) for one in works))
    assert [one.outputs for one in again] == [one.outputs for one in done]
    assert git(repository, "rev-parse", "main") == head


async def test_a_failure_before_the_push_is_made_good_by_the_next_attempt(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    failpoints.arm("effect.middle=fail")
    done = await asyncio.gather(*(drivers[0].apply(step(number)) for number in range(5)), return_exceptions=True)
    failed = [one for one in done if isinstance(one, failpoints.Injected)]
    assert failed
    await asyncio.gather(*(drivers[0].apply(replace(step(number), attempted=True)) for number in range(5)))
    assert steps_of(repository) == [f"run-{number}/only" for number in range(5)]


def imported(repository: Path, count: int) -> None:
    """A history of so many commits, the oldest of which is a step's."""
    lines: list[str] = []
    for number in range(count):
        message = "create\n\nEntresol-Step: run-1/only\n" if number == 0 else f"commit {number}\n"
        lines += ["commit refs/heads/main", f"committer bo <bo@example.org> {1_700_000_000 + number} +0000"]
        lines += [f"data {len(message)}", message, *(["M 100644 inline w/written-1", "data 2", "1\n"] * (number == 0))]
        if number == count - 1:
            lines += ["M 100644 inline w/written-1", "data 2", "2\n"]
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=repository, env=ENV, input="\n".join(lines), text=True, check=True
    )


async def test_a_step_finds_its_commit_again_however_many_came_after_it(
    drivers: list[GitOps], step: Callable[..., StepWork], repository: Path
) -> None:
    imported(repository, 20_000)
    head = git(repository, "rev-parse", "main")
    again = await drivers[0].apply(replace(step(1), attempted=True))
    assert again.outputs["commit"] == git(repository, "rev-list", "--max-parents=0", "main")
    assert git(repository, "rev-parse", "main") == head


def test_only_what_is_new_is_searched(tmp_path: Path) -> None:
    place = bare(tmp_path / "one.git")
    imported(place, 50)
    old = git(place, "rev-parse", "main~10").encode()
    with Repo(str(place)) as repo:
        objects = Objects(repo)
        head = repo.refs.read_ref(b"refs/heads/main")  # type: ignore[arg-type]
        assert head is not None
        assert len(list(history.since(objects, head, old))) == 10  # type: ignore[arg-type]
        assert history.find(objects, head, {b"Entresol-Step: run-1/only"}, old) == {}  # type: ignore[arg-type]
        assert len(history.find(objects, head, {b"Entresol-Step: run-1/only"})) == 1  # type: ignore[arg-type]
        assert history.holds(objects, head, old)  # type: ignore[arg-type]
        assert not history.holds(objects, old, head)  # type: ignore[arg-type]

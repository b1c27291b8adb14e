"""Proposals that nobody waits for any more, through the whole service: a real bus, a real repository."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.testing import eventually
from entresol_provisioning import app
from entresol_provisioning.drivers.git import rounds
from entresol_provisioning.settings import Settings

from services.provisioning.tests.conftest import Platform, make_offering, platform_on
from services.provisioning.tests.repositories import bare, cloned, files_of, git

BRANCH = "entresol/shop/dev/database/orders/only"
WITH = {"repository": "infra", "via": "branch", "look": "0.2", "files": {"a.yaml": "a: 1\n"}}


@pytest.fixture
def repository(settings: Settings, tmp_path: Path) -> Path:
    place = bare(settings.repositories / "infra.git")
    clone = cloned(place, tmp_path / "clone")
    git(clone, "checkout", "--quiet", "-b", "main")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return place


@pytest.fixture
async def serving(connected: Settings, repository: Path) -> AsyncIterator[Platform]:
    async with platform_on(app.create(connected)) as platform:
        yield platform


async def propose(platform: Platform, **step: Any) -> str:
    """A request for which a branch waits to be merged."""
    steps = [{"name": "only", "driver": "gitops", "with": WITH, **step}]
    await platform.apply(make_offering(actions={"create": {"steps": steps}}))
    request = await platform.ask()
    await platform.heard(request, "RunSuspended")
    return request


def branches(repository: Path) -> str:
    return git(repository, "branch", "--list", "--format=%(refname:short)", "entresol/*")


async def test_a_cancelled_request_leaves_no_branch_behind(serving: Platform, repository: Path) -> None:
    request = await propose(serving)
    assert branches(repository) == BRANCH
    await serving.cancel(request)
    end = await serving.ended(request)
    assert (end.reason, end.steps_done) == (
        "cancelled by user:ada; what step only had begun was taken back",
        [],
    )
    assert branches(repository) == ""
    again = await serving.ask()
    await serving.heard(again, "RunSuspended")
    assert branches(repository) == BRANCH


async def test_nor_does_one_whose_time_is_over(serving: Platform, repository: Path) -> None:
    request = await propose(serving, timeout="1s")
    end = await serving.ended(request)
    assert end.reason == (
        f"not done within 1 s (waits until the branch {BRANCH} is merged into main); "
        "what step only had begun was taken back"
    )
    assert (end.step, end.left) == ("only", None)
    assert branches(repository) == ""


async def test_what_was_merged_before_the_cancellation_is_told_as_done(
    serving: Platform, repository: Path, tmp_path: Path
) -> None:
    request = await propose(serving, **{"with": {**WITH, "look": "1h"}})
    git(tmp_path / "clone", "fetch", "--quiet")
    git(tmp_path / "clone", "merge", "--quiet", f"origin/{BRANCH}")
    git(tmp_path / "clone", "push", "--quiet")
    await serving.cancel(request)
    end = await serving.ended(request)
    assert end.steps_done == ["only"]
    assert branches(repository) == ""
    assert files_of(repository) == ["shop/dev/database/orders/a.yaml"]


async def test_a_service_that_was_stopped_meanwhile_withdraws_when_it_is_back(
    connected: Settings, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def hang(*_: Any) -> bool:
        asked.append("to close")
        raise ConnectionError

    async with platform_on(app.create(connected)) as platform:
        request = await propose(platform, **{"with": {**WITH, "look": "1h"}})
        with monkeypatch.context() as broken:
            broken.setattr(rounds.Rounds, "_round", hang)
            broken.setattr("entresol_provisioning.workers.StepWorker._record", hang)
            await platform.cancel(request)
            await eventually(lambda: bool(asked))
    assert branches(repository) == BRANCH
    async with platform_on(app.create(connected)) as platform:
        assert (await platform.ended(request)).steps_done == []
    assert branches(repository) == ""

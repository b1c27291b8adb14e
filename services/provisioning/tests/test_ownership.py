"""Whose the files in a repository are: what one resource has put there, another neither writes over nor takes away."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, cloned, files_of, git
from services.provisioning.tests.test_proposals import merged, waits


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings)
    yield made
    await made.close()


@pytest.fixture
def repository(settings: Settings) -> Path:
    return bare(settings.repositories / "infra.git")


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    clone = cloned(repository, tmp_path / "clone")
    git(clone, "checkout", "--quiet", "-b", "main")
    (clone / "shared").mkdir()
    (clone / "shared" / "base").write_text("base\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "base")
    git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return clone


@pytest.fixture
def step(work: Callable[..., StepWork], clone: Path) -> Callable[..., StepWork]:
    def make(files: dict[str, str], number: int = 1, **fields: Any) -> StepWork:
        with_ = {"repository": "infra", "path": "shared", "files": files, **fields.pop("with_", {})}
        return work(run_id=f"run-{number}", with_=with_, **fields)

    return make


def squashed(clone: Path) -> None:
    """The whole history becomes one commit of somebody's, with the same files."""
    git(clone, "fetch", "--quiet")
    tree = git(clone, "rev-parse", "origin/main^{tree}")
    git(clone, "reset", "--quiet", "--hard", git(clone, "commit-tree", tree, "-m", "squashed"))
    git(clone, "push", "--quiet", "--force")


@pytest.mark.parametrize("via", ["commit", "branch"])
async def test_a_shared_file_that_is_as_wanted_outlives_whoever_found_it(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path, via: str
) -> None:
    work = step({"base": "base\n", "mine": "1"}, with_={"via": via})
    if via == "branch":
        work = await waits(driver.apply, work)
        merged(clone, "--squash")
    first = await driver.apply(work)
    assert first.outputs["files"] == ["shared/mine"]
    assert (await driver.apply(replace(work, attempted=True))).outputs["files"] == ["shared/mine"]
    squashed(clone)
    gone = step({"base": "base\n", "mine": "1"}, 2, previous=first.outputs)
    assert (await driver.plan(replace(gone, destroys=True))).summary == ("- shared/mine",)
    await driver.destroy(gone)
    assert files_of(repository) == ["shared/base"]
    assert not (await driver.observe(replace(gone, destroys=True))).exists


async def test_a_file_that_was_changed_is_the_steps_from_then_on(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    first = await driver.apply(step({"base": "mine\n"}))
    assert first.outputs["files"] == ["shared/base"]
    await driver.destroy(step({"base": "mine\n"}, 2, previous=first.outputs))
    assert files_of(repository) == []


async def test_what_an_attempt_wrote_that_was_never_recorded_is_found_by_the_log(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step({"mine": "1"}))
    await driver.destroy(step({"mine": "1", "base": "base\n"}, 2))
    assert files_of(repository) == ["shared/base"]


async def test_a_path_that_was_refused_leaves_nothing_to_take_down(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    wrong = step({"base": "base\n"}, with_={"path": "../x"}, destroys=True)
    assert (await driver.destroy(wrong)).message == "nothing to change"
    assert not (await driver.observe(wrong)).exists


async def test_what_another_resource_only_left_behind_can_be_adopted(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step({"mine": "1"}, resource_id="shop/dev/database/carts"))
    work = step({"mine": "1"}, 2)
    with pytest.raises(StepFailed, match="carts has written"):
        await driver.apply(work)
    adopting = replace(work, adopts=True)
    assert (await driver.plan(adopting)).summary == ()
    seen = await driver.observe(adopting)
    assert seen.outputs is not None
    assert seen.outputs["files"] == ["shared/mine"]


def actions(files: dict[str, str], step: str = "files", **more: Any) -> dict[str, Any]:
    with_ = {"repository": "infra", "create": True, "path": "shared", "files": files}
    return {"create": {"steps": [{"name": step, "driver": "gitops", "with": with_, "retries": 0, **more}]}}


async def test_what_a_living_resource_holds_is_nobody_elses_whatever_the_log_says(
    platform: Any, offering: Callable[..., Any], settings: Settings, tmp_path: Path
) -> None:
    repository = settings.repositories / "infra.git"
    same = {"x.yaml": "a: 1\n"}
    await platform.apply(offering(actions=actions(same)))
    await platform.ended(await platform.ask())
    squashed(cloned(repository, tmp_path / "clone"))
    for action in ("create", "adopt"):
        failed = await platform.ended(await platform.ask(action, name="carts"))
        assert "shared/x.yaml is what shop/dev/database/orders has written" in failed.reason
        assert failed.left is None
    await platform.apply(offering(version="2.0.0", actions=actions({"x.yaml": "a: 2\n"})))
    failed = await platform.ended(await platform.ask(name="carts", offering_version="2.0.0"))
    assert "orders has written" in failed.reason
    await platform.ended(await platform.ask("delete", name="carts"))
    assert files_of(repository) == ["shared/x.yaml"]
    await platform.ended(await platform.ask("delete"))
    assert files_of(repository) == []
    await platform.ended(await platform.ask(name="carts"))
    assert files_of(repository) == ["shared/x.yaml"]


async def test_a_step_of_another_name_takes_over_what_the_old_one_wrote(
    platform: Any, offering: Callable[..., Any], settings: Settings, tmp_path: Path
) -> None:
    repository = settings.repositories / "infra.git"
    await platform.apply(offering(actions=actions({"x.yaml": "a: 1\n", "old": "1"})))
    await platform.ended(await platform.ask())
    squashed(cloned(repository, tmp_path / "clone"))
    await platform.apply(offering(version="1.1.0", actions=actions({"x.yaml": "a: 1\n"}, "manifests")))
    await platform.ended(await platform.ask("update", offering_version="1.1.0"))
    assert files_of(repository) == ["shared/x.yaml"]
    await platform.ended(await platform.ask("delete", offering_version="1.1.0"))
    assert files_of(repository) == []

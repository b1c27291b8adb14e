"""What every driver has to hold, run against gitops: a repository that lies here, a remote one, and proposals."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import StepResult, StepSuspended, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, cloned, fetched, git, push, shared

FILE = "shop/dev/thing/one/app.yaml"
Merge = Callable[[Path, str], None]


def good(size: str) -> Mapping[str, Any]:
    return {
        "repository": "infra",
        "create": True,
        "files": {"app.yaml": f"metadata: {{name: one}}\nspec:\n  size: {size}\n", f"{size}.txt": size},
    }


def meddling(repository: Path, clone: Path) -> Callable[[StepWork], Awaitable[None]]:
    async def meddle(_: StepWork) -> None:
        cloned(repository, clone)
        git(clone, "rm", "--quiet", "shop/dev/thing/one/small.txt")
        git(clone, "commit", "--quiet", "-m", "away with it")
        push(clone, FILE, "metadata: {name: one}\nspec:\n  size: huge\n")

    return meddle


def merge(clone: Path, branch: str) -> None:
    git(clone, "merge", "--quiet", "--no-ff", "-m", "merged", f"origin/{branch}")


def squash(clone: Path, branch: str) -> None:
    git(clone, "merge", "--quiet", "--squash", f"origin/{branch}")
    git(clone, "commit", "--quiet", "-m", "squashed")


def rebase(clone: Path, branch: str) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "something else")
    git(clone, "checkout", "--quiet", "--detach", f"origin/{branch}")
    git(clone, "rebase", "--quiet", "main")
    git(clone, "branch", "--quiet", "--force", "main", "HEAD")
    git(clone, "checkout", "--quiet", "main")


class Merged(GitOps):
    """Somebody merges each proposal as soon as it waits."""

    def __init__(self, settings: Settings, clone: Path, merge: Merge) -> None:
        super().__init__(settings)
        self._clone = clone
        self._merge = merge

    async def apply(self, work: StepWork) -> StepResult:
        return await self._merging(super().apply, work)

    async def destroy(self, work: StepWork) -> StepResult:
        return await self._merging(super().destroy, work)

    async def _merging(self, act: Callable[[StepWork], Awaitable[StepResult]], work: StepWork) -> StepResult:
        try:
            return await act(work)
        except StepSuspended:
            branch = f"entresol/{work.resource_id}/{work.step}"
            git(self._clone, "pull", "--quiet")
            self._merge(self._clone, branch)
            git(self._clone, "push", "--quiet")
            raise


class TestGitOps(Conformance):
    @pytest.fixture
    async def case(self, settings: Settings, tmp_path: Path) -> AsyncIterator[Case]:
        driver = GitOps(settings)
        meddle = meddling(settings.repositories / "infra.git", tmp_path / "clone")
        yield Case(driver=driver, work=make_work(), good=good, bad={"repository": "infra"}, meddle=meddle)
        await driver.close()


class TestRemoteGitOps(Conformance):
    @pytest.fixture(params=[shared, fetched])
    async def case(self, request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> AsyncIterator[Case]:
        driver = GitOps(settings)
        remote = bare(tmp_path / "elsewhere.git")
        work = make_work(destination={"repository": request.param(remote)})
        yield Case(driver=driver, work=work, good=good, bad={}, meddle=meddling(remote, tmp_path / "clone"))
        await driver.close()


class TestProposingGitOps(Conformance):
    @pytest.fixture(params=[merge, *(pytest.param(one, marks=pytest.mark.long) for one in (squash, rebase))])
    async def case(self, request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> AsyncIterator[Case]:
        remote = bare(tmp_path / "elsewhere.git")
        clone = cloned(remote, tmp_path / "merging")
        git(clone, "checkout", "--quiet", "-b", "main")
        (clone / "readme").write_text("x")
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "-m", "first")
        git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
        driver = Merged(settings, clone, request.param)
        yield Case(
            driver=driver,
            work=make_work(destination={"repository": fetched(remote)}),
            good=lambda size: {**good(size), "via": "branch", "look": "100ms"},
            bad={"via": "branch"},
            meddle=meddling(remote, tmp_path / "clone"),
        )
        await driver.close()

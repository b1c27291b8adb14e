"""Changes that are proposed by a branch: they wait for people, and only the repository says how it went."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.drivers import PlanOutdated, StepFailed, StepResult, StepSuspended, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, cloned, files_of, git, push, steps_of

BRANCH = "entresol/shop/dev/database/orders/only"
FILE = "shop/dev/database/orders/a.yaml"


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings)
    yield made
    await made.close()


@pytest.fixture(params=["here", "elsewhere"])
def repository(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Path:
    """With one commit; in one half of the tests it lies here, in the other it is a remote one."""
    place = bare(settings.repositories / "infra.git" if request.param == "here" else tmp_path / "elsewhere.git")
    clone = cloned(place, tmp_path / "clone")
    git(clone, "checkout", "--quiet", "-b", "main")
    (clone / "readme").write_text("x")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "first")
    git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return place


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    return tmp_path / "clone"


@pytest.fixture
def step(work: Callable[..., StepWork], repository: Path) -> Callable[..., StepWork]:
    def make(files: dict[str, str], number: int = 1, **fields: Any) -> StepWork:
        if repository.name == "infra.git":
            with_, fields["destination"] = {"repository": "infra"}, None
        else:
            with_, fields["destination"] = {}, {"repository": f"file://{repository}"}
        more = {"files": files, "via": "branch", **fields.pop("with_", {})}
        return work(run_id=f"run-{number}", with_={**with_, **more}, **fields)

    return make


async def waits(act: Callable[[StepWork], Awaitable[StepResult]], work: StepWork) -> StepWork:
    """The next look of a step that has to wait."""
    with pytest.raises(StepSuspended) as suspended:
        await act(work)
    return replace(work, attempted=True, memory=suspended.value.memory)


def merged(clone: Path, *options: str, branch: str = BRANCH) -> str:
    git(clone, "pull", "--quiet")
    git(clone, "merge", "--quiet", *options, f"origin/{branch}")
    if "--squash" in options:
        git(clone, "commit", "--quiet", "-m", "squashed")
    git(clone, "push", "--quiet")
    return git(clone, "rev-parse", "HEAD")


async def test_a_change_waits_on_its_branch_until_it_is_merged(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    with pytest.raises(StepSuspended) as suspended:
        await driver.apply(step({"a.yaml": "a: 1\n"}, with_={"look": "5m"}))
    assert suspended.value.reason == f"waits until the branch {BRANCH} is merged into main"
    assert (suspended.value.look_after_seconds, suspended.value.resumable) == (300.0, False)
    assert files_of(repository) == ["readme"]
    assert files_of(repository, BRANCH) == ["readme", FILE]
    proposed = git(repository, "rev-parse", BRANCH)
    look = await waits(driver.apply, replace(step({"a.yaml": "a: 1\n"}), memory=suspended.value.memory))
    assert git(repository, "rev-parse", BRANCH) == proposed
    head = merged(clone, "--no-ff", "-m", "merged")
    result = await driver.apply(look)
    assert (result.message, result.outputs) == (
        "merged",
        {
            "commit": proposed,
            "repository": "infra" if repository.name == "infra.git" else f"file://{repository}",
            "path": "shop/dev/database/orders",
            "branch": "main",
            "files": [FILE],
            "proposal": BRANCH,
            "merged": head,
        },
    )
    assert git(repository, "branch", "--list", "entresol/*") == ""
    assert (await driver.apply(replace(look, memory={}))).outputs == result.outputs


async def test_the_branch_is_looked_at_every_thirty_seconds_if_nothing_is_said(
    driver: GitOps, step: Callable[..., StepWork]
) -> None:
    with pytest.raises(StepSuspended) as suspended:
        await driver.apply(step({"a.yaml": "a: 1\n"}))
    assert suspended.value.look_after_seconds == 30.0


async def test_a_closed_branch_fails_the_step_and_proposes_nothing_again(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    git(clone, "push", "--quiet", "origin", "--delete", BRANCH)
    look = await waits(driver.apply, look)
    with pytest.raises(StepFailed, match="somebody has closed it") as failure:
        await driver.apply(look)
    assert not failure.value.retryable
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_a_branch_that_is_gone_because_it_was_merged_is_no_failure(
    driver: GitOps, step: Callable[..., StepWork], clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    merged(clone, "--squash")
    git(clone, "push", "--quiet", "origin", "--delete", BRANCH)
    assert (await driver.apply(look)).message == "merged"


@pytest.mark.parametrize(("how", "found"), [(("--no-ff", "-m", "merged"), "^2"), (("--squash",), "")])
async def test_a_change_that_was_merged_and_changed_since_is_done(
    driver: GitOps, step: Callable[..., StepWork], clone: Path, how: tuple[str, ...], found: str
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    head = merged(clone, *how)
    push(clone, FILE, "a: 2\n")
    result = await driver.apply(look)
    assert result.message == "merged"
    assert result.outputs["commit"] == git(clone, "rev-parse", head + found)


async def test_a_change_that_was_rebased_onto_a_target_that_moved_on_is_done(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    push(clone, FILE, "by hand")
    git(clone, "fetch", "--quiet")
    git(clone, "checkout", "--quiet", BRANCH)
    git(clone, "rebase", "--quiet", "-X", "theirs", "main")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    head = git(clone, "rev-parse", "HEAD")
    result = await driver.apply(look)
    assert (result.message, result.outputs["commit"], result.outputs["files"]) == ("merged", head, [FILE])
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_a_change_that_somebody_edited_before_the_merge_is_done_and_is_drift(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    git(clone, "fetch", "--quiet")
    git(clone, "checkout", "--quiet", BRANCH)
    push(clone, FILE, "a: 2\n")
    git(clone, "checkout", "--quiet", "main")
    merged(clone, "--no-ff", "-m", "merged")
    result = await driver.apply(look)
    assert (result.message, result.outputs["files"]) == ("merged", [FILE])
    seen = await driver.observe(replace(look, previous=result.outputs))
    assert [one.path for one in seen.differences] == [f"{FILE}#/a"]
    gone = step({"a.yaml": "a: 1\n"}, 2, previous=result.outputs, destroys=True, action="delete")
    look = await waits(driver.destroy, gone)
    merged(clone)
    assert (await driver.destroy(look)).message == "merged"
    assert files_of(repository) == ["readme"]


async def test_a_change_that_was_edited_and_squashed_is_not_called_closed(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    git(clone, "fetch", "--quiet")
    git(clone, "checkout", "--quiet", BRANCH)
    push(clone, FILE, "a: 2\n")
    git(clone, "checkout", "--quiet", "main")
    merged(clone, "--squash")
    git(clone, "push", "--quiet", "origin", "--delete", BRANCH)
    look = await waits(driver.apply, look)
    with pytest.raises(StepFailed, match="has merged it by squash with other contents"):
        await driver.apply(look)
    gone = step({"a.yaml": "a: 1\n"}, 2, destroys=True, action="delete")
    await driver.destroy(gone)
    assert git(repository, "show", f"main:{FILE}") == "a: 2"


async def test_a_target_that_moved_on_with_a_conflict_keeps_the_change_waiting(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    theirs = push(clone, FILE, "by hand")
    for _ in range(2):
        look = await waits(driver.apply, look)
    assert git(repository, "rev-parse", "main") == theirs
    assert git(repository, "show", f"{BRANCH}:{FILE}") == "a: 1"


async def test_a_later_run_puts_its_commit_on_top_and_leaves_nothing_of_the_earlier(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    await waits(driver.apply, step({"a.yaml": "a: 1\n", "b": "x"}))
    first = git(repository, "rev-parse", BRANCH)
    push(clone, "elsewhere", "x")
    look = await waits(driver.apply, step({"a.yaml": "a: 2\n"}, 2))
    assert files_of(repository, BRANCH) == ["elsewhere", "readme", FILE]
    assert git(repository, "merge-base", first, BRANCH) == first
    assert steps_of(repository, BRANCH) == ["run-1/only", "run-2/only"]
    merged(clone)
    assert (await driver.apply(look)).outputs["files"] == [FILE]
    assert git(repository, "show", f"main:{FILE}") == "a: 2"
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""


async def test_an_attempt_whose_push_was_not_recorded_finds_its_proposal(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    work = step({"a.yaml": "a: 1\n"})
    await waits(driver.apply, work)
    proposed = git(repository, "rev-parse", BRANCH)
    await waits(driver.apply, replace(work, attempted=True))
    assert git(repository, "rev-parse", BRANCH) == proposed


async def test_a_commit_of_somebody_else_on_the_branch_is_never_deleted(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    merged(clone, "--squash")
    git(clone, "checkout", "--quiet", BRANCH)
    theirs = push(clone, "more", "x")
    assert (await driver.apply(look)).message == "merged"
    assert git(repository, "rev-parse", BRANCH) == theirs


async def test_a_removal_is_proposed_too(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    merged(clone)
    result = await driver.apply(look)
    gone = step({"a.yaml": "a: 1\n"}, 2, previous=result.outputs, destroys=True, action="delete")
    look = await waits(driver.destroy, gone)
    assert (await driver.observe(gone)).exists
    merged(clone)
    assert (await driver.destroy(look)).message == "merged"
    assert files_of(repository) == ["readme"]
    assert not (await driver.observe(gone)).exists


async def test_deleting_what_was_never_merged_withdraws_the_proposal(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    await driver.destroy(step({"a.yaml": "a: 1\n"}, 2, destroys=True, action="delete"))
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_a_packed_branch_can_go_too(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    merged(clone)
    git(repository, "pack-refs", "--all")
    assert (await driver.apply(look)).message == "merged"
    assert git(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


async def test_only_the_approved_change_is_proposed(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    work = step({"a.yaml": "a: 1\n"})
    plan = await driver.plan(work)
    push(clone, FILE, "by hand")
    with pytest.raises(PlanOutdated):
        await driver.apply(replace(work, approved=plan.digest))
    assert git(repository, "branch", "--list", "entresol/*") == ""
    anew = await driver.plan(work)
    look = await waits(driver.apply, replace(work, approved=anew.digest))
    merged(clone)
    assert (await driver.apply(look)).message == "merged"


async def test_what_is_merged_already_needs_no_proposal(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    push(clone, FILE, "a: 1\n")
    assert (await driver.apply(step({"a.yaml": "a: 1\n"}))).message == "nothing to change"
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_a_name_that_no_branch_can_have_is_replaced_by_a_digest(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    await waits(driver.apply, step({"a.yaml": "1"}, name="--force " + "x" * 10_000, with_={"path": "p"}))
    (branch,) = git(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads/entresol").splitlines()
    assert branch.startswith("entresol/shop/dev/database/")
    assert len(branch) < 100


@pytest.mark.parametrize(
    "with_",
    [
        {"via": "force"},
        {"via": ["branch"]},
        {"look": "soon"},
        {"look": "-1"},
        {"look": 0},
        {"look": "9" * 100},
        {"branch": BRANCH},
    ],
)
async def test_nonsense_about_a_proposal_is_refused(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, with_: dict[str, Any]
) -> None:
    with pytest.raises(StepFailed):
        await driver.apply(step({"a.yaml": "1"}, with_=with_))
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_what_is_given_up_closes_its_branch_however_often_it_is_said(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    assert await driver.withdraw(look) is None
    assert git(repository, "branch", "--list", "entresol/*") == ""
    assert await driver.withdraw(look) is None
    assert files_of(repository) == ["readme"]


@pytest.mark.parametrize("branch", ["kept", "deleted"])
async def test_what_was_merged_before_it_could_be_given_up_is_done(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path, branch: str
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    head = merged(clone, "--squash")
    if branch == "deleted":
        git(clone, "push", "--quiet", "origin", "--delete", BRANCH)
    for _ in range(2):
        done = await driver.withdraw(look)
        assert done is not None
        assert (done.message, done.outputs["merged"], done.outputs["files"]) == ("merged", head, [FILE])
    assert git(repository, "branch", "--list", "entresol/*") == ""


async def test_a_branch_on_which_somebody_works_is_not_closed(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    git(clone, "fetch", "--quiet")
    git(clone, "checkout", "--quiet", BRANCH)
    theirs = push(clone, "more", "x")
    with pytest.raises(StepFailed, match=f"the branch {BRANCH} stays: somebody has put a commit on it"):
        await driver.withdraw(look)
    assert git(repository, "rev-parse", BRANCH) == theirs


async def test_a_removal_that_is_given_up_leaves_what_is_there(
    driver: GitOps, step: Callable[..., StepWork], repository: Path, clone: Path
) -> None:
    look = await waits(driver.apply, step({"a.yaml": "a: 1\n"}))
    merged(clone)
    result = await driver.apply(look)
    gone = step({"a.yaml": "a: 1\n"}, 2, previous=result.outputs, destroys=True, action="delete")
    assert await driver.withdraw(await waits(driver.destroy, gone)) is None
    assert files_of(repository) == ["readme", FILE]
    assert git(repository, "branch", "--list", "entresol/*") == ""

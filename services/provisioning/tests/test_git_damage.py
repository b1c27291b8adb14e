"""Repositories and mirrors that are not what they should be: told, or made anew where nothing is lost by it."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from entresol_provisioning.conformance import later, make_work
from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, cloned, fetched, files_of, git, push, steps_of

Damage = Callable[[Path], None]


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings)
    yield made
    await made.close()


@pytest.fixture
def repository(settings: Settings, tmp_path: Path) -> Path:
    """One that holds a commit of somebody else."""
    made = bare(settings.repositories / "infra.git")
    clone = cloned(made, tmp_path / "clone")
    git(clone, "checkout", "--quiet", "-b", "main")
    (clone / "theirs").write_text("x")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "first")
    git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return made


def cut(files: list[Path], length: int) -> None:
    for one in files:
        content = one.read_bytes()[:length]
        one.chmod(0o644)
        one.write_bytes(content)


def packs(mirror: Path) -> None:
    cut(list(mirror.glob("objects/pack/*.pack")), 20)


def indices(mirror: Path) -> None:
    cut(list(mirror.glob("objects/pack/*.idx")), 100)


def loose_objects(mirror: Path) -> None:
    cut(list(mirror.glob("objects/[0-9a-f][0-9a-f]/*")), 0)


def branches(mirror: Path) -> None:
    cut(list(mirror.glob("refs/fetched/*")), 0)


def configuration(mirror: Path) -> None:
    (mirror / "config").write_bytes(b"\0[[")


def all_objects(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


@pytest.mark.parametrize("damage", [packs, indices, loose_objects, branches, configuration, all_objects])
async def test_a_mirror_that_a_power_cut_has_damaged_is_made_anew(
    settings: Settings, driver: GitOps, repository: Path, tmp_path: Path, damage: Damage
) -> None:
    work = make_work(destination={"repository": fetched(repository)}, with_={"files": {"a.txt": "x"}})
    await driver.apply(work)
    (mirror,) = settings.mirrors.iterdir()
    damage(mirror)
    push(tmp_path / "clone", "theirs", "y")
    assert (await driver.observe(work)).exists
    damage(mirror)
    await driver.apply(later(replace(work, with_={"files": {"b.txt": "y"}}), 2))
    assert steps_of(repository) == ["run-1/only", "run-2/only"]


def odd_commit(repository: Path, committer: str) -> None:
    """Put one onto the branch that git itself would not make."""
    tree, parent = git(repository, "rev-parse", "main^{tree}"), git(repository, "rev-parse", "main")
    raw = f"tree {tree}\nparent {parent}\nauthor {committer}\ncommitter {committer}\n\nodd\n"
    store = ("git", "hash-object", "--literally", "-t", "commit", "-w", "--stdin")
    made = subprocess.run(store, input=raw, cwd=repository, capture_output=True, text=True, check=True)
    (repository / "refs" / "heads" / "main").write_text(made.stdout)


def content_of(repository: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in repository.rglob("*") if one.is_file()}


def a_time_that_is_none(repository: Path) -> None:
    odd_commit(repository, "a <a@example.org> now +0000")


def no_tree(repository: Path) -> None:
    name = git(repository, "rev-parse", "main^{tree}")
    (repository / "objects" / name[:2] / name[2:]).unlink()


def garbage_in_a_commit(repository: Path) -> None:
    name = git(repository, "rev-parse", "main")
    cut([repository / "objects" / name[:2] / name[2:]], 5)


def garbage_in_a_branch(repository: Path) -> None:
    (repository / "refs" / "heads" / "main").write_text("garbage\n")


def a_branch_of_itself(repository: Path) -> None:
    (repository / "refs" / "heads" / "main").write_text("ref: refs/heads/main\n")


def a_later_format(repository: Path) -> None:
    (repository / "config").write_text("[core]\n\trepositoryformatversion = 7\n")


def nothing_of_a_repository(repository: Path) -> None:
    shutil.rmtree(repository / "refs")


@pytest.mark.parametrize(
    "damage",
    [
        no_tree,
        garbage_in_a_commit,
        a_time_that_is_none,
        garbage_in_a_branch,
        a_branch_of_itself,
        a_later_format,
        nothing_of_a_repository,
        configuration,
    ],
)
async def test_a_damaged_repository_is_told_of_and_left_as_it_is(
    driver: GitOps, repository: Path, damage: Damage
) -> None:
    damage(repository)
    before = content_of(repository)
    work = make_work(with_={"repository": "infra", "files": {"a.txt": "x"}}, attempted=True)
    for act in (driver.plan, driver.apply, driver.observe, driver.destroy):
        with pytest.raises(StepFailed, match="the repository is damaged"):
            await act(work)
    assert content_of(repository) == before


async def test_a_branch_that_points_to_a_file_is_told_of(driver: GitOps, repository: Path) -> None:
    (repository / "refs" / "heads" / "main").write_text(f"{git(repository, 'rev-parse', 'main:theirs')}\n")
    work = make_work(with_={"repository": "infra", "files": {"a.txt": "x"}}, attempted=True)
    for act in (driver.plan, driver.apply, driver.observe, driver.destroy):
        with pytest.raises(StepFailed, match="does not point to a commit"):
            await act(work)


@pytest.mark.parametrize("committer", ["nobody", "a <a@example.org> 99999999999999999999 +0000"])
async def test_a_commit_of_no_time_hinders_nobody(driver: GitOps, repository: Path, committer: str) -> None:
    odd_commit(repository, committer)
    await driver.apply(make_work(with_={"repository": "infra", "files": {"a.txt": "x"}}, attempted=True))
    assert "run-1/only" in git(repository, "log", "-1", "--format=%B")


async def test_a_file_becomes_a_folder_and_a_file_again(driver: GitOps, repository: Path) -> None:
    outputs, there = None, ["theirs"]
    forms = [{"one": "1"}, {"one/a": "1", "one/b/c": "1"}, {"one": "2"}, {"one/b": "1"}]
    for number, files in enumerate(forms):
        with_ = {"repository": "infra", "path": "", "files": files}
        work = later(make_work(with_=with_, previous=outputs), number)
        assert (await driver.plan(work)).adds == len(files)
        outputs = (await driver.apply(work)).outputs
        assert files_of(repository) == sorted([*there, *files])
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""


async def test_what_others_have_put_into_its_folder_is_in_the_way_of_a_file(
    driver: GitOps, repository: Path, tmp_path: Path
) -> None:
    with_ = {"repository": "infra", "path": ""}
    first = make_work(with_={**with_, "files": {"one/a": "1"}})
    outputs = (await driver.apply(first)).outputs
    push(tmp_path / "clone", "one/theirs", "x")
    with pytest.raises(StepFailed, match="in the way"):
        await driver.apply(later(replace(first, with_={**with_, "files": {"one": "1"}}, previous=outputs), 2))
    assert files_of(repository) == ["one/a", "one/theirs", "theirs"]


async def test_a_file_can_t_be_a_folder_too(driver: GitOps, repository: Path) -> None:
    work = make_work(with_={"repository": "infra", "files": {"one": "1", "one/a/b": "2"}})
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match=r"one can't be a file, and a folder for .*one/a/b"):
            await act(work)
    assert files_of(repository) == ["theirs"]

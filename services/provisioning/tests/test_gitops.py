"""The gitops driver on real repositories: nothing is lost, nothing is written elsewhere."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import ObjectID
from dulwich.repo import Repo
from entresol_provisioning.drivers import PlanOutdated, StepFailed, StepWork
from entresol_provisioning.drivers.git import refs, trees
from entresol_provisioning.drivers.git.objects import Objects
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import cloned, fetched, files_of, git, push


def commit(repo: Repo, head: ObjectID | None, change: trees.Change) -> ObjectID:
    """Save a commit that no branch points to yet."""
    objects = Objects(repo)
    parents = () if head is None else (head,)
    difference = trees.compare(objects, head, change)
    new = trees.commit(objects, parents, head, change, difference, "create", "a <a@example.org>")
    objects.save()
    return new


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings)
    yield made
    await made.close()


@pytest.fixture
def step(work: Callable[..., StepWork]) -> Callable[..., StepWork]:
    def make(files: dict[str, str], number: int = 1, **attributes: Any) -> StepWork:
        with_ = {"repository": "infra", "create": True, "files": files, **attributes.pop("with_", {})}
        return work(run_id=f"run-{number}", with_=with_, **attributes)

    return make


async def test_a_commit_says_who_asked_and_where_it_came_from(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    result = await driver.apply(step({"app.yaml": "a: 1\n"}, actor="user:ada\nEntresol-Step: forged/one"))
    repository = settings.repositories / "infra.git"
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""
    assert result.outputs == {
        "commit": git(repository, "rev-parse", "main"),
        "repository": "infra",
        "branch": "main",
        "path": "shop/dev/database/orders",
        "files": ["shop/dev/database/orders/app.yaml"],
    }
    message = git(repository, "log", "-1", "--format=%B").splitlines()
    assert message == [
        "create shop/dev/database/orders",
        "",
        "Entresol-Request: request-1",
        "Entresol-Run: run-1",
        "Entresol-Step: run-1/only",
        "Entresol-Actor: user:adaEntresol-Step: forged/one",
    ]


async def test_nothing_to_change_makes_no_commit(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    first = await driver.apply(step({"a": "1"}))
    second = await driver.apply(step({"a": "1"}, 2))
    assert (second.message, second.outputs["commit"]) == ("nothing to change", first.outputs["commit"])


async def test_nobody_writes_over_what_another_resource_has_written(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings, tmp_path: Path
) -> None:
    def at_one_place(content: str, number: int, resource: str, **attributes: Any) -> StepWork:
        about = {"resource_id": f"shop/dev/database/{resource}", "with_": {"path": "shared"}}
        return step({"a": content, "b": "2"}, number, **about, **attributes)

    first = await driver.apply(at_one_place("1", 1, "orders"))
    other = at_one_place("x", 2, "carts")
    for look in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match="shared/a is what shop/dev/database/orders has written; each resource"):
            await look(other)
    proposed = replace(other, with_={**other.with_, "via": "branch"})
    with pytest.raises(StepFailed, match="has written"):
        await driver.apply(proposed)
    with pytest.raises(StepFailed, match="has written"):
        await driver.apply(at_one_place("1", 3, "carts"))
    await driver.apply(at_one_place("3", 4, "orders", previous=first.outputs))
    await driver.apply(at_one_place("4", 5, "orders"))
    repository = settings.repositories / "infra.git"
    push(cloned(repository, tmp_path / "clone"), "shared/a", "by hand")
    only_a = {"path": "shared", "files": {"a": "x"}}
    await driver.apply(replace(other, with_={**other.with_, **only_a}))
    assert git(repository, "show", "main:shared/a") == "x"


async def test_files_that_are_no_longer_rendered_go_and_others_stay(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    shared = {"path": "apps"}
    await driver.apply(step({"other": "o"}, 1, with_=shared))
    first = await driver.apply(step({"a": "1", "b": "1"}, 2, with_=shared))
    second = await driver.apply(step({"b": "2", "c": "2"}, 3, with_=shared, previous=first.outputs))
    assert files_of(settings.repositories / "infra.git") == ["apps/b", "apps/c", "apps/other"]
    await driver.destroy(step({"b": "2", "c": "2"}, 4, with_=shared, previous=second.outputs))
    assert files_of(settings.repositories / "infra.git") == ["apps/other"]


async def test_a_repeated_attempt_finds_its_own_commit_even_if_others_changed_the_file(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    first = await driver.apply(step({"a": "1"}))
    await driver.apply(step({"a": "2"}, 2))
    again = await driver.apply(replace(step({"a": "1"}), attempted=True))
    assert again.outputs["commit"] == first.outputs["commit"]
    assert git(settings.repositories / "infra.git", "rev-list", "--count", "main") == "2"


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    place = tmp_path / "elsewhere.git"
    place.mkdir()
    git(place, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    return place


async def test_a_push_that_changes_what_would_be_done_is_noticed_and_another_is_not(
    driver: GitOps, step: Callable[..., StepWork], remote: Path, tmp_path: Path
) -> None:
    spec = {"repository": str(remote)}
    result = await driver.apply(step({"a": "1"}, 1, destination=spec))
    changed = step({"a": "2"}, 2, destination=spec, previous=result.outputs)
    plan = await driver.plan(changed)
    git(tmp_path, "clone", "--quiet", str(remote), "clone")
    push(tmp_path / "clone", "elsewhere", "x")
    assert (await driver.plan(changed)).digest == plan.digest
    push(tmp_path / "clone", result.outputs["files"][0], "by hand")
    head = git(remote, "rev-parse", "main")
    with pytest.raises(PlanOutdated):
        await driver.apply(replace(changed, approved=plan.digest))
    assert git(remote, "rev-parse", "main") == head
    anew = await driver.plan(changed)
    await driver.apply(replace(changed, approved=anew.digest))
    assert git(remote, "show", f"main:{result.outputs['files'][0]}") == "2"


async def test_a_push_between_comparing_and_moving_the_branch_is_noticed(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository = settings.repositories / "infra.git"
    result = await driver.apply(step({"a": "1"}))
    changed = step({"a": "2"}, 2, previous=result.outputs)
    plan = await driver.plan(changed)
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    pushed: list[str] = []
    move = refs.move

    def late(*arguments: Any) -> bool:
        if not pushed:
            pushed.append(push(tmp_path / "clone", result.outputs["files"][0], "by hand"))
        return move(*arguments)

    monkeypatch.setattr(refs, "move", late)
    with pytest.raises(PlanOutdated):
        await driver.apply(replace(changed, approved=plan.digest))
    assert git(repository, "rev-parse", "main") == pushed[0]


async def test_a_plan_that_was_not_approved_makes_no_repository(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    with pytest.raises(PlanOutdated):
        await driver.apply(step({"a": "1"}, approved="sha256:other"))
    assert not (settings.repositories / "infra.git").exists()


async def test_a_remote_repository_is_pushed_to_and_never_forced(
    driver: GitOps, step: Callable[..., StepWork], remote: Path, tmp_path: Path
) -> None:
    destination = {"repository": f"file://{remote}", "path": "clusters/dev"}
    plan = await driver.plan(step({"a": "1"}, destination=destination))
    assert (plan.adds, git(remote, "branch")) == (1, "")
    first = await driver.apply(step({"a": "1"}, destination=destination))
    assert first.outputs["commit"] == git(remote, "rev-parse", "main")
    git(tmp_path, "clone", "--quiet", str(remote), "clone")
    (tmp_path / "clone" / "mine").write_text("x")
    git(tmp_path / "clone", "add", ".")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "mine")
    git(tmp_path / "clone", "push", "--quiet")
    work = step({"b": "1"}, 2, destination=destination, previous=first.outputs)
    second = await driver.apply(work)
    assert files_of(remote) == ["clusters/dev/shop/dev/database/orders/b", "mine"]
    assert (await driver.apply(replace(work, attempted=True))).outputs == second.outputs
    await driver.destroy(step({"b": "1"}, 3, destination=destination, previous=second.outputs))
    assert files_of(remote) == ["mine"]


async def test_hooks_of_the_mirror_do_not_run(
    driver: GitOps, step: Callable[..., StepWork], remote: Path, settings: Settings, tmp_path: Path
) -> None:
    destination = {"repository": f"file://{remote}"}
    await driver.apply(step({"a": "1"}, destination=destination))
    (mirror,) = settings.mirrors.iterdir()
    hook = mirror / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    await driver.apply(step({"a": "2"}, 2, destination=destination))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "/etc/passwd",
        "a/../../b",
        ".git/config",
        "x/.GIT/hooks/pre-commit",
        "git~1/config",
        "a\\b",
        "a//b",
        ".",
        "-x",
        "a\nb",
        ".git /x",
        "x" * 300,
    ],
)
async def test_hostile_file_names_are_refused(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings, name: str
) -> None:
    with pytest.raises(StepFailed):
        await driver.apply(step({"{{ inputs.name }}": "x"}, scope={"inputs": {"name": name}}))
    assert not (settings.repositories / "infra.git").exists()


@pytest.mark.parametrize("path", ["../..", "a/../..", ".git/hooks", "a/./b"])
async def test_hostile_paths_are_refused(driver: GitOps, step: Callable[..., StepWork], path: str) -> None:
    with pytest.raises(StepFailed, match="not a path"):
        await driver.apply(step({"a": "x"}, with_={"path": path}))


@pytest.mark.parametrize(
    "name", ["../infra", "/tmp/x", "a/b/c/d", "UPPER", "a..b", "x.git.git", "--upload-pack=touch", "a b"]
)
async def test_hostile_repository_names_are_refused(driver: GitOps, step: Callable[..., StepWork], name: str) -> None:
    with pytest.raises(StepFailed):
        await driver.apply(step({"a": "x"}, with_={"repository": name}))


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/pwned",
        "ext::sh -c id",
        "ext::sh",
        "fd::17",
        "http://example.org/x.git",
        "https://user:secret@example.org/x.git",
        "https://token@example.org/x.git",
        "ssh://-oProxyCommand=id/x",
        "-oProxyCommand=id@host:x",
        "ssh://host/x y",
        "file:///a/../b",
        "https://exa\nmple.org/x",
    ],
)
async def test_hostile_urls_are_refused_before_git_sees_them(
    driver: GitOps, step: Callable[..., StepWork], url: str
) -> None:
    with pytest.raises(StepFailed) as failure:
        await driver.apply(step({"a": "x"}, destination={"repository": url}))
    assert "secret@" not in failure.value.reason
    assert "git ls-remote failed" not in failure.value.reason


@pytest.mark.parametrize("branch", ["--force", "a..b", "main.lock", "/main", "a b", "@{u}", "+main"])
async def test_hostile_branches_are_refused(driver: GitOps, step: Callable[..., StepWork], branch: str) -> None:
    with pytest.raises(StepFailed, match="branch name"):
        await driver.apply(step({"a": "x"}, with_={"branch": branch}))


async def test_local_paths_need_to_be_allowed(settings: Settings, step: Callable[..., StepWork], remote: Path) -> None:
    driver = GitOps(settings.model_copy(update={"allow_local_repositories": False}))
    for url in (str(remote), f"file://{remote}"):
        with pytest.raises(StepFailed, match="not allowed"):
            await driver.apply(step({"a": "x"}, destination={"repository": url}))
    await driver.close()


async def test_links_are_never_followed(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings, remote: Path, tmp_path: Path
) -> None:
    settings.repositories.mkdir()
    (settings.repositories / "infra.git").symlink_to(remote)
    with pytest.raises(StepFailed, match="symbolic link"):
        await driver.apply(step({"a": "x"}))
    git(tmp_path, "clone", "--quiet", str(remote), "clone")
    (tmp_path / "clone" / "w").symlink_to("/etc")
    (tmp_path / "clone" / "f").symlink_to("/etc/passwd")
    git(tmp_path / "clone", "add", ".")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "links")
    git(tmp_path / "clone", "push", "--quiet")
    for path, name in (("w", "passwd"), ("x", "../f"), ("", "f")):
        with pytest.raises(StepFailed):
            await driver.apply(step({name: "x"}, destination={"repository": str(remote)}, with_={"path": path}))


async def test_a_repository_is_the_same_with_and_without_its_ending(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings
) -> None:
    first = await driver.apply(step({"a": "1"}))
    await driver.apply(step({"b": "1"}, 2, with_={"repository": "infra.git"}, previous=first.outputs))
    assert files_of(settings.repositories / "infra.git") == ["shop/dev/database/orders/b"]


async def test_a_missing_repository_is_told_with_the_remedy(driver: GitOps, step: Callable[..., StepWork]) -> None:
    with pytest.raises(StepFailed, match="create: true"):
        await driver.apply(step({"a": "x"}, with_={"create": False}))


async def test_a_missing_remote_is_worth_another_attempt_and_the_secret_stays_secret(
    driver: GitOps, step: Callable[..., StepWork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN_FOR_TEST", "canary-4711")
    destination = {"repository": "https://127.0.0.1:9/x.git", "secretRef": "env:GIT_TOKEN_FOR_TEST"}
    with pytest.raises(StepFailed) as failure:
        await driver.apply(step({"a": "x"}, destination=destination))
    assert failure.value.retryable
    assert "canary" not in failure.value.reason


def test_a_crash_anywhere_in_a_commit_does_not_stop_the_next_attempt(tmp_path: Path) -> None:
    def write(place: Path) -> None:
        change = trees.Change({"a/b/app.yaml": b"a: 1\n"}, frozenset())
        refs.create(place, "main")
        with Repo(str(place)) as repo:
            head = refs.head_of(repo, "main")
            assert refs.move(repo, "main", head, commit(repo, head, change))

    def crashes_at(step: int, place: Path) -> bool:
        """Whether a process that is killed when it is about to put its n-th file into place is killed at all."""
        if (child := os.fork()) == 0:
            left, really = step, os.replace

            def replace(source: Any, target: Any) -> None:
                nonlocal left
                if (left := left - 1) < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                really(source, target)

            os.replace = replace  # type: ignore[assignment]
            write(place)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    step = 0
    while crashes_at(step, place := tmp_path / f"{step}.git"):
        write(place)
        assert files_of(place) == ["a/b/app.yaml"]
        assert git(place, "fsck", "--strict", "--no-dangling") == ""
        step += 1
    assert step >= 5, "every object, and the branch"


def test_a_lock_of_somebody_else_is_respected(tmp_path: Path) -> None:
    place = tmp_path / "one.git"
    change = trees.Change({"app.yaml": b"a: 1\n"}, frozenset())
    refs.create(place, "main")
    lock = place / "refs" / "heads" / "main.lock"
    lock.touch()
    with Repo(str(place)) as repo:
        new = commit(repo, None, change)
        assert not refs.move(repo, "main", None, new)
        assert lock.exists()
        lock.unlink()
        assert refs.move(repo, "main", None, new)
        assert not refs.move(repo, "main", None, new), "it points elsewhere by now"


async def test_a_lock_that_a_crash_left_in_a_mirror_does_not_stop_the_next_attempt(
    driver: GitOps, step: Callable[..., StepWork], settings: Settings, tmp_path: Path
) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    destination = {"repository": fetched(remote)}
    with_ = {"repository": None, "create": None, "destination": "there"}
    await driver.apply(step({"app.yaml": "a: 1\n"}, with_=with_, destination=destination))
    await driver.apply(step({"app.yaml": "a: 2\n"}, 2, with_=with_, destination=destination))
    (mirror,) = settings.mirrors.iterdir()
    (ref,) = (mirror / "refs" / "fetched").iterdir()
    git(tmp_path, "clone", "--quiet", str(remote), "clone")
    push(tmp_path / "clone", "elsewhere", "x")
    ref.with_name(f"{ref.name}.lock").touch()
    await driver.apply(step({"app.yaml": "a: 3\n"}, 3, with_=with_, destination=destination))
    assert git(remote, "show", "main:shop/dev/database/orders/app.yaml") == "a: 3"


async def test_a_branch_is_begun_only_where_there_is_none(
    driver: GitOps, step: Callable[..., StepWork], remote: Path
) -> None:
    destination = {"repository": fetched(remote)}
    first = await driver.apply(step({"a": "1"}, destination=destination))
    git(remote, "branch", "-m", "main", "trunk")
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match="has branches, but not main; make it") as failure:
            await act(step({"a": "2"}, 2, destination=destination, previous=first.outputs))
    assert failure.value.untouched
    assert git(remote, "branch", "--format=%(refname:short)") == "trunk"
    gone = step({"a": "1"}, 3, destination=destination, previous=first.outputs)
    assert (await driver.destroy(gone)).message == "nothing to change"


async def test_a_change_leaves_a_file_executable(
    driver: GitOps, step: Callable[..., StepWork], remote: Path, tmp_path: Path
) -> None:
    destination = {"repository": str(remote)}
    first = await driver.apply(step({"run": "1"}, destination=destination))
    (file,) = first.outputs["files"]
    clone = cloned(remote, tmp_path / "clone")
    (clone / file).chmod(0o755)
    git(clone, "commit", "--quiet", "-am", "executable")
    git(clone, "push", "--quiet")
    assert (await driver.observe(step({"run": "1"}, destination=destination))).differences == ()
    await driver.apply(step({"run": "2"}, 2, destination=destination, previous=first.outputs))
    assert git(remote, "ls-tree", "main", file).startswith("100755")


@pytest.mark.parametrize(
    ("path", "files", "reason"),
    [
        ("cart", {"b": "x"}, "cart: Cart is there"),
        ("Cart", {"A": "x"}, "Cart/A: Cart/a is there"),
        ("new", {"a": "1", "A": "2"}, "new/a: new/A is there"),
        ("new", {"e\u0301": "1", "\u00e9": "2"}, "is there, and on some machines that is the same"),
    ],
)
async def test_two_names_that_are_one_on_some_machines_are_refused(
    driver: GitOps, step: Callable[..., StepWork], path: str, files: dict[str, str], reason: str
) -> None:
    first = await driver.apply(step({"a": "1"}, with_={"path": "Cart"}))
    with pytest.raises(StepFailed, match=reason):
        await driver.apply(step(files, 2, with_={"path": path}))
    await driver.apply(step({"A": "1"}, 3, with_={"path": "cart"}, previous=first.outputs))


async def test_a_branch_that_a_server_protects_is_no_passing_failure(
    driver: GitOps, step: Callable[..., StepWork], remote: Path
) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'GH006: Protected branch update failed for refs/heads/main.' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(StepFailed, match=r"via: branch.*GH006: Protected branch") as failure:
        await driver.apply(step({"a": "1"}, destination={"repository": str(remote)}))
    assert (failure.value.retryable, failure.value.untouched) == (False, True)

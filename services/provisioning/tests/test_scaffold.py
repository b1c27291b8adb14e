"""The scaffold driver with real copier templates and real repositories."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, later, make_work
from entresol_provisioning.drivers import Difference, Observation, StepFailed, StepWork, Touched
from entresol_provisioning.drivers.git import refs
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "bo",
    "GIT_AUTHOR_EMAIL": "bo@example.org",
    "GIT_COMMITTER_NAME": "bo",
    "GIT_COMMITTER_EMAIL": "bo@example.org",
}
SERVICE = {
    "copier.yml": """
_subdirectory: template
_skip_if_exists: [NOTES.md]
team: {type: str}
size: {type: str, choices: [small, medium, large], default: small}
replicas: {type: int, default: "{{ 3 if size == 'large' else 1 }}"}
""",
    "template/README.md.jinja": "# {{ _folder_name }}\n\nBy {{ team }}.\n\n## Use\n\nAsk.\n\n## Size\n\n{{ size }}\n",
    "template/deploy.yaml.jinja": "replicas: {{ replicas }}\n",
    "template/run.sh": "#!/bin/sh\nexec true\n",
    "template/NOTES.md.jinja": "made for {{ size }}\n",
    "template/{% if size == 'large' %}large.txt{% endif %}": "only where it is large\n",
    "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
}


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=place, env=ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def publish(place: Path, files: dict[str, str], tag: str = "") -> None:
    """Commit the files as a template's next version; text None removes one."""
    if not place.exists():
        place.mkdir(parents=True)
        git(place, "init", "--quiet", "--initial-branch=main")
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        if name.endswith(".sh"):
            (place / name).chmod(0o755)
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "-m", "a version")
    if tag:
        git(place, "tag", tag)


def push(repository: Path, files: dict[str, str | None]) -> None:
    """Change files in a repository as one of its developers."""
    clone = repository.with_name("clone")
    if not clone.exists():
        git(repository.parent, "clone", "--quiet", str(repository), str(clone))
    git(clone, "pull", "--quiet")
    for name, text in files.items():
        if text is None:
            (clone / name).unlink()
        else:
            (clone / name).write_text(text)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "-m", "work")
    git(clone, "push", "--quiet")


def files_of(repository: Path, ref: str = "main") -> dict[str, str]:
    names = git(repository, "ls-tree", "-r", "--name-only", ref).splitlines()
    return {name: git(repository, "show", f"{ref}:{name}") for name in names}


@pytest.fixture
def template(settings: Settings) -> Path:
    place = settings.templates / "service"
    publish(place, SERVICE, "v1.0.0")
    return place


@pytest.fixture
def repository(settings: Settings) -> Path:
    return settings.repositories / "carts.git"


@pytest.fixture
def driver(settings: Settings) -> Scaffold:
    return Scaffold(settings)


@pytest.fixture
def step(template: Path) -> Callable[..., StepWork]:
    def make(number: int = 1, size: str = "small", **with_: Any) -> StepWork:
        answers = {"team": "payments", "size": size, **with_.pop("answers", {})}
        given = {"template": "service", "repository": "carts", "answers": answers, **with_}
        return later(make_work(with_=given), number)

    return make


def with_size(size: str, **more: Any) -> dict[str, Any]:
    return {"template": "service", "repository": "carts", "answers": {"team": "payments", "size": size}, **more}


class TestScaffold(Conformance):
    @pytest.fixture
    def case(self, settings: Settings, template: Path) -> Case:
        return Case(
            driver=Scaffold(settings),
            work=make_work(),
            good=with_size,
            bad={"template": "service", "repository": "../carts"},
            keeps=True,
        )


@pytest.mark.long
class TestScaffoldThatIsTrackedAndDeleted(Conformance):
    @pytest.fixture
    def case(self, settings: Settings, template: Path, repository: Path) -> Case:
        async def meddle(work: StepWork) -> None:
            push(repository, {"deploy.yaml": "replicas: 9\n", "NOTES.md": "mine\n", "own.txt": "own\n"})

        return Case(
            driver=Scaffold(settings),
            work=make_work(),
            good=lambda size: with_size(size, track=True, onDelete="delete"),
            bad=with_size("huge"),
            meddle=meddle,
        )


@pytest.mark.long
class TestScaffoldElsewhere(Conformance):
    @pytest.fixture
    def case(self, settings: Settings, template: Path, tmp_path: Path) -> Case:
        git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
        given = {"template": "service", "destination": "forge"}
        return Case(
            driver=Scaffold(settings),
            work=make_work(destination={"repository": f"file://{tmp_path}/remote.git"}),
            good=lambda size: {**given, "answers": {"team": "payments", "size": size}},
            bad={**given, "answers": {"colour": "red"}},
            keeps=True,
        )


async def test_a_new_repository_holds_what_the_template_gives(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path, template: Path
) -> None:
    result = await driver.apply(step(size="large"))
    assert git(repository, "fsck", "--strict") == ""
    assert result.outputs == {
        "repository": "carts",
        "branch": "main",
        "commit": git(repository, "rev-parse", "main"),
        "template": "service",
        "revision": git(template, "rev-parse", "HEAD"),
    }
    assert result.message == "6 added, 0 changed, 0 removed"
    assert files_of(repository) == {
        ".copier-answers.yml": "_src_path: templates/service\nreplicas: 3\nsize: large\nteam: payments",
        "NOTES.md": "made for large",
        "README.md": "# carts\n\nBy payments.\n\n## Use\n\nAsk.\n\n## Size\n\nlarge",
        "deploy.yaml": "replicas: 3",
        "large.txt": "only where it is large",
        "run.sh": "#!/bin/sh\nexec true",
    }
    assert git(repository, "ls-tree", "main", "run.sh").startswith("100755 blob")
    assert git(repository, "log", "-1", "--format=%B").splitlines()[2:] == [
        "Entresol-Request: request-1",
        "Entresol-Run: run-1",
        "Entresol-Step: run-1/only",
        "Entresol-Actor: user:ada",
        f"Entresol-Template: service@{result.outputs['revision']}",
        "Entresol-Resource: shop/dev/thing/one",
        "Entresol-Scaffold: only",
    ]


async def test_a_ref_a_plain_folder_and_a_repository_here_can_be_templates(
    driver: Scaffold, step: Callable[..., StepWork], settings: Settings, template: Path
) -> None:
    publish(template, {"template/deploy.yaml.jinja": "version: 2\n"})
    await driver.apply(step(ref="v1.0.0", repository="old"))
    assert files_of(settings.repositories / "old.git")["deploy.yaml"] == "replicas: 1"
    git(template, "clone", "--quiet", "--bare", ".", str(settings.repositories / "team" / "kit.git"))
    await driver.apply(step(template="team/kit", repository="new"))
    assert files_of(settings.repositories / "new.git")["deploy.yaml"] == "version: 2"
    plain = settings.templates / "team" / "plain"
    plain.mkdir(parents=True)
    (plain / "a.txt.jinja").write_text("{{ _folder_name }}\n")
    result = await driver.apply(replace(step(), with_={"template": "team/plain", "repository": "plain"}))
    assert result.outputs["revision"].startswith("sha256:")
    assert files_of(settings.repositories / "plain.git") == {"a.txt": "plain"}


async def test_an_answer_stays_what_it_is(driver: Scaffold, step: Callable[..., StepWork], repository: Path) -> None:
    answer = " ".join(("{{ 7 * 7 }}", "{% for x in y %}", "{# no #}", '${file("/etc/passwd")}', "a\nb: c", "é'\"\\"))
    await driver.apply(step(answers={"team": answer}))
    assert f"By {answer}." in files_of(repository)["README.md"]


async def test_an_update_is_merged_into_what_the_developers_did(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path, template: Path
) -> None:
    first = await driver.apply(step())
    push(repository, {"README.md": files_of(repository)["README.md"].replace("Ask.", "Call us.") + "\n"})
    push(repository, {"NOTES.md": "ours\n", "main.py": "run()\n", "run.sh": None})
    changed = {"template/README.md.jinja": SERVICE["template/README.md.jinja"].replace("## Size", "## How large")}
    publish(template, changed | {"template/new.txt": "new\n", "template/run.sh": "#!/bin/sh\nexec false\n"})
    work = step(2, "large", ref="main")
    plan = await driver.plan(work)
    assert [(one.address, one.change) for one in plan.resources] == [
        ("large.txt", "add"),
        ("new.txt", "add"),
        (".copier-answers.yml", "change"),
        ("README.md", "change"),
        ("deploy.yaml", "change"),
    ]
    second = await driver.apply(replace(work, approved=plan.digest))
    assert git(repository, "fsck", "--strict") == ""
    found = files_of(repository)
    assert found["README.md"] == "# carts\n\nBy payments.\n\n## Use\n\nCall us.\n\n## How large\n\nlarge"
    assert (found["NOTES.md"], found["main.py"], found["new.txt"]) == ("ours", "run()", "new")
    assert "run.sh" not in found, "what the developers removed stays removed"
    assert git(repository, "rev-parse", "main") == second.outputs["commit"] != first.outputs["commit"]
    push(repository, {"main.py": "stop()\n"})
    third = await driver.apply(step(3, "medium", ref="main"))
    assert files_of(repository)["main.py"] == "stop()"
    assert "large.txt" not in files_of(repository)
    assert (await driver.plan(step(4, "medium", ref="main"))).resources == ()
    assert (await driver.apply(step(5, "medium", ref="main"))).outputs == third.outputs


async def test_an_update_without_other_work_is_one_plain_commit(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step())
    await driver.apply(step(2, "large"))
    assert git(repository, "rev-list", "--count", "--no-merges", "main") == "2"
    assert git(repository, "rev-list", "--count", "main") == "2"


async def test_a_conflict_names_its_files_and_changes_nothing(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step())
    push(repository, {"deploy.yaml": "replicas: 7\n", "large.txt": "ours\n"})
    before = git(repository, "rev-parse", "main")
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed) as failed:
            await act(step(2, "large"))
        assert failed.value.reason.startswith(
            "the template and the repository have both changed deploy.yaml, large.txt; "
        )
    assert git(repository, "rev-parse", "main") == before


async def test_a_repository_elsewhere_is_begun_and_kept_current(
    driver: Scaffold, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    remote = bare(tmp_path / "remote.git")
    given = {"template": "service", "destination": "forge"}
    for number, size in ((1, "small"), (2, "large")):
        asked = make_work(with_=with_size(size) | given, destination={"repository": f"file://{remote}"})
        result = await driver.apply(later(asked, number))
        assert result.outputs["commit"] == git(remote, "rev-parse", "main")
    assert files_of(remote)["large.txt"] == "only where it is large"
    assert git(remote, "rev-list", "--count", "main") == "2"


async def test_with_track_the_template_has_its_way_in_its_files(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step(track=True))
    push(repository, {"deploy.yaml": "replicas: 7\n", "own.txt": "own\n", "run.sh": None, "NOTES.md": "ours\n"})
    seen = await driver.observe(step(2, track=True))
    assert seen.differences == (Difference("deploy.yaml", "changed"), Difference("run.sh", "removed"))
    assert (await driver.observe(step(2))).differences == ()
    await driver.apply(step(3, track=True))
    found = files_of(repository)
    assert (found["deploy.yaml"], found["own.txt"], found["NOTES.md"]) == ("replicas: 1", "own", "ours")
    assert "run.sh" in found


async def test_somebody_elses_repository_is_never_begun_in(
    driver: Scaffold, step: Callable[..., StepWork], settings: Settings, repository: Path
) -> None:
    await driver.apply(step())
    head = git(repository, "rev-parse", "main")
    other = replace(step(2), resource_id="shop/dev/thing/two", name="two")
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match="the repository carts holds something already"):
            await act(other)
    assert await driver.observe(other) == Observation(exists=False)
    with pytest.raises(StepFailed, match="was not made by this step, so it can't be adopted"):
        await driver.observe(replace(other, adopts=True))
    deleting = replace(other, with_={**other.with_, "onDelete": "delete"})
    assert (await driver.destroy(deleting)).message == "nothing there"
    assert git(repository, "rev-parse", "main") == head


async def test_an_empty_repository_is_filled_and_one_with_another_branch_is_not(
    driver: Scaffold, step: Callable[..., StepWork], settings: Settings, repository: Path
) -> None:
    settings.repositories.mkdir()
    for name in ("carts.git", "full.git"):
        git(settings.repositories, "init", "--quiet", "--bare", "--initial-branch=main", name)
    await driver.apply(step())
    git(repository, "push", "--quiet", str(settings.repositories / "full.git"), "main:other")
    with pytest.raises(StepFailed, match="the repository full holds something already"):
        await driver.apply(step(repository="full"))
    elsewhere = step(destination="forge")
    elsewhere = replace(elsewhere, destination={"repository": f"file://{settings.repositories}/full.git"})
    with pytest.raises(StepFailed, match="holds something already"):
        await driver.apply(elsewhere)


async def test_a_repository_is_deleted_only_where_the_offering_says_so(
    driver: Scaffold, step: Callable[..., StepWork], settings: Settings, repository: Path
) -> None:
    await driver.apply(step())
    assert (await driver.destroy(step(2))).kept == "the repository carts, because onDelete is keep"
    assert (await driver.plan(replace(step(3), destroys=True))).summary == ("the repository carts is kept",)
    plan = await driver.plan(replace(step(4, onDelete="delete"), destroys=True))
    assert plan.resources == (Touched("carts", "destroy", "repository"),)
    push(repository, {"late.txt": "work\n"})
    with pytest.raises(StepFailed, match="not what was approved"):
        await driver.destroy(replace(step(4, onDelete="delete"), approved=plan.digest))
    await driver.destroy(step(5, onDelete="delete"))
    assert [one.name for one in settings.repositories.iterdir()] == ["clone"]


async def test_what_others_push_meanwhile_is_kept(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driver.apply(step())
    move = refs.move
    pushed: list[str] = []

    def late(*arguments: Any) -> bool:
        if not pushed:
            pushed.append("x")
            push(repository, {"late.txt": "late\n"})
        return move(*arguments)

    monkeypatch.setattr(refs, "move", late)
    await driver.apply(step(2, "large"))
    assert {"late.txt", "large.txt"} <= files_of(repository).keys()


@pytest.mark.parametrize("on_delete", ["keep", "delete"])
async def test_a_repository_whose_history_was_rewritten_is_neither_gone_nor_deleted(
    driver: Scaffold, step: Callable[..., StepWork], repository: Path, tmp_path: Path, on_delete: str
) -> None:
    made = await driver.apply(step(onDelete=on_delete))
    git(tmp_path, "clone", "--quiet", str(repository), "squashed")
    tree = git(tmp_path / "squashed", "rev-parse", "HEAD^{tree}")
    git(tmp_path / "squashed", "push", "--quiet", "--force", "origin", f"{_commit(tmp_path, tree)}:main")
    work = replace(step(2, size="large", onDelete=on_delete), previous=made.outputs)
    assert await driver.observe(work) == Observation(exists=True, outputs=made.outputs)
    with pytest.raises(StepFailed, match=f"bring the commit {made.outputs['commit']} back into main"):
        await driver.apply(work)
    kept = (await driver.destroy(replace(work, attempted=True))).kept
    assert kept == "the repository carts, whose history does not tell any more who made it"
    assert "README.md" in files_of(repository)


def _commit(tmp_path: Path, tree: str) -> str:
    return git(tmp_path / "squashed", "commit-tree", tree, "-m", "squashed")

"""Templates and answers that nobody should write: a clear error, nothing is made, and nothing outside is read."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"scaffold_seconds": 3.0, "trusted_templates": frozenset({"trusted"})})


@pytest.fixture
def driver(settings: Settings) -> Scaffold:
    return Scaffold(settings)


@pytest.fixture
def template(settings: Settings) -> Callable[..., Path]:
    """Makes a plain folder as a template."""

    def make(files: dict[str, str], name: str = "given") -> Path:
        place = settings.templates / name
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        place.mkdir(parents=True, exist_ok=True)
        return place

    return make


def step(**with_: Any) -> StepWork:
    return make_work(with_={"template": "given", "repository": "carts", **with_})


async def why(driver: Scaffold, asked: StepWork, settings: Settings) -> str:
    with pytest.raises(StepFailed) as failed:
        await driver.apply(asked)
    assert failed.value.reason.isprintable()
    assert len(failed.value.reason) < 1000
    assert str(settings.data) not in failed.value.reason
    assert not settings.repositories.exists()
    assert not list((settings.data / "scratch").glob("*"))
    return failed.value.reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"template": "../given"}, "is not a template's name"),
        ({"template": "--upload-pack=touch x"}, "is not a template's name"),
        ({"template": "https://example.org/x.git"}, "is not a template's name; URLs can't be named here"),
        ({"template": "gh:a/b"}, "is not a template's name"),
        ({"template": "file:///etc"}, "is not a template's name"),
        ({"template": "/etc"}, "is not a template's name"),
        ({"template": "x" * 10_000}, "is not a template's name"),
        ({"template": "given.git"}, "is not a template's name"),
        ({"template": "none"}, "there is no template none"),
        ({"template": "link"}, "the template link is a symbolic link"),
        ({"template": None}, "/with/template: must be text"),
        ({"ref": "v1"}, "the template given is a plain folder, which has no v1"),
        ({"ref": "--upload-pack=x"}, "is not a usable branch name"),
        ({"ref": "x" * 10_000}, "is not a usable branch name"),
        ({"ref": 1}, "/with/ref: must be text; put it in quotes"),
        ({"repository": "../carts"}, "is not a repository name"),
        ({"repository": "x" * 10_000}, "is not a repository name"),
        ({"repository": "https://example.org/x"}, "a URL belongs into a Destination"),
        ({"repository": "--upload-pack=x"}, "a URL belongs into a Destination"),
        ({"branch": "--force"}, "is not a usable branch name"),
        ({"onDelete": "burn"}, "/with/onDelete: must be one of keep, delete"),
        ({"track": "yes"}, "/with/track: must be true or false"),
        ({"answers": None}, None),
        ({"answers": ["a"]}, "/with/answers: must be a map"),
        ({"answers": {"_exclude": "x"}}, "'_exclude' is not the name of a question"),
        ({"answers": {"a" * 10_000: 1}}, "is not the name of a question"),
        ({"answers": {"name": "x" * 300_000}}, "/with/answers: exceeds 256 KiB"),
        ({"answers": {"colour": "red"}}, "the template given: it does not ask colour; it asks name"),
        ({"anwsers": {}}, "/with/anwsers: unknown field anwsers; did you mean answers?"),
    ],
)
async def test_what_a_step_must_not_say_is_refused(
    driver: Scaffold, settings: Settings, template: Callable[..., Path], given: dict[str, Any], reason: str | None
) -> None:
    (template({"copier.yml": "name: {type: str, default: x}", "a.txt": "a"}).parent / "link").symlink_to("/etc")
    if reason is None:
        await driver.apply(step(**given))
    else:
        assert reason in await why(driver, step(**given), settings)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("../../up", "is forbidden"),
        ("/etc/up", "is forbidden"),
        (".git", "'.git/a.txt' is not a path that may be written to"),
        (".GIT", "'.GIT/a.txt' is not a path that may be written to"),
        ("-x", "'-x/a.txt' is not a path that may be written to"),
        ("x" * 10_000, "File name too long"),
        ("a\0b", "null byte"),
    ],
)
async def test_an_answer_can_t_lead_a_file_elsewhere(
    driver: Scaffold, settings: Settings, template: Callable[..., Path], answer: str, reason: str
) -> None:
    template({"copier.yml": "_exclude: []\nname: {type: str}", "{{ name }}/a.txt": "a"})
    assert reason in await why(driver, step(answers={"name": answer}), settings)
    assert not list(settings.data.rglob("up"))


async def test_an_answer_is_no_template_either_in_names_or_defaults(
    driver: Scaffold, settings: Settings, template: Callable[..., Path]
) -> None:
    text = "name: {type: str}\nother: {type: str, default: 'of {{ name }}'}"
    template({"copier.yml": text, "{{ name }}.txt.jinja": "{{ other }}"})
    await driver.apply(step(answers={"name": "{{ 7 * 7 }}{% x %}"}))
    shown = ["git", "show", "main:{{ 7 * 7 }}{% x %}.txt"]
    done = subprocess.run(shown, cwd=settings.repositories / "carts.git", capture_output=True, text=True, check=True)  # noqa: ASYNC221
    assert done.stdout == "of {{ 7 * 7 }}{% x %}"


UNSAFE = "Template uses potentially unsafe feature"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"copier.yml": "_tasks: ['touch ran']", "a": ""}, UNSAFE),
        ({"copier.yml": "_jinja_extensions: [os.path]", "a": ""}, UNSAFE),
        ({"copier.yml": "_migrations: ['touch ran']", "a": ""}, "it has _migrations, which can't be run"),
        ({"copier.yml": "_subdirectory: ../..", "a": ""}, "the template given: "),
        ({"copier.yml": f"!include {'../' * 30}etc/passwd", "a": ""}, "the template given: "),
        ({"copier.yml": "!include /etc/passwd", "a": ""}, "the template given: "),
        (
            {"copier.yml": "_external_data: {x: /etc/passwd}", "a.jinja": "{{ _external_data.x }}"},
            "the template given: ",
        ),
        ({"copier.yml": "[1, 2", "a": ""}, "the template given: "),
        ({"copier.yml": "- 1\n- 2", "a": ""}, "the template given: "),
        ({"copier.yml": "need: {type: str}", "a": ""}, 'Question "need" is required'),
        ({"copier.yml": "n: {type: int, default: x}", "a": ""}, "the template given: "),
        ({"a.jinja": "{% include '/etc/passwd' %}"}, "a.jinja line 1: "),
        ({"a.jinja": "{% include '../../../../../../etc/passwd' %}"}, "a.jinja line 1: "),
        ({"a.jinja": "one\n{{ ''.__class__.__mro__ }}"}, "a.jinja line 2: "),
        ({"a.jinja": "one\n{% if %}"}, "a.jinja line 2: "),
        ({"a.jinja": "one\n{{ 1 / 0 }}"}, "a.jinja line 2: division by zero"),
        ({"a.jinja": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"}, "was stopped"),
        ({"a.jinja": "{{ 'x' * 2000000000 }}"}, "could not be rendered"),
        ({"a.jinja": "{{ 'x' * 200000000 }}"}, "the template given"),
        ({"copier.yml": "a: 1"}, "the template given gives no file"),
    ],
)
async def test_a_template_that_wants_too_much_is_refused(
    driver: Scaffold, settings: Settings, template: Callable[..., Path], files: dict[str, str], reason: str
) -> None:
    template(files)
    assert reason in await why(driver, step(), settings)
    assert not list(settings.data.rglob("ran"))


async def test_tasks_run_where_the_operator_allows_them(
    driver: Scaffold, settings: Settings, template: Callable[..., Path]
) -> None:
    template({"copier.yml": "_tasks: ['echo made > made.txt']", "a": ""}, "trusted")
    assert (await driver.plan(step(template="trusted"))).summary == ("+ a", "+ made.txt")


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ({"passwd": "/etc/passwd"}, "the link passwd leads to no file of the template"),
        ({"up": "../../../../../../../../etc/passwd"}, "the link up leads to no file of the template"),
        ({"a1": "b1", "b1": "c1", "c1": "/etc/hostname"}, "leads to no file of the template"),
        ({"round": "round"}, "the link round leads to no file of the template"),
        ({"etc": "/etc"}, "the link etc leads to no file of the template"),
        ({"here": "."}, "the link here leads to no file of the template"),
    ],
)
async def test_links_lead_nowhere_outside(
    driver: Scaffold,
    settings: Settings,
    template: Callable[..., Path],
    links: dict[str, str],
    reason: str,
) -> None:
    place = template({"a.txt": "a"})
    for name, to in links.items():
        (place / name).symlink_to(to)
    assert reason in await why(driver, step(), settings)
    if "etc" not in links:
        return
    committed = ["git", "-c", "user.name=bo", "-c", "user.email=bo@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*committed, *arguments], cwd=place, check=True)  # noqa: ASYNC221
    assert reason in await why(driver, step(), settings)


async def test_links_to_files_of_the_template_are_copied(
    driver: Scaffold, settings: Settings, template: Callable[..., Path]
) -> None:
    place = template({"sub/a.txt": "text"})
    (place / "b.txt").symlink_to("c.txt")
    (place / "c.txt").symlink_to("sub/a.txt")
    assert (await driver.plan(step())).adds == 3
    (place / "copier.yml").write_text("_preserve_symlinks: true")
    assert "is no plain file, so it can't be kept" in await why(driver, step(), settings)


async def test_a_template_may_hold_only_files(
    driver: Scaffold, settings: Settings, template: Callable[..., Path]
) -> None:
    place = template({"a.txt": "a", "sub/b": "b"})
    os.mkfifo(place / "pipe")
    assert "the template's pipe is no file, folder or link" in await why(driver, step(), settings)
    (place / "pipe").unlink()
    (place / "sub" / ".git").mkdir()
    (place / "sub" / ".git" / "config").touch()
    assert "holds 'sub/.git/config', which no repository may have" in await why(driver, step(), settings)


async def test_a_destination_is_checked(driver: Scaffold, settings: Settings, template: Callable[..., Path]) -> None:
    template({"a.txt": "a"})
    for repository in ("--upload-pack=touch x", "ext::sh -c touch", "https://a:b@example.org/x", "file:///a/../b"):
        elsewhere = replace(step(destination="forge"), destination={"repository": repository})
        await why(driver, elsewhere, settings)
    nested = replace(step(), destination={"repository": "carts", "path": "sub"})
    assert "a scaffold fills a repository of its own" in await why(driver, nested, settings)
    deleting = replace(step(onDelete="delete"), destination={"repository": "https://example.org/x"})
    assert "onDelete: delete is only for repositories that are kept here" in await why(driver, deleting, settings)

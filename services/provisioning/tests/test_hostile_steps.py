"""Hostile values in steps that write to repositories and run terraform: refused, or taken literally; nothing else."""

import json
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.terraform import Terraform
from entresol_provisioning.drivers.terraform import driver as terraform
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, cloned, files_of, git

installed = pytest.mark.skipif(
    not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform is installed"
)
LITERAL = (
    '${file("/etc/passwd")}',
    '%{ for one in fileset("/etc", "*") }${one}%{ endfor }',
    "{{ scope }}",
    "{{ ''.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "--upload-pack=touch ran",
    "$(touch ran)",
    "`touch ran`",
)
MODULE = """
variable "text" { type = string }
resource "terraform_data" "one" { input = var.text }
output "text" { value = terraform_data.one.output }
"""
HUGE = """
variable "text" { type = string }
resource "terraform_data" "many" {
  count = 600
  input = "${count.index} ${var.text}"
}
"""


@pytest.fixture
async def gitops(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings)
    yield made
    await made.close()


def outside(place: Path) -> set[str]:
    """Whatever lies beneath, with links as such."""
    return {os.path.join(folder, name) for folder, folders, files in os.walk(place) for name in (*folders, *files)}


@pytest.mark.parametrize("text", LITERAL)
async def test_a_value_is_rendered_once_and_then_only_text(
    gitops: GitOps, work: Callable[..., StepWork], settings: Settings, text: str
) -> None:
    files = {"app.json": "{{ inputs.text | tojson }}"}
    scope = {"inputs": {"text": text}}
    await gitops.apply(work(with_={"repository": "infra", "create": True, "files": files}, scope=scope))
    written = git(settings.repositories / "infra.git", "show", "main:shop/dev/database/orders/app.json")
    assert json.loads(written) == text


@installed
@pytest.mark.parametrize("text", LITERAL)
async def test_a_variable_is_taken_literally(work: Callable[..., StepWork], settings: Settings, text: str) -> None:
    step = work(with_={"files": {"main.tf": MODULE}, "variables": {"text": text}})
    driver = Terraform(settings)
    assert (await driver.apply(step)).outputs == {"text": text}
    assert (await driver.observe(step)).outputs == {"text": text}
    assert not (settings.workspaces / "shop/dev/database/orders/only/ran").exists()


@pytest.mark.parametrize(
    "with_",
    [
        {"repository": "--upload-pack=touch ran"},
        {"repository": "../infra"},
        {"repository": "x" * 10_000},
        {"branch": "--upload-pack=touch"},
        {"branch": "../../main"},
        {"branch": "x" * 10_000},
        {"path": "../.."},
        {"path": "a/" * 5_000},
        {"files": {"--upload-pack=x": "x"}},
        {"files": {"../x": "x"}},
        {"files": {"x" * 10_000: "x"}},
        {"files": {"{{ '../' * 3 }}x": "x"}},
    ],
)
@pytest.mark.parametrize("method", ["plan", "apply", "destroy", "observe"])
async def test_hostile_places_are_refused_by_every_method_before_anything_is_written(
    gitops: GitOps,
    work: Callable[..., StepWork],
    settings: Settings,
    tmp_path: Path,
    method: str,
    with_: dict[str, Any],
) -> None:
    before = outside(tmp_path)
    step = work(with_={"repository": "infra", "create": True, "files": {"a": "x"}, **with_})
    with pytest.raises(StepFailed) as failure:
        await getattr(gitops, method)(step)
    assert len(failure.value.reason) < 1_000
    assert outside(tmp_path) == before


async def test_a_name_of_ten_kilobytes_is_no_path(gitops: GitOps, work: Callable[..., StepWork]) -> None:
    with pytest.raises(StepFailed, match="too long"):
        await gitops.apply(work(name="x" * 10_000, with_={"repository": "infra", "create": True, "files": {"a": "x"}}))


@installed
async def test_a_name_of_ten_kilobytes_is_a_workspace_all_the_same(
    work: Callable[..., StepWork], settings: Settings
) -> None:
    step = work(name="../" + "x" * 10_000, with_={"files": {"main.tf": MODULE}, "variables": {"text": "x"}})
    assert (await Terraform(settings).apply(step)).message == "1 added, 0 changed, 0 destroyed"
    (place,) = (settings.workspaces / "shop/dev/database").iterdir()
    assert len(place.name) == 32


@pytest.mark.parametrize("link", ["", "/objects", "/refs/heads", "/refs/heads/main"])
async def test_a_chain_of_links_beneath_the_root_is_not_followed(
    gitops: GitOps, work: Callable[..., StepWork], settings: Settings, tmp_path: Path, link: str
) -> None:
    elsewhere = bare(tmp_path / "elsewhere.git")
    bare(settings.repositories / "infra.git")
    place, aim = settings.repositories / f"infra.git{link}", elsewhere / link.removeprefix("/")
    if place.is_dir():
        shutil.rmtree(place)
    (tmp_path / "second").symlink_to(aim)
    (tmp_path / "first").symlink_to(tmp_path / "second")
    place.symlink_to(tmp_path / "first")
    before = outside(elsewhere)
    with pytest.raises(StepFailed, match="symbolic link"):
        await gitops.apply(work(with_={"repository": "infra", "files": {"a": "x"}}))
    assert outside(elsewhere) == before


@pytest.mark.parametrize("name", ["chain/passwd", "file", "deep/er/file", "loop/x"])
async def test_a_chain_of_links_in_the_tree_is_not_followed(
    gitops: GitOps, work: Callable[..., StepWork], tmp_path: Path, name: str
) -> None:
    remote = bare(tmp_path / "elsewhere.git")
    clone = cloned(remote, tmp_path / "clone")
    for link, aim in (("chain", "second"), ("second", "third"), ("third", "/etc"), ("loop", "loop"), ("deep", "chain")):
        (clone / link).symlink_to(aim)
    (clone / "file").symlink_to("/etc/passwd")
    git(clone, "checkout", "--quiet", "-b", "main")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "links")
    git(clone, "push", "--quiet", "origin", "main")
    there = files_of(remote)
    step = work(with_={"path": "", "files": {name: "x"}}, destination={"repository": f"file://{remote}"})
    with pytest.raises(StepFailed, match="in the way"):
        await gitops.apply(step)
    seen = await gitops.observe(step)
    assert [(one.path, one.change) for one in seen.differences] == [(name, "changed")]
    assert files_of(remote) == there


@pytest.mark.parametrize("link", ["main.tf", "entresol.tfvars.json", "terraform.tfstate", "templates"])
async def test_a_link_in_a_workspace_is_not_followed(
    work: Callable[..., StepWork], settings: Settings, tmp_path: Path, link: str
) -> None:
    place = settings.workspaces / "shop/dev/database/orders/only"
    place.mkdir(parents=True)
    target = tmp_path / "target"
    target.mkdir() if link == "templates" else target.write_text("mine")
    (tmp_path / "first").symlink_to(target)
    (place / link).symlink_to(tmp_path / "first")
    files = {"main.tf": MODULE, "templates/a.tpl": "x"}
    with pytest.raises(StepFailed):
        await Terraform(settings.model_copy(update={"terraform": "true"})).apply(work(with_={"files": files}))
    assert list(target.iterdir()) == [] if target.is_dir() else target.read_text() == "mine"


async def test_a_linked_workspace_is_refused(work: Callable[..., StepWork], settings: Settings, tmp_path: Path) -> None:
    settings.workspaces.mkdir()
    (settings.workspaces / "shop").symlink_to(tmp_path)
    step = work(with_={"files": {"main.tf": MODULE}, "variables": {"text": "x"}})
    for act in (Terraform(settings).apply, Terraform(settings).destroy, Terraform(settings).observe):
        with pytest.raises(StepFailed, match="symbolic link"):
            await act(step)


@installed
@pytest.mark.long
async def test_what_takes_fifty_megabytes_to_tell_is_observed_within_bounded_memory(
    work: Callable[..., StepWork], settings: Settings
) -> None:
    driver = Terraform(settings)
    few = HUGE.replace("600", "8")
    step = work(with_={"files": {"main.tf": few}, "variables": {"text": "x" * 1_200_000}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (await driver.apply(step)).message == "8 added, 0 changed, 0 destroyed"
    seen = await driver.observe(replace(step, with_={**step.with_, "variables": {"text": "y"}}))
    assert [one.path for one in seen.differences] == [f"terraform_data.many[{number}]#/input" for number in range(8)]
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 1024 * 1024


@installed
async def test_a_plan_that_is_too_large_is_told_and_nothing_is_done(
    work: Callable[..., StepWork], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform, "LARGEST_PLAN_BYTES", 1024 * 1024)
    step = work(with_={"files": {"main.tf": HUGE.replace("600", "60")}, "variables": {"text": "x" * 45_000}})
    driver = Terraform(settings)
    for act in (driver.plan, driver.apply):
        with pytest.raises(StepFailed, match="its plan exceeds 1 MiB"):
            await act(step)
    assert not (await driver.observe(step)).exists

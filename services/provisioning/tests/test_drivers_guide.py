"""docs/drivers.md does what it says: its driver passes the suite that it names, its program is run by the driver."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from entresol_provisioning.conformance import later, make_work
from entresol_provisioning.drivers import StepSuspended, StepWork
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.scopes import filled
from entresol_provisioning.settings import Settings

from services.provisioning.tests.kubernetes_places import place
from services.provisioning.tests.repositories import bare, files_of, git

GUIDE = (Path(__file__).parents[3] / "docs" / "drivers.md").read_text()
FILES = {found[1]: found[2] for found in re.finditer(r"^```python (\S+)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)}
OFFERINGS = {
    one["metadata"]["name"]: one
    for block in re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for one in yaml.safe_load_all(block)
    if one["kind"] == "Offering"
}


def step_of(offering: str, destination: dict[str, Any] | None = None, **inputs: object) -> StepWork:
    """The step of the guide's offering, as it is given to its driver."""
    (step,) = OFFERINGS[offering]["spec"]["actions"]["create"]["steps"]
    scope = {"request": {"project": "shop", "name": "one"}, "environment": "dev", "inputs": inputs}
    return make_work(with_=filled(step["with"], scope), scope=scope, inputs=inputs, destination=destination)


def test_every_offering_of_the_guide_is_run_below() -> None:
    assert set(OFFERINGS) == {"namespace", "disk", "cache", "new-service", "mailbox"}


async def test_the_namespace_of_the_guide_is_proposed(settings: Settings, tmp_path: Path) -> None:
    remote, driver = bare(tmp_path / "infrastructure"), assemble(settings)["gitops"]
    work = step_of("namespace", {"repository": f"file://{remote}", "branch": "main"})
    assert (await driver.plan(work)).adds == 1
    with pytest.raises(StepSuspended) as waits:
        await driver.apply(work)
    assert waits.value.memory
    branches = git(remote, "for-each-ref", "--format=%(refname)").splitlines()
    assert ["namespaces/shop-dev/namespace.yaml"] in [files_of(remote, branch) for branch in branches]


@pytest.mark.skipif(not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform")
async def test_the_disk_of_the_guide_is_made(settings: Settings) -> None:
    assert (await assemble(settings)["terraform"].apply(step_of("disk", size=5))).outputs == {"size": 5}


async def test_the_cache_of_the_guide_is_applied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place("stand-in", settings, monkeypatch) as here:
        cluster = {"kubeconfig": here.reference, "namespace": here.namespace}
        done = await here.driver.apply(step_of("cache", {"cluster": cluster}))
        assert done.outputs["map"] == "cache-one"
        made = await here.live("ConfigMap", "cache-one")
        assert made is not None
        assert made["data"] == {"project": "shop"}


async def test_the_service_of_the_guide_is_scaffolded(settings: Settings) -> None:
    template = settings.templates / "service"
    template.mkdir(parents=True)
    (template / "copier.yml").write_text("team: {type: str}\n")
    (template / "README.md.jinja").write_text("By {{ team }}.\n")
    await assemble(settings)["scaffold"].apply(step_of("new-service", team="carts"))
    (repository,) = settings.repositories.glob("shop-one*")
    assert "README.md" in files_of(repository)


def test_the_guide_has_a_table_of_every_driver(settings: Settings) -> None:
    listed = set(re.findall(r"^\| `([a-z]+)` \|", GUIDE, re.MULTILINE)) | {"noop"}
    assert listed == set(assemble(settings))


def test_the_driver_of_the_guide_passes_the_suite(tmp_path: Path) -> None:
    for name in ("abacus.py", "test_abacus.py"):
        (tmp_path / name).write_text(FILES[name])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "--asyncio-mode=auto", "-p", "no:cacheprovider", "test_abacus.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "18 passed" in done.stdout


async def test_the_program_of_the_guide_is_run(settings: Settings, tmp_path: Path) -> None:
    mailboxes = tmp_path / "mailboxes"
    program = settings.programs / "mailbox"
    program.parent.mkdir(parents=True)
    text = FILES["mailbox"].replace("/usr/bin/env python3", sys.executable)
    program.write_text(text.replace("/tmp/entresol-mailboxes", str(mailboxes)))
    program.chmod(0o755)
    driver = assemble(settings)["exec"]
    wanted = step_of("mailbox", quota=10)
    assert (await driver.plan(wanted)).adds == 1
    assert not mailboxes.exists()
    assert (await driver.apply(wanted)).outputs == {"quota": 10}
    (mailboxes / "one").write_text("99")
    (difference,) = (await driver.observe(later(wanted, 2, previous={"quota": 10}))).differences
    assert difference.path.endswith("one#/quota")
    gone = later(wanted, 3, destroys=True)
    await driver.destroy(gone)
    assert not (await driver.observe(replace(gone, previous={}))).exists


@pytest.mark.parametrize("name", ["mailbox", "abacus.py", "test_abacus.py"])
def test_the_guide_has_its_files(name: str) -> None:
    compile(FILES[name], name, "exec")

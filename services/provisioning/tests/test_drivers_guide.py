"""docs/drivers.md does what it says: its driver passes the suite that it names, its program is run by the driver."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from entresol_provisioning.conformance import later, make_work
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings

GUIDE = (Path(__file__).parents[3] / "docs" / "drivers.md").read_text()
FILES = {found[1]: found[2] for found in re.finditer(r"^```python (\S+)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)}


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
    wanted = make_work(with_={"program": "mailbox", "input": {"quota": 10}})
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

"""The service is killed around a program's effect: the program's own ledger tells how often it had it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CALLER = """
import asyncio, json, sys
from pathlib import Path
from entresol_eventing.failpoints import arm, failpoint
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers.exec import Exec
from entresol_provisioning.settings import Settings

async def main(data, point, attempted, approved):
    driver = Exec(Settings(data=Path(data)))
    work = make_work(with_={"program": "pay"}, attempted=bool(attempted), approved=approved or None)
    if point == "plan":
        print((await driver.plan(work)).digest)
        return
    arm(point)
    failpoint("effect.before")
    result = await driver.apply(work)
    failpoint("effect.after")
    print(json.dumps(result.outputs))

asyncio.run(main(*sys.argv[1:]))
"""
PAY = """#!/bin/sh
test "$ENTRESOL_DRY_RUN" = 1 && echo '{"adds": 1}' > output/plan.json && exit 0
echo paid >> ../../../../../../../../ledger
while test -e ../../../../../../../../hold; do sleep 0.05; done
echo '{"receipt": 1}' > output/outputs.json
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    program = tmp_path / "programs" / "pay"
    program.parent.mkdir()
    program.write_text(PAY)
    program.chmod(0o755)
    return tmp_path


def call(data: Path, point: str = "", attempted: str = "", approved: str = "") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", CALLER, str(data), point, attempted, approved]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("point", "approves"),
    [
        ("effect.before", False),
        ("effect.middle", False),
        ("effect.running", False),
        ("effect.after", False),
        ("effect.running", True),
        pytest.param("effect.before", True, marks=pytest.mark.long),
        pytest.param("effect.middle", True, marks=pytest.mark.long),
        pytest.param("effect.after", True, marks=pytest.mark.long),
    ],
)
def test_a_crash_of_the_service_repeats_no_effect(data: Path, point: str, approves: bool) -> None:
    approved = call(data, "plan").stdout.strip() if approves else ""
    # The first program that runs is the one that looks, if there is a plan to hold to.
    at = f"{point}@2" if approves and point == "effect.running" else point
    assert call(data, at, approved=approved).returncode == -signal.SIGKILL
    done = call(data, attempted="yes", approved=approved)
    assert json.loads(done.stdout) == {"receipt": 1}, done.stderr
    assert (data / "ledger").read_text() == "paid\n"


def test_the_next_attempt_waits_for_a_program_that_goes_on_by_itself(data: Path) -> None:
    (data / "hold").touch()
    assert call(data, "effect.running").returncode == -signal.SIGKILL
    second = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(data), "", "yes", ""], stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    (data / "hold").unlink()
    assert json.loads(second.communicate(timeout=60)[0]) == {"receipt": 1}
    assert (data / "ledger").read_text() == "paid\n"


def test_a_program_whose_supervisor_died_too_is_told_that_it_was_started_before(data: Path) -> None:
    (data / "hold").touch()
    assert call(data, "effect.running").returncode == -signal.SIGKILL
    until = time.monotonic() + 30
    while not (supervisors := _supervisors(data)):  # it may not have begun yet
        assert time.monotonic() < until
        time.sleep(0.01)
    for supervisor in supervisors:
        os.kill(supervisor, signal.SIGKILL)
    (data / "hold").unlink()
    assert json.loads(call(data, attempted="yes").stdout) == {"receipt": 1}
    told: dict[str, Any] = json.loads(next(data.rglob("object.json")).read_text())
    assert (told["attempt"], told["idempotencyKey"]) == (2, "run-1/only")


def _supervisors(data: Path) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if "supervisor.py" in (one / "cmdline").read_text() and os.readlink(one / "cwd").startswith(str(data)):
                found.append(int(one.name))
        except OSError:
            continue
    return found

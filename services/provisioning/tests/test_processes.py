"""Programs that drivers run: what becomes of them when the service dies in between."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from entresol_provisioning.drivers.processes import run

CALLER = """
import asyncio, os, sys
from pathlib import Path
from entresol_provisioning.drivers.processes import run

program = ["sh", "-c", "echo $$ > started; while [ ! -e go ]; do sleep 0.02; done; echo said; echo done > finished"]
asyncio.run(run(program, env=dict(os.environ), directory=Path(sys.argv[1])))
"""


def _until(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.01)


def test_a_program_finishes_although_its_service_was_killed(tmp_path: Path) -> None:
    """What it says must not kill it: between an effect and its record in a state file that would repeat the effect."""
    caller = subprocess.Popen([sys.executable, "-c", CALLER, str(tmp_path)])
    _until(tmp_path / "started")
    caller.kill()
    caller.wait()
    (tmp_path / "go").touch()
    _until(tmp_path / "finished")


async def test_what_a_program_says_is_told_with_its_end(tmp_path: Path) -> None:
    done = await run(["sh", "-c", "echo out; echo err >&2; exit 3"], env=dict(os.environ), directory=tmp_path)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


async def test_much_output_is_told_from_its_end(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "print('x' * 20_000_000); print('last words')"]
    done = await asyncio.wait_for(run(program, env=dict(os.environ), directory=tmp_path), 60)
    assert done.out.endswith("last words\n")
    assert len(done.out) < 10_000_000

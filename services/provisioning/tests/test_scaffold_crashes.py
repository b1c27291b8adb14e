"""The service is killed while it makes or changes a repository: one commit of each step, and nothing is left locked."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CALLER = """
import asyncio, sys
from pathlib import Path
from entresol_eventing.failpoints import arm, failpoint
from entresol_provisioning.conformance import later, make_work
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.settings import Settings

async def main(data, elsewhere, *attempts):
    driver = Scaffold(Settings(data=Path(data), allow_local_repositories=True))
    for attempt in attempts:
        does, number, point = attempt.split("/")
        with_ = {"template": "kit", "answers": {"n": int(number)}, "repository": "carts", "onDelete": "delete"}
        destination = None
        if elsewhere:
            with_ |= {"destination": "forge", "onDelete": "keep"}
            destination = {"repository": f"file://{data}/remote.git"}
        work = later(make_work(with_=with_, destination=destination, attempted=not point), number)
        arm(point)
        failpoint("effect.before")
        await getattr(driver, does)(work)
        failpoint("effect.after")

asyncio.run(main(*sys.argv[1:]))
"""
POINTS_OF_DELETING = [
    "effect.middle",
    *(pytest.param(f"effect.{one}", marks=pytest.mark.long) for one in ("before", "after")),
]
OTHER_POINTS = ["effect.before", "effect.running", "effect.after"]
POINTS = ["effect.middle", *(pytest.param(one, marks=pytest.mark.long) for one in OTHER_POINTS)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    place = tmp_path / "templates" / "kit"
    place.mkdir(parents=True)
    (place / "copier.yml").write_text("n: {type: int}")
    (place / "n.txt.jinja").write_text("{{ n }}")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    return tmp_path


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=place, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def call(data: Path, elsewhere: str, *attempts: str) -> int:
    """Make one attempt after another; each is what it does, the step's number, and where the service is killed."""
    program = [sys.executable, "-c", CALLER, str(data), elsewhere, *attempts]
    return subprocess.run(program, timeout=60, check=False).returncode


@pytest.mark.parametrize("elsewhere", ["", "elsewhere"], ids=["here", "elsewhere"])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_repeats_no_commit(data: Path, point: str, elsewhere: str) -> None:
    repository = data / "remote.git" if elsewhere else data / "repositories" / "carts.git"
    assert call(data, elsewhere, f"apply/1/{point}") == -signal.SIGKILL
    assert call(data, elsewhere, "apply/1/", f"apply/2/{point}") == -signal.SIGKILL
    assert call(data, elsewhere, "apply/2/") == 0
    assert git(repository, "log", "--format=%(trailers:key=Entresol-Step,valueonly)", "main").split() == [
        "run-2/only",
        "run-1/only",
    ]
    assert [git(repository, "show", f"{one}:n.txt") for one in ("main", "main~1")] == ["2", "1"]
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("point", POINTS_OF_DELETING)
def test_a_crash_leaves_no_repository_half_deleted(data: Path, point: str) -> None:
    assert call(data, "", "apply/1/", f"destroy/2/{point}") == -signal.SIGKILL
    assert call(data, "", "destroy/2/") == 0
    assert os.listdir(data / "repositories") == []

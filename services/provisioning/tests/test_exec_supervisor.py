"""Programs under a supervisor: each limit holds, and nothing of them stays."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.testing import eventually
from entresol_provisioning.drivers.processes import Ended, Limits, read_end, supervise

LIMITS = Limits(
    cpu_seconds=2, memory_bytes=512 * 1024**2, file_bytes=4 * 1024**2, processes=30, open_files=64, grace_seconds=0.3
)
BOMB = """
for _ in range(200):
    if os.fork() == 0:
        {}
        time.sleep(600)
time.sleep(600)
"""
WRITER = """
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
write = {}
while True:
    write(bytes(1 << 20))
"""
DETACHED = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("pid", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists("pid") or not open("pid").read():
    time.sleep(0.01)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work" / "output").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Callable[..., Any]:
    async def run(code: str, limits: Limits = LIMITS, seconds: float | None = 60, **options: Any) -> Ended:
        return await supervise(
            (sys.executable, "-c", code),
            env={"PATH": os.environ["PATH"]},
            directory=place / "work",
            said=place,
            ended=place / "ended.json",
            limits=limits,
            seconds=seconds,
            facts={"number": 1},
            **options,
        )

    return run


@pytest.fixture(autouse=True)
async def _nothing_stays(place: Path) -> AsyncIterator[None]:
    yield
    assert processes_in(place) == []


def processes_in(place: Path) -> list[str]:
    """Programs that work there."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(one / "cwd").startswith(str(place)) and "Z" not in (one / "stat").read_text().split(")")[1]:
                found.append((one / "cmdline").read_text())
        except OSError:
            continue
    return found


async def test_an_exit_code_and_the_callers_facts_are_told(run: Callable[..., Any], place: Path) -> None:
    ended = await run("import sys; print('said'); sys.exit(7)")
    assert ended == Ended(code=7, signal=None, stopped=None, error=None, facts={"number": 1})
    assert ended == read_end(place / "ended.json")
    assert (place / "out").read_text() == "said\n"


async def test_what_cant_be_started_says_why(place: Path) -> None:
    (place / "script").write_text("no interpreter is named\n")
    (place / "script").chmod(0o700)
    given: dict[str, Any] = {"env": {}, "directory": place / "work", "said": place, "ended": place / "ended.json"}
    ended = await supervise((str(place / "script"),), **given, limits=LIMITS, seconds=5, facts={})
    assert ended.error == "Exec format error"


@pytest.mark.parametrize(
    ("code", "stopped"),
    [
        pytest.param("while True: pass", "cpu", id="cpu"),
        pytest.param("for _ in range(4): os.fork()\nwhile True: pass", "cpu", id="cpu-of-all"),
        pytest.param(BOMB.format("pass"), "processes", id="fork-bomb"),
        pytest.param(BOMB.format("os.setsid()"), "processes", id="detached-fork-bomb"),
        pytest.param(BOMB.format("x = os.urandom(90 << 20)"), "memory", id="memory-of-all"),
        pytest.param(WRITER.format("open('big', 'wb', 0).write"), "file", id="file"),
        pytest.param(WRITER.format("lambda text: os.write(1, text)"), "file", id="output"),
        pytest.param("for n in range(9999): open(f'big-{n}', 'wb').write(bytes(3 << 20))", "disk", id="disk"),
    ],
)
async def test_a_limit_ends_it(run: Callable[..., Any], code: str, stopped: str) -> None:
    limits = replace(LIMITS, processes=300) if stopped == "memory" else LIMITS
    assert (await run(f"import os, signal, time\n{code}", limits)).stopped == stopped


async def test_memory_beyond_the_limit_is_not_given(run: Callable[..., Any], place: Path) -> None:
    assert (await run("x = bytes(1 << 30)")).code == 1
    assert (place / "err").read_text().endswith("MemoryError\n")


async def test_it_is_stopped_when_its_time_is_over_although_it_ignores_the_request(run: Callable[..., Any]) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    ended = await run(code, seconds=0.5)
    assert (ended.stopped, ended.signal) == ("time", 9)


async def test_it_may_end_by_itself_when_it_is_asked_to(run: Callable[..., Any], place: Path) -> None:
    code = """
import signal, sys, time
def end(*_):
    open("tidied", "w").close()
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
time.sleep(600)
"""
    ended = await run(code, replace(LIMITS, grace_seconds=20), seconds=1)
    assert (ended.stopped, ended.code) == ("time", 3)
    assert (place / "work" / "tidied").exists()


async def test_what_it_left_running_in_a_session_of_its_own_is_ended(run: Callable[..., Any], place: Path) -> None:
    assert (await run(DETACHED)).code == 0
    assert (place / "work" / "pid").exists()


async def test_a_program_that_stops_its_supervisor_is_held_to_its_limits(run: Callable[..., Any]) -> None:
    code = "import os, signal, time\nif os.fork() == 0: os.setsid()\nos.kill(os.getppid(), signal.SIGSTOP)\n"
    ended = await run(code + "while True: time.sleep(1)", seconds=0.3)
    assert ended.stopped == "time"


async def test_a_cancelled_call_leaves_nothing(run: Callable[..., Any], place: Path) -> None:
    task = asyncio.create_task(run(DETACHED + "time.sleep(600)"))
    await eventually(partial(asyncio.to_thread, (place / "work" / "pid").exists))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ended = read_end(place / "ended.json")
    assert ended is not None
    assert ended.stopped == "stop"


CALLER = """
import asyncio, sys
from pathlib import Path
from entresol_provisioning.drivers.processes import Limits, supervise

place = Path(sys.argv[1])
limits = Limits(cpu_seconds=2, memory_bytes=2**29, file_bytes=2**22, processes=30)
code = "import os, time; open('started', 'w'); exec('while not os.path.exists(\\"go\\"): time.sleep(0.01)')"
options = {"directory": place / "work", "said": place, "ended": place / "ended.json"}
asyncio.run(
    supervise(
        [sys.executable, "-c", code], env={}, limits=limits, seconds=60, facts={},
        dies_with_caller=len(sys.argv) > 2, **options
    )
)
"""


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("dies", [True, False])
def test_it_goes_on_without_its_caller_or_dies_with_it(place: Path, dies: bool) -> None:
    caller = subprocess.Popen([sys.executable, "-c", CALLER, str(place), *["dies"] * dies])
    _until((place / "work" / "started").exists)
    caller.kill()
    caller.wait()
    if not dies:
        (place / "work" / "go").touch()
    _until((place / "ended.json").exists)
    ended = read_end(place / "ended.json")
    assert ended is not None
    assert (ended.stopped, ended.code) == (("stop", None) if dies else (None, 0))
    _until(lambda: not processes_in(place))

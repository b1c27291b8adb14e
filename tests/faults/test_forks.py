"""The fork server: what it starts is a process like any other, and nothing outlives its client."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import ForkServer, await_end


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    one = ForkServer()
    yield one
    one.close()


def show() -> None:
    """What the tests let a forked process do."""
    print(os.environ["SHOWN"], os.getsid(0) == os.getpid(), flush=True)
    if os.environ["SHOWN"] == "wait":
        time.sleep(600)
    sys.exit(int(os.environ.get("STATUS", "0")))


def await_text(file: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not file.exists() or text not in file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_has_its_own_environment_output_and_status(server: ForkServer, tmp_path: Path) -> None:
    processes = [
        server.start(
            f"{__name__}:show", {**os.environ, "SHOWN": f"one-{number}", "STATUS": str(number)}, tmp_path / str(number)
        )
        for number in range(3)
    ]
    assert [await_end(one, 60) for one in processes] == [0, 1, 2]
    assert [(tmp_path / str(number)).read_text() for number in range(3)] == [f"one-{n} True\n" for n in range(3)]


def test_the_status_tells_the_signal_that_ended_it(server: ForkServer, tmp_path: Path) -> None:
    process = server.start(f"{__name__}:show", {**os.environ, "SHOWN": "wait"}, tmp_path / "out")
    assert process.poll() is None
    with pytest.raises(TimeoutError):
        await_end(process, 0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert await_end(process, 60) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_nothing_outlives_a_client_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from tests.forks import ForkServer;"
        "process = ForkServer().start(sys.argv[1], {**os.environ, 'SHOWN': 'wait'}, pathlib.Path(sys.argv[2]));"
        "print(process.pid, flush=True); signal.pause()"
    )
    output = tmp_path / "out"
    command = [sys.executable, "-c", code, f"{__name__}:show", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        await_text(output, "wait")
        client.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the process goes on without anybody who could end it"
        time.sleep(0.01)

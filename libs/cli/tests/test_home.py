"""The data directory: one platform at a time, and how clients find it."""

import json
import os
import stat
from pathlib import Path

import pytest
from entresol.embedded.home import Home, Running, home
from entresol.failures import Failure


def test_a_directory_is_claimed_by_one_platform_at_a_time(tmp_path: Path) -> None:
    here = Home(tmp_path / "data")
    with here.claimed():
        here.advertise("http://127.0.0.1:1")
        assert here.in_use()
        with (
            pytest.raises(Failure, match=f"already running .* at http://127.0.0.1:1 .process {os.getpid()}"),
            here.claimed(),
        ):
            pass
    assert not here.in_use()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "locked" / "lock").mkdir(parents=True)
    for place, why in (("file", "File exists"), ("file/data", "Not a directory"), ("locked", "Is a directory")):
        with (
            pytest.raises(Failure, match=f"/{place} can't be written: {why}") as told,
            Home(tmp_path / place).claimed(),
        ):
            pass
        assert "--data" in told.value.hints[0]


def test_what_a_platform_advertised_is_gone_with_it(tmp_path: Path) -> None:
    here = Home(tmp_path)
    with here.claimed():
        here.advertise("http://127.0.0.1:1")
        assert here.advertised() == Running("http://127.0.0.1:1", os.getpid())
    assert here.advertised() is None


def test_a_file_left_by_a_crash_is_not_a_running_platform(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": os.getpid()}))
    assert Home(tmp_path).end(grace_seconds=1) is False


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "x"}', "null"])
def test_a_damaged_file_advertises_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)
    assert Home(tmp_path).advertised() is None


def test_the_directory_is_the_owners_alone(tmp_path: Path) -> None:
    with Home(tmp_path / "data").claimed():
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_what_is_given_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTRESOL_DATA", str(tmp_path / "environment"))
    assert home().data == tmp_path / "environment"
    assert home(tmp_path / "given").data == tmp_path / "given"

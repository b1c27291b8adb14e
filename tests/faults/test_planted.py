"""Planted bugs get in, and the judge catches some that are cheap to try; `make faults-trust` tries all of them."""

import os
from pathlib import Path

import pytest

from tests.faults import drivers, scenarios, tallied
from tests.faults.planted import BUGS, Bug
from tests.faults.trust import chosen, run
from tests.forks import PLANTED, await_end, fork_server

ALL = list(BUGS.values())
END_SECONDS = 60


@pytest.mark.parametrize("bug", ALL, ids=BUGS)
def test_what_a_bug_replaces_is_there(bug: Bug, tmp_path: Path) -> None:
    output = tmp_path / "output"
    process = fork_server().start("gc:collect", {**os.environ, PLANTED: bug.name}, output)
    assert await_end(process, END_SECONDS) == 0, output.read_text()


@pytest.mark.parametrize("bug", ALL, ids=BUGS)
def test_a_bug_has_words_and_a_scenario_that_starts_its_service(bug: Bug) -> None:
    assert bug.words.endswith(".")
    if bug.where == "tally":
        assert bug.scenario in tallied.SCENARIOS
    elif bug.where == "provisioning" and bug.scenario not in scenarios.SCENARIOS:
        assert bug.scenario in drivers.SCENARIOS
    else:
        assert bug.where in scenarios.SCENARIOS[bug.scenario].struck


def test_every_scenario_has_a_bug() -> None:
    assert {bug.scenario for bug in ALL} == {*scenarios.SCENARIOS, *drivers.SCENARIOS, *tallied.SCENARIOS}


@pytest.mark.timeout(300)
def test_an_unknown_bug_is_no_clean_control(tmp_path: Path) -> None:
    process = fork_server().start("gc:collect", {**os.environ, PLANTED: "no-such-bug"}, tmp_path / "output")
    assert await_end(process, END_SECONDS) != 0


@pytest.mark.timeout(300)
def test_bugs_of_a_small_reader_are_caught_and_a_sound_one_is_clean() -> None:
    played = run(chosen(["parked-key-forgotten", "gap-ignored"]), 1)
    assert [one.line() for one in played if not one.is_as_it_should_be] == []
    assert len(played) == 4


@pytest.mark.timeout(300)
def test_a_bug_that_is_not_caught_is_a_failure() -> None:
    """A scenario without the fault that the bug needs must not pass for having caught it."""
    harmless = Bug(BUGS["gap-ignored"].plant, "tally", "poison", "lost")
    (played,) = run([("poison", harmless)], 1)
    assert not played.is_as_it_should_be

"""The stages of an offering's versions, folded from what was told of them."""

from datetime import UTC, datetime, timedelta

import pytest
from entresol_catalog.domain.offerings import Stages
from hypothesis import given
from hypothesis import strategies as st

BEGAN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
VERSIONS = ["1.0.0", "1.2.0", "1.10.0", "2.0.0"]


def told(*said: tuple[str, str]) -> Stages:
    stages = Stages("database")
    for second, (version, stage) in enumerate(said):
        stages.stage(version, stage, BEGAN + timedelta(seconds=second), "user:grace", None)  # type: ignore[arg-type]
    return stages


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ([], [None, None, None, "default"]),
        ([("2.0.0", "proposed")], [None, None, "default", "proposed"]),
        ([("2.0.0", "defective"), ("1.10.0", "deprecated")], [None, "default", "deprecated", "defective"]),
        ([("1.2.0", "default")], [None, "default", None, None]),
        ([("1.2.0", "default"), ("2.0.0", "default")], [None, None, None, "default"]),
        ([("1.2.0", "default"), ("2.0.0", "default"), ("1.2.0", "deprecated")], [None, "deprecated", None, "default"]),
        ([("2.0.0", "default"), ("2.0.0", "defective")], [None, None, None, "defective"]),
        ([("2.0.0", "default"), ("2.0.0", "defective"), ("1.2.0", "default")], [None, "default", None, "defective"]),
        ([("3.0.0", "default")], [None, None, None, None]),
    ],
)
def test_each_version_has_the_stage_that_was_told_last(said: list[tuple[str, str]], shown: list[str | None]) -> None:
    stages = told(*said)
    assert [stages.of(one, VERSIONS) for one in VERSIONS] == shown
    default = [one for one, stage in zip(VERSIONS, shown, strict=True) if stage == "default"]
    assert stages.default(VERSIONS) == (default[0] if default else None)


def test_what_is_not_in_force_is_not_the_default() -> None:
    assert told(("2.0.0", "default")).default(["1.0.0"]) is None
    assert told().default([]) is None


def test_a_stage_that_is_told_again_or_too_late_changes_nothing() -> None:
    stages = Stages("database")
    assert stages.stage("1.0.0", "default", BEGAN, "user:grace", None, 1)
    assert stages.stage("2.0.0", "default", BEGAN + timedelta(seconds=1), "user:grace", "it is better", 2)
    assert not stages.stage("2.0.0", "default", BEGAN + timedelta(seconds=2), "user:grace", "it is better", 2)
    assert not stages.stage("1.0.0", "default", BEGAN, "user:grace", None), "the same fact again"
    assert not stages.stage("2.0.0", "defective", BEGAN + timedelta(seconds=3), "user:grace", None, 1), "an older fact"
    assert stages.default(VERSIONS) == "2.0.0"
    assert stages.stage("1.0.0", "default", BEGAN + timedelta(seconds=4), "user:grace", None, 3), "and back"
    assert (stages.default(VERSIONS), stages.of("2.0.0", VERSIONS)) == ("1.0.0", None)


@given(
    st.lists(
        st.tuples(st.sampled_from(VERSIONS), st.sampled_from(["proposed", "default", "deprecated", "defective"])),
        max_size=20,
    )
)
def test_there_is_one_default_at_the_most_and_everything_else_is_as_it_was_told(said: list[tuple[str, str]]) -> None:
    stages = told(*said)
    shown = {one: stages.of(one, VERSIONS) for one in VERSIONS}
    assert list(shown.values()).count("default") <= 1
    last = dict(said)
    for version, stage in shown.items():
        if version in last and last[version] != "default":
            assert stage == last[version]

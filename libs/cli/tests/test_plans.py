"""What is told of a plan."""

from typing import Any

import pytest
from entresol.telling.plans import MOST_LINES, figures, outline

PLAN = {"digest": "sha256:" + "a" * 64, "adds": 2, "changes": 0, "destroys": 1}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "2 to add, 0 to change, 1 to destroy"),
        ({"cost": 40.5}, "2 to add, 0 to change, 1 to destroy, 40.5 a month"),
        (
            {"unknown": ["dns", "mail"]},
            "2 to add, 0 to change, 1 to destroy, unknown before others are applied: dns, mail",
        ),
    ],
)
def test_figures(more: dict[str, Any], told: str) -> None:
    assert figures(PLAN | more) == told


def test_an_outline_names_its_digest_and_what_would_change() -> None:
    lines = [one.plain for one in outline(PLAN | {"summary": ["create a", "create b", "destroy c"]})]
    assert lines == [
        "  plan: 2 to add, 0 to change, 1 to destroy  (sha256:aaaaaaaaaaaa)",
        "    create a",
        "    create b",
        "    destroy c",
    ]


def test_a_plan_with_steps_tells_which_step_does_it() -> None:
    steps = [{"name": "database", "summary": ["+ table"]}, {"name": "dns", "summary": []}]
    assert [one.plain for one in outline(PLAN | {"steps": steps})][1:] == ["    database: + table"]


def test_a_long_plan_is_cut_and_says_so() -> None:
    lines = outline(PLAN | {"summary": [f"create {n}" for n in range(MOST_LINES + 5)]})
    assert len(lines) == MOST_LINES + 2
    assert lines[-1].plain == "    and 5 more"


@pytest.mark.parametrize("nothing", [None, {}, "plan"])
def test_where_nothing_was_planned_nothing_is_told(nothing: Any) -> None:
    assert outline(nothing) == []


def test_a_plan_cannot_steer_the_terminal() -> None:
    hostile = "a\x1b[2J\u202eb"
    told = outline({**PLAN, "digest": hostile, "summary": [hostile], "unknown": [hostile]})
    assert not set("\x1b\u202e") & set("".join(one.plain for one in told))

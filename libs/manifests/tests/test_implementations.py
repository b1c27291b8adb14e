"""The implementation that fits best is chosen, and everybody can read why."""

from typing import Any

import pytest
from entresol_manifests.implementations import Way, choose, steps_of
from hypothesis import given
from hypothesis import strategies as st

HERE = {"environment": "prod", "project": "shop", "class_": "fast"}


def spec(*matches: dict[str, list[str]]) -> dict[str, Any]:
    ways = [{"name": f"way-{place}", "match": match, "actions": {}} for place, match in enumerate(matches)]
    return {"actions": {"create": {}}, "implementations": ways}


PROJECT, ENVIRONMENT, CLASS = {"project": ["shop"]}, {"environment": ["dev", "prod"]}, {"class": ["fast"]}
ELSEWHERE = {"environment": ["dev", "staging"]}


@pytest.mark.parametrize(
    ("matches", "chosen"),
    [
        ([], None),
        ([ELSEWHERE], None),
        ([ELSEWHERE, ENVIRONMENT], "way-1"),
        ([PROJECT, ENVIRONMENT | CLASS], "way-1"),
        ([CLASS, ENVIRONMENT, PROJECT], "way-2"),
        ([CLASS, ENVIRONMENT], "way-1"),
        ([ENVIRONMENT | CLASS, PROJECT | CLASS, PROJECT | ENVIRONMENT], "way-2"),
        ([ENVIRONMENT, {"environment": ["prod"]}], "way-0"),
        ([PROJECT | ELSEWHERE, CLASS], "way-1"),
        ([PROJECT | ENVIRONMENT, PROJECT | ENVIRONMENT | CLASS], "way-1"),
    ],
)
def test_the_most_specific_implementation_that_matches_is_chosen(
    matches: list[dict[str, list[str]]], chosen: str | None
) -> None:
    assert choose(spec(*matches), **HERE).name == chosen


def test_what_has_no_class_is_matched_by_no_class() -> None:
    assert choose(spec(CLASS, PROJECT | CLASS), environment="prod", project="shop").name is None


def test_each_candidate_says_why() -> None:
    offered = spec(ELSEWHERE, PROJECT, PROJECT | CLASS, {"class": ["cheap"]}, PROJECT | CLASS)
    choice = choose(offered, **HERE)
    assert choice.why == "project shop and class fast matches"
    assert [(each.name, each.matches, each.why) for each in choice.candidates] == [
        ("way-0", False, "environment is prod, not dev or staging"),
        ("way-1", True, "project shop matches, but way-2 is more specific: project shop and class fast"),
        ("way-2", True, "chosen: project shop and class fast matches"),
        ("way-3", False, "class is fast, not cheap"),
        ("way-4", True, "project shop and class fast matches, but way-2 comes first"),
    ]
    unmatched = choose(spec(CLASS), environment="dev", project="shop")
    assert (unmatched.candidates[0].why, unmatched.why) == (
        "class is not given, not fast",
        "the offering's own steps: none of its implementations matches",
    )
    assert choose({"actions": {}}, **HERE).why == "the offering's own steps: it has no implementations"


NAMES = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True)
MATCHES = st.dictionaries(st.sampled_from(["project", "environment", "class"]), NAMES, min_size=1)


@given(st.lists(MATCHES, max_size=6), st.sampled_from("ab"), st.sampled_from("ab"), st.sampled_from(["a", None]))
def test_the_chosen_one_matches_and_none_that_matches_names_more(
    matches: list[dict[str, list[str]]], project: str, environment: str, class_: str | None
) -> None:
    offered = spec(*matches)
    choice = choose(offered, environment=environment, project=project, class_=class_)
    sizes = {each["name"]: len(each["match"]) for each in offered["implementations"]}
    fitting = [each.name for each in choice.candidates if each.matches]
    assert [each.name for each in choice.candidates] == list(sizes)
    if choice.name is None:
        assert fitting == []
    else:
        assert choice.name in fitting
        assert sizes[choice.name] == max(sizes[each] for each in fitting)
        assert sum(each.why.startswith("chosen") for each in choice.candidates) == 1


def step(name: str) -> dict[str, Any]:
    return {"name": name, "driver": "noop"}


OFFERED = {
    "actions": {
        "create": {"steps": [step("own")], "onFailure": "compensate"},
        "rotate": {"steps": [step("rotate")]},
        "restart": {"onFailure": "compensate"},
    },
    "implementations": [
        {
            "name": "cloud",
            "match": PROJECT,
            "actions": {
                "create": {"steps": [step("cloud")]},
                "restart": {"steps": [step("restart")]},
                "delete": {"steps": []},
            },
        },
        {"name": "rotating", "match": CLASS, "actions": {"rotate": {"steps": [step("other")], "onFailure": "keep"}}},
    ],
}


@pytest.mark.parametrize(
    ("implementation", "action", "names", "on_failure"),
    [
        (None, "create", ["own"], "compensate"),
        (None, "update", ["own"], "compensate"),
        (None, "reconcile", ["own"], "compensate"),
        ("cloud", "rollback", ["cloud"], "compensate"),
        ("rotating", "adopt", ["own"], "compensate"),
        (None, "rotate", ["rotate"], "keep"),
        (None, "restart", None, "compensate"),
        (None, "delete", None, "keep"),
        (None, "dance", None, "keep"),
        ("cloud", "create", ["cloud"], "compensate"),
        ("cloud", "update", ["cloud"], "compensate"),
        ("cloud", "rotate", ["rotate"], "keep"),
        ("cloud", "restart", ["restart"], "compensate"),
        ("cloud", "delete", [], "keep"),
        ("rotating", "create", ["own"], "compensate"),
        ("rotating", "update", ["own"], "compensate"),
        ("rotating", "rotate", ["other"], "keep"),
    ],
)
def test_an_implementation_stands_in_the_place_of_the_steps_that_it_names(
    implementation: str | None, action: str, names: list[str] | None, on_failure: str
) -> None:
    way = steps_of(OFFERED, implementation, action)
    assert (None if way.steps is None else [each["name"] for each in way.steps]) == names
    assert way.on_failure == on_failure


def test_an_update_with_steps_of_its_own_does_not_repeat_the_create() -> None:
    actions = {"create": {"steps": [step("a")]}, "update": {"steps": []}}
    assert steps_of({"actions": actions}, None, "update") == Way((), "keep")
    assert steps_of({"actions": actions | {"update": {"steps": None}}}, None, "update").steps == (step("a"),)


@pytest.mark.parametrize("action", ["update", "reconcile", "rollback"])
def test_what_brings_a_resource_to_other_inputs_does_the_steps_of_the_update(action: str) -> None:
    actions = {"create": {"steps": [step("a")]}, "update": {"steps": [step("b")], "onFailure": "compensate"}}
    assert steps_of({"actions": actions}, None, action) == Way((step("b"),), "compensate")
    assert steps_of({"actions": actions}, None, "adopt") == Way((step("a"),), "keep")


def test_an_implementation_that_is_not_there_is_told() -> None:
    with pytest.raises(LookupError, match="no implementation moon"):
        steps_of(OFFERED, "moon", "create")

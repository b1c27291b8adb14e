"""What a new version of an offering takes no more is found, wherever in the inputs it is."""

from typing import Any

import pytest
from entresol_manifests.compatibility import DEEPEST, MOST_PAIRS
from entresol_manifests.offerings.breaking import narrowings

INPUTS = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"enum": ["small", "large"]},
        "gb": {"type": "integer", "minimum": 1, "maximum": 100},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "child": {"$ref": "#/$defs/node", "description": "a tree", "minProperties": 0},
    },
    "$defs": {
        "tag": {"type": "string", "maxLength": 10},
        "node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node", "maxProperties": 9}}},
    },
}


def offering(inputs: Any = INPUTS, **actions: Any) -> dict[str, Any]:
    return {"inputs": inputs, "actions": {"create": {}} | actions}


def with_inputs(**changes: Any) -> dict[str, Any]:
    return offering(INPUTS | changes)


def with_property(name: str, schema: Any) -> dict[str, Any]:
    return with_inputs(properties={**INPUTS["properties"], name: schema})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("after", "pointer", "words"),
    [
        (with_property("size", {"enum": ["small"]}), "/spec/inputs/properties/size/enum", '"large" was removed'),
        (with_property("gb", {"type": "string"}), "/spec/inputs/properties/gb/type", "type integer was removed"),
        (
            with_property("gb", {"type": "integer", "minimum": 2, "maximum": 100}),
            "/spec/inputs/properties/gb/minimum",
            "from 1 to 2",
        ),
        (with_inputs(properties={"size": {}}), "/spec/inputs/properties/gb", "`gb` was removed"),
        (with_inputs(required=["size", "gb"]), "/spec/inputs/required", "`gb` is newly required"),
        (with_inputs(additionalProperties=False), "/spec/inputs/additionalProperties", "was added"),
        (
            with_inputs(**{"$defs": INPUTS["$defs"] | {"tag": {"type": "string", "maxLength": 9}}}),  # type: ignore[operator]
            "/spec/inputs/$defs/tag/maxLength",
            "from 10 to 9",
        ),
        (
            with_property("child", {"$ref": "#/$defs/node", "minProperties": 1}),
            "/spec/inputs/properties/child/minProperties",
            "from 0 to 1",
        ),
        (with_property("gb", {"$ref": "#odd", "$anchor": "odd"}), "/spec/inputs/properties/gb", "can't be followed"),
        (
            offering({**INPUTS, "$defs": INPUTS["$defs"] | {"tag": {"$ref": "#/$defs/tag"}}}),  # type: ignore[operator]
            "/spec/inputs/properties/tags/items",
            "can't be followed",
        ),
    ],
)
def test_what_is_taken_no_more_is_found(after: dict[str, Any], pointer: str, words: str) -> None:
    found = [(each.pointer, each.message) for each in narrowings(offering(), after)]
    assert [place for place, message in found if words in message] == [pointer], found


@pytest.mark.parametrize(
    "after",
    [
        offering(),
        with_property("size", {"enum": ["small", "medium", "large"], "title": "How large", "default": "small"}),
        with_property("gb", {"type": "number", "minimum": 0}),
        with_property("new", {"type": "string", "x-widget": "area"}),
        with_inputs(required=[]),
        with_inputs(description="All of it"),
        {"inputs": INPUTS, "actions": {"create": {}, "rotate": {"inputs": {"required": ["now"]}}}},
    ],
)
def test_what_takes_all_that_was_taken_breaks_nothing(after: dict[str, Any]) -> None:
    assert list(narrowings(offering(), after)) == []


def test_the_inputs_of_each_action_are_held_against_those_it_took() -> None:
    now = {"type": "object", "properties": {"now": {"type": "boolean"}}}
    later = {"type": "object", "required": ["now"], "properties": {"now": {"type": "boolean"}}}
    assert [
        each.pointer for each in narrowings(offering(rotate={"inputs": now}), offering(rotate={"inputs": later}))
    ] == ["/spec/actions/rotate/inputs/required"]
    taken_over = narrowings(offering(update={}), offering(update={"inputs": later}))
    assert "/spec/actions/update/inputs/required" in {each.pointer for each in taken_over}
    assert list(narrowings(offering(update={"inputs": INPUTS | {"required": []}}), offering())) == []


def test_actions_outputs_and_environments_that_go_are_told() -> None:
    before = offering(rotate={}, update={}, delete={}) | {"outputs": {"host": "a", "port": "b"}}
    after = offering() | {"outputs": {"host": "c", "url": "d"}}
    gone = ["the action rotate was removed or renamed", "the output port was removed or renamed"]
    assert [each.message for each in narrowings(before, after)] == gone
    some = {"environments": ["dev", "prod"]}
    (limited,) = narrowings(offering() | some, offering() | {"environments": ["dev", "test"]})
    assert (limited.pointer, limited.message) == ("/spec/environments", "it is not offered in prod any more")
    (limited,) = narrowings(offering(), offering() | some)
    assert limited.message == "it is not offered in others any more"
    assert list(narrowings(offering() | some, offering())) == []


def test_what_is_filled_in_need_not_be_given() -> None:
    region = {"region": {"type": "string", "default": "north"}}
    filled = with_inputs(properties=INPUTS["properties"] | region, required=["size", "region"])  # type: ignore[operator]
    bare = with_inputs(properties=INPUTS["properties"] | {"region": {"type": "string"}}, required=["size", "region"])  # type: ignore[operator]
    assert list(narrowings(offering(), filled)) == []
    assert [each.message for each in narrowings(filled, bare)] == ["`region` is newly required"]


def test_what_the_door_does_not_hold_inputs_to_breaks_nothing() -> None:
    assert list(narrowings(with_property("at", {}), with_property("at", {"format": "uri"}))) == []


def test_inputs_that_begin_to_be_said_may_have_been_anything() -> None:
    unsaid: dict[str, Any] = {"actions": {"create": {}}}
    assert [each.pointer for each in narrowings(unsaid, offering())] == ["/spec/inputs/required"]
    assert [each.pointer for each in narrowings(offering(), unsaid)] == [
        f"/spec/inputs/properties/{name}" for name in ("child", "gb", "size", "tags")
    ]


def test_what_is_too_large_to_be_compared_is_told_and_ends() -> None:
    names = [f"n{index}" for index in range(200)]

    def every(**more: Any) -> dict[str, Any]:
        nodes = {name: {"properties": {other: {"$ref": f"#/$defs/{other}"} for other in names}} for name in names}
        return offering({"properties": {"a": {"$ref": "#/$defs/n0"}}, "$defs": nodes, **more})

    def shifted() -> dict[str, Any]:
        after = every(title="other")
        for place, node in enumerate(after["inputs"]["$defs"].values()):
            turned = names[place:] + names[:place]
            node["properties"] = {name: {"$ref": f"#/$defs/{to}"} for name, to in zip(names, turned, strict=True)}
        return after

    assert len(names) ** 2 > MOST_PAIRS
    (found,) = narrowings(every(), shifted())
    assert found.message == "it is too large to be compared"
    branches: dict[str, Any] = {"anyOf": [{"const": index} for index in range(500)]}
    turned = {"anyOf": branches["anyOf"][::-1]}
    assert [each.message for each in narrowings(offering(branches), offering(turned))] == [found.message]
    deep: dict[str, Any] = {}
    for _ in range(DEEPEST + 1):
        deep = {"properties": {"a": deep}}
    assert [each.message for each in narrowings(offering(deep), offering(deep | {"title": "x"}))] == [found.message]

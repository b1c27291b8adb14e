"""Steps against what their drivers have announced."""

from typing import Any

import pytest
from entresol_manifests.checking import check
from entresol_manifests.offerings.contracts import Contract, Contracts, check_contracts
from entresol_manifests.schemas import types_at

SETTINGS: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "additionalProperties": False,
    "oneOf": [{"required": ["here"]}, {"required": ["there"]}],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "here": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 20},
        "there": {"type": "string"},
        "mode": {"enum": ["soft", "hard"]},
        "force": {"type": "boolean"},
        "look": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]},
        "env": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "required": ["secretRef"],
                        "properties": {"secretRef": {"type": "string"}},
                        "additionalProperties": False,
                    },
                ]
            },
        },
        "list": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        "files": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {},
        "kind": {"type": "string"},
        "key": {"type": "string"},
        "plain": {"type": "string"},
        "named": {"propertyNames": {"pattern": "^[a-z]+$", "errorMessage": "must be lower-case letters"}},
        "place": {"type": "string", "not": {"pattern": "[.][.]"}, "errorMessage": "must not climb"},
        "way": {
            "oneOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"], "minProperties": 2}]
        },
    },
    "if": {"properties": {"kind": {"const": "Secret"}}, "required": ["kind"]},
    "then": {"required": ["key"], "errorMessage": "of a Secret, name a key"},
    "else": {"not": {"required": ["key"]}, "errorMessage": "key is for a Secret"},
}
OUTPUTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"commit": {"type": "string"}, "count": {"type": "number"}, "files": {"type": "array"}},
}
DRIVERS: Contracts = {
    "maker": Contract(SETTINGS, OUTPUTS),
    "free": Contract(None, None),
    "open": Contract({"type": "object"}, None),
}
GOOD: dict[str, Any] = {"size": 1, "here": "a"}
INPUTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string"},
        "number": {"type": "integer"},
        "maybe": {"type": ["integer", "null"]},
        "deep": {"type": "object", "properties": {"flag": {"type": "boolean"}}},
        "free": {},
    },
}


def offering(with_: dict[str, Any], **spec: Any) -> dict[str, Any]:
    first = {
        "name": "first",
        "driver": "open",
        "outputs": {"id": {"type": "string"}, "port": {"type": "integer"}, "free": True},
    }
    steps = [
        first,
        {"name": "made", "driver": "maker", "needs": ["first"], "with": GOOD},
        {"name": "step", "driver": "maker", "needs": ["first", "made"], "with": with_},
    ]
    whole = {"inputs": INPUTS, "actions": {"create": {"steps": steps}}}
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": whole | spec,
    }


def told(document: dict[str, Any], drivers: Contracts = DRIVERS) -> list[str]:
    assert check(document) == []
    return [
        str(each).replace("/spec/actions/create/steps/2", "") for each in check_contracts(document["spec"], drivers)
    ]


WHOLE = "/with/size: must be a whole number"


@pytest.mark.parametrize(
    ("more", "findings"),
    [
        ({}, []),
        ({"size": "1"}, ["/with/size: must be a whole number"]),
        ({"sise": 1}, ["/with/sise: unknown field sise; did you mean size?"]),
        ({"size": 0, "mode": "mild"}, ["/with/mode: must be one of soft, hard", "/with/size: must be at least 1"]),
        ({"there": "b"}, ["/with: has both here and there; keep one"]),
        ({"size": "${inputs.number}"}, []),
        ({"size": "${inputs.number}", "there": "b"}, ["/with: has both here and there; keep one"]),
        ({"size": "${inputs.maybe}"}, []),
        ({"size": "${inputs.free}"}, []),
        ({"size": "${inputs.number + 1}"}, []),
        ({"size": "${inputs.text}"}, [f"{WHOLE}, but ${{inputs.text}} is text"]),
        ({"size": "${request.inputs.text}"}, [f"{WHOLE}, but ${{request.inputs.text}} is text"]),
        ({"size": "${ inputs['text'] }"}, [f"{WHOLE}, but ${{inputs['text']}} is text"]),
        ({"size": "1${inputs.number}"}, [f"{WHOLE}, but a ${{…}} within a text becomes text; let it stand alone"]),
        ({"here": "B-${inputs.text}"}, []),
        ({"here": "x" * 30 + "${inputs.text}"}, []),
        ({"mode": "${inputs.text}"}, []),
        ({"mode": "${inputs.number}"}, ["/with/mode: must be text, but ${inputs.number} is a whole number"]),
        ({"force": "${inputs.deep.flag}"}, []),
        ({"force": "${inputs.deep.other}"}, []),
        ({"force": "${inputs.deep}"}, ["/with/force: must be true or false, but ${inputs.deep} is a map"]),
        ({"force": "${inputs.text == 'a'}"}, []),
        ({"look": "soon"}, ["/with/look: must be a time with its zone, such as 2026-11-21T10:00:00Z"]),
        ({"look": "${inputs.number}"}, []),
        ({"look": "${inputs.deep}"}, ["/with/look: must be text or a number, but ${inputs.deep} is a map"]),
        ({"env": {"A": "${inputs.text}", "B": {"secretRef": "${inputs.text}"}}}, []),
        ({"env": {"A": {"secretRef": "${inputs.number}"}}},
         ["/with/env/A/secretRef: must be text, but ${inputs.number} is a whole number"]),
        ({"env": {"A": "${inputs.text}", "B": 1}}, ["/with/env/B: must be text or a map"]),
        ({"env": "${inputs.free}"}, []),
        ({"list": ["${inputs.text}", "${inputs.text}"]}, []),
        ({"list": ["${inputs.number}", "a"]}, ["/with/list/0: must be text, but ${inputs.number} is a whole number"]),
        ({"files": {"a": "${not.ours}"}}, []),
        ({"any": {"a": ["${inputs.number}"]}}, []),
        ({"kind": "Secret"}, ["/with: of a Secret, name a key"]),
        ({"kind": "Secret", "plain": "${inputs.text}"}, ["/with: of a Secret, name a key"]),
        ({"kind": "Secret", "key": "${inputs.text}"}, []),
        ({"kind": "${inputs.text}"}, []),
        ({"kind": "${inputs.text}", "key": "a"}, []),
        ({"kind": "Map", "key": "${inputs.text}"}, ["/with: key is for a Secret"]),
        ({"key": "a", "plain": "${inputs.text}"}, ["/with: key is for a Secret"]),
        ({"named": {"a": 1, "B": "${inputs.text}"}}, ["/with/named/B: its name must be lower-case letters"]),
        ({"place": "../x"}, ["/with/place: must not climb"]),
        ({"place": "../${inputs.text}"}, []),
        ({"place": "../x", "plain": "${inputs.text}"}, ["/with/place: must not climb"]),
        ({"way": {"a": "${inputs.number}"}}, []),
        ({"way": {"a": 1, "b": "${inputs.text}"}}, []),
        ({"way": {"c": "${inputs.text}"}}, ["/with/way/a: a is missing"]),
        ({"size": "${steps.first.outputs.port}"}, []),
        ({"size": "${steps.first.outputs.free}"}, []),
        ({"size": "${steps.first.outputs.id}"}, [f"{WHOLE}, but ${{steps.first.outputs.id}} is text"]),
        ({"size": "${steps.made.outputs.count}"}, []),
        ({"size": "${steps.made.outputs.commit}"}, [f"{WHOLE}, but ${{steps.made.outputs.commit}} is text"]),
        (
            {"here": "${steps.made.outputs.comit}"},
            ["/with/here: reads output comit of step made, which declares commit, count, files; did you mean commit?"],
        ),
    ],
)  # fmt: skip
def test_a_with_has_to_be_one_that_the_driver_can_take(more: dict[str, Any], findings: list[str]) -> None:
    assert told(offering(GOOD | more)) == findings


def test_before_any_driver_was_announced_nothing_is_judged() -> None:
    assert told(offering({"size": "x"}), {}) == []


def test_what_a_driver_does_not_say_is_not_judged() -> None:
    steps = [{"name": "a", "driver": "free", "with": {"x": 1}, "outputs": {"y": True}}]
    outputs = {"z": "${steps.a.outputs.y}"}
    assert told(offering({}, actions={"create": {"steps": steps}}, outputs=outputs)) == []


def test_a_driver_that_is_not_there_is_named_with_those_that_are() -> None:
    undo = {"driver": "opne", "with": {}}
    steps = [{"name": "a", "driver": "makr", "compensate": undo}]
    assert told(offering({}, actions={"create": {"steps": steps}})) == [
        "/spec/actions/create/steps/0/driver: there is no driver makr; there are free, maker, open;"
        " did you mean maker?",
        "/spec/actions/create/steps/0/compensate/driver: there is no driver opne; there are free, maker, open;"
        " did you mean open?",
    ]


def test_compensations_and_implementations_are_held_to_it_too() -> None:
    undo = {"with": {"size": False}}
    steps = [{"name": "a", "driver": "maker", "with": GOOD, "compensate": undo}]
    cheap = {"name": "cheap", "match": {"class": ["cheap"]}}
    cheap |= {"actions": {"create": {"steps": [{"name": "a", "driver": "maker", "with": {"size": 1}}]}}}
    document = offering({}, actions={"create": {"steps": steps}}, implementations=[cheap])
    assert told(document) == [
        "/spec/actions/create/steps/0/compensate/with: needs here or there",
        "/spec/actions/create/steps/0/compensate/with/size: must be a whole number",
        "/spec/implementations/0/actions/create/steps/0/with: needs here or there",
    ]


def test_outputs_that_a_driver_never_gives_are_neither_declared_nor_read() -> None:
    step = {"name": "a", "driver": "maker", "with": GOOD}
    document = offering({}, actions={"create": {"steps": [step]}}, outputs={"x": "${steps.a.outputs.coutn}"})
    assert told(document) == [
        "/spec/outputs/x: reads output coutn of step a, which declares commit, count, files; did you mean count?"
    ]
    step = {**step, "outputs": {"coutn": {"type": "number"}}}
    document = offering({}, actions={"create": {"steps": [step]}})
    assert told(document) == [
        "/spec/actions/create/steps/0/outputs/coutn: maker never gives coutn; it gives commit, count, files;"
        " did you mean count?"
    ]


@pytest.mark.parametrize(
    ("schema", "path", "types"),
    [
        (True, ("a",), None),
        ({"type": "string"}, (), {"string"}),
        ({"const": 1}, (), {"integer"}),
        ({"enum": [True, None, 1.5, "a", [], {}]}, (), {"boolean", "null", "number", "string", "array", "object"}),
        ({"type": "string"}, ("a",), set()),
        ({"properties": {"a": {"type": "integer"}}}, ("a",), {"integer"}),
        ({"properties": {"a": {"type": "integer"}}}, ("b",), None),
        ({"items": {"type": "integer"}}, ("3",), {"integer"}),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "integer"}}, ("0",), {"null"}),
        ({"additionalProperties": {"type": "integer"}}, ("x",), {"integer"}),
        ({"patternProperties": {"^a": {"type": "null"}}}, ("a",), None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, (), {"null"}),
        ({"$ref": "#/$defs/gone"}, (), None),
        ({"$ref": "https://elsewhere"}, (), None),
        ({"$ref": "#"}, ("a", "b"), None),
        ({"allOf": [{"type": ["string", "null"]}, {"type": ["null", "integer"]}]}, (), {"null"}),
        ({"oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"const": "x"}}}]}, ("a",), {"string"}),
    ],
)
def test_which_types_a_schema_allows_at_a_place(schema: Any, path: tuple[str, ...], types: set[str] | None) -> None:
    every = {"object", "array", "string", "integer", "number", "boolean", "null"}
    assert types_at(schema, path) == (every if types is None else types)

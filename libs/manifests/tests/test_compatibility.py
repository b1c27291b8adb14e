"""Documents that fitted and are refused now are always told of, and what only takes more is left in peace.

Each case is held against the validator that the door uses.
"""

from typing import Any

import jsonschema_rs
import pytest
from entresol_manifests.compatibility import Comparison
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

Schema = dict[str, Any]
TREE = {"$ref": "#/$defs/node"}
BOX = {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "box"}}}
BAG = {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "bag"}}}
X_FIELDS = {"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": False}


def node(text: Schema) -> Schema:
    child = {"type": "object", "required": ["child"], "properties": {"child": TREE}}
    return {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [text, child]}}}


BROKEN: list[tuple[Schema, Schema, Any]] = [
    ({}, {"const": None}, 1),
    ({"enum": [None, 1]}, {"const": None}, 1),
    ({"type": "string"}, {"type": "string", "const": "a", "enum": ["a", "b"]}, "b"),
    ({"type": ["string", "null"]}, {"type": "string"}, None),
    ({"type": "number"}, {"type": "integer"}, 1.5),
    ({"enum": [1, "a"]}, {"type": "string", "enum": [1, "a"]}, 1),
    ({"minimum": 1}, {"exclusiveMinimum": 1}, 1),
    ({"exclusiveMinimum": 0}, {"minimum": 0.5}, 0.25),
    ({"multipleOf": 5}, {"multipleOf": 10}, 5),
    ({"pattern": "^a"}, {"pattern": "^b"}, "a"),
    (X_FIELDS, {"additionalProperties": False}, {"x-a": "b"}),
    ({}, {"patternProperties": {"^x-": {"type": "string"}}}, {"x-a": 1}),
    ({"properties": {"x-a": {}}, "additionalProperties": False}, {"properties": {"x-a": {}}} | X_FIELDS, {"x-a": 1}),
    ({"additionalProperties": {"type": "string"}}, {"properties": {"a": {"type": "integer"}}}, {"a": "b"}),
    ({"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["b", "c"]}}, {"a": 1, "b": 1}),
    ({}, {"dependentSchemas": {"a": {"maxProperties": 1}}}, {"a": 1, "b": 1}),
    ({"items": {"type": "string"}}, {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, ["a"]),
    ({"prefixItems": [{"type": "integer"}]}, {"items": {"type": "string"}}, [1]),
    ({}, {"contains": {}}, []),
    ({"contains": {}, "minContains": 0}, {"contains": {}}, []),
    ({"contains": {"const": 1}, "maxContains": 1}, {"contains": {"type": "integer"}, "maxContains": 1}, [1, 2]),
    ({"not": {"const": 1}}, {"not": {"type": "integer"}}, 2),
    ({"if": {"const": 1}, "then": False}, {"if": {"type": "integer"}, "then": False}, 2),
    ({"if": {"const": 1}, "then": {}}, {"if": {"const": 1}, "then": False}, 1),
    (
        {"if": {"$ref": "#/$defs/a"}, "then": False, "$defs": {"a": {"const": 1}}},
        {"if": {"$ref": "#/$defs/a"}, "then": False, "$defs": {"a": {"enum": [1, 2]}}},
        2,
    ),
    ({"oneOf": [{"type": "integer"}, {"const": "a"}]}, {"oneOf": [{"type": "integer"}, {"enum": ["a", 1]}]}, 1),
    ({"oneOf": [BOX]}, {"oneOf": [BOX, {"type": "object"}]}, {"kind": "box"}),
    ({}, {"oneOf": [{}, {}]}, 1),
    ({"anyOf": [BOX, BAG]}, {"anyOf": [BAG]}, {"kind": "box"}),
    ({}, {"anyOf": [{"type": "string"}]}, 1),
    ({"allOf": [{"type": "object"}]}, {"allOf": [{"type": "object"}, {"required": ["a"]}]}, {}),
    (node({"type": "string"}), node({"type": "string", "maxLength": 1}), {"child": {"child": "ab"}}),
    (
        {"$ref": "#/$defs/a", "minimum": 1, "$defs": {"a": {"minimum": 0}}},
        {"$ref": "#/$defs/a", "minimum": 2, "$defs": {"a": {"minimum": 0}}},
        1,
    ),
    (
        {"$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a", "type": ["string", "null"]}}},
        {"$dynamicRef": "#a", "$defs": {"a": {"$dynamicAnchor": "a", "type": "string"}}},
        None,
    ),
]
KEPT: list[tuple[Schema, Schema]] = [
    ({"const": None}, {"enum": [None, "a"]}),
    ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b", "c"]}),
    ({"enum": ["a", "b"]}, {"type": ["string", "null"]}),
    ({"type": "boolean"}, {"enum": [True, False, "maybe"]}),
    ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    ({"type": "string", "minLength": 1}, {"oneOf": [{"type": "string", "minLength": 1}, {"type": "array"}]}),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": ["string", "integer"]}),
    ({"oneOf": [BOX, BAG]}, {"anyOf": [BAG, BOX]}),
    ({"oneOf": [BOX]}, {"oneOf": [BAG, BOX]}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "null"}, {"type": ["string", "array"]}]}),
    ({"allOf": [{"type": "object"}, {"required": ["a"]}]}, {"allOf": [{"required": ["a"]}]}),
    ({"type": "object", "required": ["a"]}, {"allOf": [{"required": ["a"]}], "type": "object"}),
    ({"minLength": 0}, {}),
    ({}, {"minItems": 0, "uniqueItems": False}),
    ({"exclusiveMinimum": 0}, {"minimum": 0}),
    ({"multipleOf": 10}, {"multipleOf": 5}),
    ({"additionalProperties": False}, X_FIELDS),
    (X_FIELDS, X_FIELDS | {"patternProperties": {"^x-": {"type": ["string", "integer"]}}}),
    ({"dependentRequired": {"a": ["b", "c"]}}, {"dependentRequired": {"a": ["c"]}}),
    ({"required": ["b"]}, {"dependentRequired": {"a": ["b"]}, "required": []}),
    ({"dependentSchemas": {"a": {"maxProperties": 1}}}, {"dependentSchemas": {"a": {"maxProperties": 2}}}),
    ({"prefixItems": [{"const": 1}], "items": False}, {"prefixItems": [{"type": "integer"}, {}], "items": False}),
    ({"contains": {"const": 1}}, {"contains": {"type": "integer"}}),
    ({"not": {"type": "integer"}}, {"not": {"const": 1}}),
    ({"if": {"const": 1}, "then": {"minimum": 2}}, {"if": {"const": 1}, "then": {"minimum": 1}}),
    ({"if": {"const": 1}, "then": False}, {"if": {"const": 1}}),
    (node({"type": "string"}), node({"type": ["string", "integer"]})),
    (
        {"$ref": "#/$defs/a", "minimum": 2, "$defs": {"a": {"minimum": 0}}},
        {"$ref": "#/$defs/a", "minimum": 1, "$defs": {"a": {"minimum": 0}}},
    ),
]


def narrowed(before: Schema, after: Schema) -> list[str]:
    found = Comparison({"it": before}, {"it": after}).changes("it")
    return [f"{each.place}: {each.what}" for each in found if each.effect == "narrows"]


def fits(document: Any, schema: Schema) -> bool:
    found: bool = jsonschema_rs.Draft202012Validator(schema, offline=True).is_valid(document)
    return found


@pytest.mark.parametrize(("before", "after", "document"), BROKEN)
def test_what_refuses_a_document_that_fitted_is_told(before: Schema, after: Schema, document: Any) -> None:
    assert fits(document, before)
    assert not fits(document, after)
    assert narrowed(before, after)


@pytest.mark.parametrize(("before", "after"), KEPT)
def test_what_takes_all_that_fitted_is_left_in_peace(before: Schema, after: Schema) -> None:
    assert narrowed(before, after) == []
    assert narrowed(before, before) == []


SMALL = st.sampled_from([None, True, 0, 1, 2, "", "a", "ab"])
DOCUMENTS = st.recursive(
    SMALL, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=4
)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    few = st.lists(inner, min_size=1, max_size=2)
    fields = st.dictionaries(st.sampled_from("ab"), inner)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["integer", "number", "string", "object", "array", ["string", "null"]]),
            "enum": st.lists(SMALL, min_size=1, max_size=3, unique_by=repr),
            "minimum": st.integers(0, 2),
            "maxLength": st.integers(0, 2),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner),
            "items": inner,
            **dict.fromkeys(("contains", "not", "if", "then", "else"), inner),
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), few),
            "dependentSchemas": fields,
        },
    )


SCHEMAS = st.recursive(st.booleans(), schemas, max_leaves=5).filter(lambda one: isinstance(one, dict))


@settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(SCHEMAS, SCHEMAS, st.data())
def test_nothing_that_fitted_is_refused_without_a_word(before: Schema, other: Schema, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(sorted(before)), unique=True)) if before else []
    after = {key: before[key] for key in kept} | other
    assume(not narrowed(before, after))
    document = data.draw(DOCUMENTS)
    assert fits(document, after) or not fits(document, before)

"""Entities: claims laid over each other, and what differs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from entresol_catalog.domain.entities import Difference, Entity, differences, merge, targets
from entresol_catalog.domain.fitting import relation_problems
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def document(properties: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    return {"properties": properties or {}, "relations": {}} | other


def test_a_resource_wins_for_the_fields_it_speaks_of() -> None:
    entity = Entity("Resource", "orders", NOW)
    assert entity.declare(document({"type": "mysql", "tier": 1}, title="Orders"), NOW) == Difference(False, [])
    changed = entity.contribute("shop/prod/database/orders", document({"type": "postgres"}), NOW)
    assert changed == Difference(False, ["/properties/type"])
    assert entity.document == document({"type": "postgres", "tier": 1}, title="Orders")
    assert entity.declare(document({"type": "oracle", "tier": 1}, title="Orders"), NOW) is None
    assert entity.retract("shop/prod/database/orders", NOW) == Difference(False, ["/properties/type"])
    assert entity.document == document({"type": "oracle", "tier": 1}, title="Orders")


def test_an_entity_goes_when_nobody_claims_it_and_its_revision_goes_on() -> None:
    entity = Entity("Resource", "orders", NOW)
    entity.declare(document(), NOW)
    entity.contribute("r", document(), NOW)
    assert entity.withdraw(NOW) is None
    assert entity.retract("r", NOW) == Difference(True, [])
    assert (entity.exists, entity.revision) == (False, 2)
    assert entity.declare(document(), NOW) == Difference(False, [])
    assert entity.revision == 3


def test_withdrawing_what_was_never_declared_says_nothing() -> None:
    assert Entity("Resource", "orders", NOW).withdraw(NOW) is None


@pytest.mark.parametrize(
    ("before", "after", "pointers"),
    [
        (document(), document(), []),
        (document(title="a"), document(title="b"), ["/title"]),
        (document({"a": 1}), document({"a": True}), ["/properties/a"]),
        (document({"a": None}), document({}), ["/properties/a"]),
        (document({"a/b~": 1}), document({}), ["/properties/a~1b~0"]),
        (document(relations={"x": []}), document(relations={}), ["/relations/x"]),
    ],
)
def test_differences_are_told_by_pointer(before: dict[str, Any], after: dict[str, Any], pointers: list[str]) -> None:
    assert differences(before, after) == pointers


def test_targets_are_flat() -> None:
    found = targets(document(relations={"one": "a", "many": ["b", "c"], "none": None, "empty": []}))
    assert found == {("one", "a"), ("many", "b"), ("many", "c")}


def test_problems_of_relations_are_named() -> None:
    spec = {"relations": {"system": {"target": "S", "required": True}, "parts": {"target": "P", "many": True}}}
    entity = document(relations={"parts": "one", "other": "x"})
    assert relation_problems(entity, spec) == [
        "/relations/parts: holds one, but the blueprint wants a list",
        "/relations/other: the blueprint has no such relation",
        "/relations/system: is required",
    ]
    assert relation_problems(document(relations={"system": ["a"]}), spec) == [
        "/relations/system: holds several, but the blueprint allows one"
    ]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=4)
DOCUMENTS = st.builds(
    document,
    st.dictionaries(st.sampled_from("abc"), JSON),
    relations=st.dictionaries(st.sampled_from("xy"), st.text(max_size=3)),
)


@given(st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_a_claim_made_twice_changes_nothing(claims: list[dict[str, Any]]) -> None:
    entity = Entity("Resource", "orders", NOW)
    for number, claim in enumerate(claims):
        entity.contribute(str(number), claim, NOW)
    before = entity.document
    for number, claim in enumerate(claims):
        assert entity.contribute(str(number), claim, NOW) is None
    assert entity.document == before == merge(list(claims))

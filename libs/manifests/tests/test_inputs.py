"""What a resource's inputs become by each action."""

from typing import Any

import pytest
from entresol_manifests.inputs import resulting

SPEC: dict[str, Any] = {
    "actions": {"create": {}},
    "inputs": {
        "properties": {"size": {"default": "small"}, "replicas": {}, "always": True},
        "additionalProperties": False,
    },
}
HAS = {"size": "large", "gone": 1}


@pytest.mark.parametrize("action", ["create", "adopt", "rollback"])
def test_some_actions_bring_all_that_the_resource_will_have(action: str) -> None:
    assert resulting(action, {"replicas": 1}, HAS, SPEC) == {"replicas": 1}


@pytest.mark.parametrize("action", ["extend", "delete", "reconcile", "pause", "rotate"])
def test_others_see_what_the_resource_has_below_what_is_asked(action: str) -> None:
    assert resulting(action, {"days": 7}, HAS, SPEC) == {"size": "large", "gone": 1, "days": 7}
    assert resulting(action, {}, None, SPEC) == {}


def test_an_update_fills_in_defaults_and_leaves_out_what_the_version_does_not_know() -> None:
    assert resulting("update", {"replicas": 4}, HAS, SPEC) == {"size": "large", "replicas": 4}
    assert resulting("update", {"replicas": 4}, {}, SPEC) == {"size": "small", "replicas": 4}
    assert resulting("update", {"replicas": 4}, None, SPEC) == {"size": "small", "replicas": 4}


@pytest.mark.parametrize("spec", [None, {**SPEC, "actions": {"update": {"inputs": {}}}}])
def test_an_update_by_inputs_of_its_own_or_of_an_unknown_version_is_only_laid_over(spec: dict[str, Any] | None) -> None:
    assert resulting("update", {"a": 1}, HAS, spec) == {"size": "large", "gone": 1, "a": 1}


def test_an_open_schema_leaves_nothing_out() -> None:
    spec: dict[str, Any] = {"actions": {}, "inputs": {"properties": {}}}
    assert resulting("update", {}, HAS, spec) == HAS


def test_a_default_is_never_shared() -> None:
    spec: dict[str, Any] = {"actions": {}, "inputs": {"properties": {"tags": {"default": []}}}}
    resulting("update", {}, None, spec)["tags"].append("x")
    assert resulting("update", {}, None, spec) == {"tags": []}

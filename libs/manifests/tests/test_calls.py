"""The expressions of http steps are checked when an offering is applied, as far as that can be known."""

from typing import Any

import pytest
from entresol_manifests.checking import check

GOOD: dict[str, Any] = {
    "url": "https://api.example",
    "apply": {
        "path": ["things", "${inputs.name}"],
        "find": {"path": "/things", "item": "response.body.filter(one, one.name == inputs.name)"},
        "poll": {"at": '["things", outputs.id]', "done": "response.status == 200 && has(answer.yes)"},
    },
    "read": {"at": '["things", reference]', "exists": "response.body.alive"},
    "outputs": {"id": "response.body.id"},
}


def findings(with_: dict[str, Any]) -> set[tuple[str, str]]:
    steps = [{"name": "first", "driver": "noop"}, {"name": "call", "driver": "http", "with": with_}]
    inputs = {"type": "object", "properties": {"name": {"type": "string"}}}
    manifest = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": {"inputs": inputs, "actions": {"create": {"steps": steps}}},
    }
    return {(found.pointer, found.message) for found in check(manifest)}


def test_what_is_right_is_left_in_peace() -> None:
    assert findings(GOOD) == set()


@pytest.mark.parametrize(
    ("group", "name", "source", "message"),
    [
        ("read", "at", '["things", "${inputs.name}"]', "write it without ${}"),
        ("read", "exists", "response.code == 200", "response.code, which does not exist"),
        ("read", "exists", "inputs.size > 1", "inputs.size, which does not exist"),
        ("read", "item", "things[0]", "names things"),
        ("read", "exists", "response.body ==", "not a CEL expression"),
        ("read", "exists", True, "written as a text"),
        ("outputs", "id", "steps.first.outputs.id", "which must be among its needs"),
        ("outputs", "id", "steps.other.outputs.id", "which does not exist"),
        ("secrets", "a/b", "respnse.body", "names respnse"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(group: str, name: str, source: Any, message: str) -> None:
    ((pointer, said),) = findings(GOOD | {group: {**GOOD.get(group, {}), name: source}})
    assert pointer == f"/spec/actions/create/steps/1/with/{group}/{name.replace('/', '~1')}"
    assert message in said


@pytest.mark.parametrize("broken", [None, [], "text", {"poll": []}, {"find": "x"}])
def test_what_has_another_shape_is_left_to_the_driver(broken: Any) -> None:
    assert findings({"apply": broken, "read": broken, "outputs": [], "secrets": None}) == set()

"""The judge of compatibility is trusted because it catches every incompatibility planted here."""

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libs.contracts import compatibility

ORDER = "events/order.placed.v1.json"
OFFER = "manifests/offer.v1.json"
SHARED = "common.json"

Schema = dict[str, Any]
Tree = dict[str, Schema]
Edit = Callable[[Tree], Any]


def tree() -> Tree:
    return {
        SHARED: {
            "$id": "https://entresol.dev/schemas/common.json",
            "$defs": {
                "Who": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string", "minLength": 1}, "name": {"type": "string"}},
                }
            },
        },
        ORDER: {
            "$id": "https://entresol.dev/schemas/events/order.placed.v1.4.json",
            "x-publisher": "intake",
            "type": "object",
            "required": ["id", "by"],
            "properties": {
                "id": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
                "by": {"$ref": "../common.json#/$defs/Who"},
                "count": {"type": "integer", "minimum": 0, "maximum": 10},
                "ratio": {"type": "number"},
                "size": {"type": "string", "enum": ["small", "large"]},
                "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 5},
                "at": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "shape": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
                "anything": {},
            },
        },
        OFFER: {
            "$id": "https://entresol.dev/schemas/manifests/offer.v1.json",
            "type": "object",
            "additionalProperties": False,
            "required": ["kind", "name"],
            "properties": {
                "kind": {"const": "Offer"},
                "name": {"type": "string", "pattern": "^[a-z]+$"},
                "mode": {"enum": ["enforce", "audit"]},
                "retries": {"type": "integer", "minimum": 0, "maximum": 20},
            },
        },
    }


def put(file: str, pointer: str, value: Any) -> Edit:
    def edit(schemas: Tree) -> None:
        *path, last = pointer.split("/")[1:]
        node: Any = schemas[file]
        for token in path:
            node = node[int(token)] if isinstance(node, list) else node[token]
        node[int(last) if isinstance(node, list) else last] = value

    return edit


def drop(file: str, pointer: str) -> Edit:
    def edit(schemas: Tree) -> None:
        *path, last = pointer.split("/")[1:]
        node: Any = schemas[file]
        for token in path:
            node = node[int(token)] if isinstance(node, list) else node[token]
        node.pop(int(last) if isinstance(node, list) else last)

    return edit


def both(*edits: Edit) -> Edit:
    return lambda schemas: [edit(schemas) for edit in edits]


def minor(value: int) -> Edit:
    return put(ORDER, "/$id", f"https://entresol.dev/schemas/events/order.placed.v1.{value}.json")


def judged(edit: Edit) -> list[compatibility.Finding]:
    after = copy.deepcopy(tree())
    edit(after)
    return compatibility.compare(tree(), after)


BROKEN: dict[str, tuple[Edit, str, str]] = {
    "a schema is removed": (lambda schemas: schemas.pop(ORDER), ORDER, ""),
    "a property is removed": (drop(ORDER, "/properties/count"), ORDER, "/properties/count"),
    "a property is renamed": (
        both(drop(ORDER, "/properties/count"), put(ORDER, "/properties/amount", {"type": "integer"}), minor(5)),
        *(ORDER, "/properties/count"),
    ),
    "a field is newly required": (put(ORDER, "/required", ["id", "by", "size"]), ORDER, "/required"),
    "a required field is added": (
        both(put(ORDER, "/properties/new", {}), put(ORDER, "/required", ["id", "by", "new"]), minor(5)),
        *(ORDER, "/required"),
    ),
    "a required field of an event becomes optional": (put(ORDER, "/required", ["id"]), ORDER, "/required"),
    "a type changes": (put(ORDER, "/properties/size/type", "integer"), ORDER, "/properties/size/type"),
    "a type narrows": (put(ORDER, "/properties/ratio/type", "integer"), ORDER, "/properties/ratio/type"),
    "a type of an event widens": (
        put(ORDER, "/properties/size/type", ["string", "null"]),
        *(ORDER, "/properties/size/type"),
    ),
    "a type appears where there was none": (
        put(ORDER, "/properties/anything", {"type": "string"}),
        *(ORDER, "/properties/anything/type"),
    ),
    "an enum loses a value": (put(ORDER, "/properties/size/enum", ["small"]), ORDER, "/properties/size/enum"),
    "an enum of an event gains a value": (
        put(ORDER, "/properties/size/enum", ["small", "large", "huge"]),
        *(ORDER, "/properties/size/enum"),
    ),
    "an enum appears": (put(ORDER, "/properties/at/enum", ["now"]), ORDER, "/properties/at/enum"),
    "an enum becomes a constant": (
        both(drop(OFFER, "/properties/mode/enum"), put(OFFER, "/properties/mode/const", "audit")),
        *(OFFER, "/properties/mode/const"),
    ),
    "a constant changes": (put(OFFER, "/properties/kind/const", "Other"), OFFER, "/properties/kind/const"),
    "a lower bound rises": (put(ORDER, "/properties/count/minimum", 1), ORDER, "/properties/count/minimum"),
    "a lower bound appears": (put(ORDER, "/properties/ratio/minimum", 0), ORDER, "/properties/ratio/minimum"),
    "an upper bound falls": (put(ORDER, "/properties/count/maximum", 9), ORDER, "/properties/count/maximum"),
    "an upper bound appears": (put(ORDER, "/properties/id/maxLength", 9), ORDER, "/properties/id/maxLength"),
    "a list must be longer": (put(ORDER, "/properties/tags/minItems", 2), ORDER, "/properties/tags/minItems"),
    "a list must be shorter": (put(ORDER, "/properties/tags/maxItems", 4), ORDER, "/properties/tags/maxItems"),
    "a list must not repeat itself": (
        put(ORDER, "/properties/tags/uniqueItems", True),
        *(ORDER, "/properties/tags/uniqueItems"),
    ),
    "a pattern changes": (put(ORDER, "/properties/id/pattern", "^[a-f]+$"), ORDER, "/properties/id/pattern"),
    "a pattern appears": (put(ORDER, "/properties/at/pattern", "Z$"), ORDER, "/properties/at/pattern"),
    "a format appears": (put(ORDER, "/properties/id/format", "uuid"), ORDER, "/properties/id/format"),
    "items narrow": (put(ORDER, "/properties/tags/items/minLength", 1), ORDER, "/properties/tags/items/minLength"),
    "values of a map narrow": (
        put(ORDER, "/properties/labels/additionalProperties", {"type": "integer"}),
        *(ORDER, "/properties/labels/additionalProperties/type"),
    ),
    "an object is closed": (put(ORDER, "/additionalProperties", False), ORDER, "/additionalProperties"),
    "a map is closed": (
        put(ORDER, "/properties/labels/additionalProperties", False),
        *(ORDER, "/properties/labels/additionalProperties"),
    ),
    "a branch goes": (drop(ORDER, "/properties/shape/oneOf/1"), ORDER, "/properties/shape/oneOf"),
    "a branch narrows": (
        put(ORDER, "/properties/shape/oneOf/1/minimum", 2),
        *(ORDER, "/properties/shape/oneOf/1/minimum"),
    ),
    "a condition is added": (put(ORDER, "/allOf", [{"required": ["size"]}]), ORDER, "/allOf"),
    "a keyword nobody knew is added": (put(ORDER, "/not", {"required": ["size"]}), ORDER, "/not"),
    "a shared shape narrows": (
        put(SHARED, "/$defs/Who/required", ["id", "name"]),
        *(SHARED, "/$defs/Who/required"),
    ),
    "a reference is replaced by something narrower": (
        put(ORDER, "/properties/by", {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}),
        *(ORDER, "/properties/by/properties/name"),
    ),
    "the publisher changes": (put(ORDER, "/x-publisher", "catalog"), ORDER, "/x-publisher"),
    "the publisher goes": (drop(ORDER, "/x-publisher"), ORDER, "/x-publisher"),
    "a field is added without a new minor version": (
        put(ORDER, "/properties/note", {"type": "string"}),
        *(ORDER, "/$id"),
    ),
    "a shared field is added without a new minor version": (
        put(SHARED, "/$defs/Who/properties/mail", {"type": "string"}),
        *(ORDER, "/$id"),
    ),
    "the minor version falls": (minor(3), ORDER, "/$id"),
    "the major version changes in place": (
        put(ORDER, "/$id", "https://entresol.dev/schemas/events/order.placed.v2.0.json"),
        *(ORDER, "/$id"),
    ),
    "a manifest's identity changes": (put(OFFER, "/$id", "https://example.org/offer.json"), OFFER, "/$id"),
    "a manifest field goes": (drop(OFFER, "/properties/retries"), OFFER, "/properties/retries"),
    "a manifest field is newly required": (put(OFFER, "/required", ["kind", "name", "mode"]), OFFER, "/required"),
    "a manifest bound falls": (put(OFFER, "/properties/retries/maximum", 5), OFFER, "/properties/retries/maximum"),
    "a manifest value goes": (put(OFFER, "/properties/mode/enum", ["audit"]), OFFER, "/properties/mode/enum"),
}

KEPT: dict[str, Edit] = {
    "nothing changes": lambda schemas: None,
    "an optional field is added with a new minor version": both(
        put(ORDER, "/properties/note", {"type": "string"}), minor(5)
    ),
    "a shared optional field is added with a new minor version": both(
        put(SHARED, "/$defs/Who/properties/mail", {"type": "string"}), minor(5)
    ),
    "a description is added": put(ORDER, "/properties/id/description", "Which one."),
    "the minor version rises by itself": minor(7),
    "a reference is replaced by what it meant": put(
        *(ORDER, "/properties/by"), copy.deepcopy(tree()[SHARED]["$defs"]["Who"])
    ),
    "a second major stands beside the first": lambda schemas: schemas.update(
        {"events/order.placed.v2.json": {**schemas[ORDER], "required": ["id"]}}
    ),
    "fields are named in another order": lambda schemas: schemas[ORDER].update(
        properties=dict(reversed(schemas[ORDER]["properties"].items()))
    ),
    "a shape nobody refers to changes": put(SHARED, "/$defs/Unused", {"type": "string"}),
    "a manifest gains an optional field": put(OFFER, "/properties/note", {"type": "string"}),
    "a manifest enum widens": put(OFFER, "/properties/mode/enum", ["enforce", "audit", "warn"]),
    "a manifest bound widens": put(OFFER, "/properties/retries/maximum", 50),
    "a manifest field becomes optional": put(OFFER, "/required", ["kind"]),
    "a manifest pattern is dropped": drop(OFFER, "/properties/name/pattern"),
    "a manifest is opened": drop(OFFER, "/additionalProperties"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_found_where_it_was_broken(case: str) -> None:
    edit, file, pointer = BROKEN[case]
    places = {(finding.place.file, finding.place.pointer) for finding in judged(edit)}
    assert (file, pointer) in places


@pytest.mark.parametrize("case", KEPT)
def test_a_compatible_change_passes(case: str) -> None:
    assert judged(KEPT[case]) == []


def test_a_finding_says_where_what_and_what_to_do() -> None:
    (finding,) = judged(put(ORDER, "/properties/count/maximum", 9))
    assert str(finding) == (
        "schemas/events/order.placed.v1.json#/properties/count/maximum: `maximum` went from 10 to 9; "
        "leave the schema as it was and put the change into a .v2 beside it"
    )


def test_a_schema_that_refers_to_itself_is_compared_once() -> None:
    before = tree()
    before[ORDER]["properties"]["parent"] = {"$ref": "#"}
    after = copy.deepcopy(before)
    after[ORDER]["properties"]["count"]["minimum"] = 5
    assert len(compatibility.compare(before, after)) == 1


class Repository:
    """A git repository with schemas in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.root), *identity, *arguments], check=True, capture_output=True)

    def write(self, schemas: Tree) -> None:
        for name, document in schemas.items():
            path = self.root / "schemas" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document), encoding="utf-8")

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Schemas")

    def judge(self, *arguments: str) -> int:
        return compatibility.main(["--root", str(self.root), *arguments])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_the_first_commit_has_no_promise_to_break(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.write(tree())
    assert repository.judge() == 0
    assert "no schemas were committed" in capsys.readouterr().out


def test_a_broken_schema_in_the_working_tree_fails(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.write(tree())
    repository.commit()
    assert repository.judge() == 0
    schemas = tree()
    del schemas[ORDER]["properties"]["size"]
    repository.write(schemas)
    assert repository.judge() == 1
    assert "schemas/events/order.placed.v1.json#/properties/size" in capsys.readouterr().err


def test_an_older_promise_is_kept_too(repository: Repository) -> None:
    repository.write(tree())
    repository.commit()
    repository.git("tag", "v1.0.0")
    schemas = tree()
    del schemas[ORDER]["properties"]["size"]
    repository.write(schemas)
    repository.commit()
    assert repository.judge() == 0
    assert repository.judge("--against", "v1.0.0") == 1


def test_a_misspelt_revision_is_no_free_pass(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.write(tree())
    repository.commit()
    assert repository.judge("--against", "v9.9.9") == 2
    assert "v9.9.9" in capsys.readouterr().err


def test_examples_and_generated_documents_are_not_compared(repository: Repository) -> None:
    repository.write({**tree(), "examples/order.placed.v1.full.json": {"properties": {}}, "asyncapi.json": {}})
    repository.commit()
    (repository.root / "schemas/examples/order.placed.v1.full.json").unlink()
    assert repository.judge() == 0

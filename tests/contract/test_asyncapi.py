"""schemas/asyncapi.json is a whole and consistent AsyncAPI 3 document."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from entresol_contracts import EVENT_TYPES

from tests.contract import schemas

DOCUMENT = schemas.load(schemas.SCHEMAS / "asyncapi.json")


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def target(reference: str) -> Any:
    node: Any = DOCUMENT
    for token in reference.removeprefix("#/").split("/"):
        node = node[token.replace("~1", "/").replace("~0", "~")]
    return node


def test_it_is_asyncapi_3() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}


def test_every_reference_stays_inside_and_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        assert reference.startswith("#/"), reference
        assert target(reference), reference


def test_every_event_has_a_channel_a_message_and_an_operation_of_its_publisher() -> None:
    for known in EVENT_TYPES:
        name = f"{known.fact}.v{known.major}"
        assert DOCUMENT["components"]["messages"][known.model.__name__]["name"] == known.type
        operation = DOCUMENT["operations"][f"{known.publisher}.{name}"]
        assert operation["action"] == "send"
        assert target(operation["channel"]["$ref"]) is DOCUMENT["channels"][name]
    assert len(DOCUMENT["channels"]) == len(EVENT_TYPES) + len({"ingest"})


def test_an_operation_only_names_messages_of_its_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


@pytest.mark.parametrize("name", sorted(DOCUMENT["channels"]))
def test_a_channel_describes_each_parameter_of_its_address(name: str) -> None:
    channel = DOCUMENT["channels"][name]
    assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_a_payload_read_from_the_document_alone_judges_the_examples(name: str) -> None:
    title = schemas.event_schema(name)["title"]
    schema = {"$ref": f"#/components/schemas/{title}", "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    for size in schemas.SIZES:
        validator.validate(schemas.example(name, size))
    assert not validator.is_valid({})

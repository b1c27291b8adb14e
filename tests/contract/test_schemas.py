"""schemas/ is sound in itself, and the generated models say the same."""

import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from entresol_contracts import EVENT_TYPES, EventType

from tests.contract import schemas

EVENT_NAMES = [f"{known.fact}.v{known.major}" for known in EVENT_TYPES]


@pytest.mark.parametrize("path", schemas.FILES, ids=lambda path: path.name)
def test_every_schema_is_valid_json_schema_2020_12(path: Path) -> None:
    document = schemas.load(path)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(document)
    schemas.validator(path)


def test_the_registry_holds_exactly_the_events_with_a_schema() -> None:
    assert sorted(EVENT_NAMES) == schemas.EVENTS


@pytest.mark.parametrize("known", EVENT_TYPES, ids=EVENT_NAMES)
def test_the_registry_says_what_the_schema_says(known: EventType) -> None:
    document = schemas.event_schema(f"{known.fact}.v{known.major}")
    assert known.dataschema == document["$id"]
    assert known.publisher == document["x-publisher"]
    assert known.model.__name__ == document["title"]
    assert re.fullmatch(
        rf"https://entresol\.dev/schemas/events/{known.fact}\.v{known.major}\.\d+\.json", document["$id"]
    )


@pytest.mark.parametrize("known", EVENT_TYPES, ids=EVENT_NAMES)
def test_an_event_is_named_aggregate_and_past_participle(known: EventType) -> None:
    assert re.fullmatch(r"dev\.entresol\.[a-z]+\.[a-z]+\.v[1-9]\d*", known.type)


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_an_event_stays_open_for_fields_of_later_minor_versions(name: str) -> None:
    document = schemas.event_schema(name)
    assert document.get("additionalProperties", True) is not False
    schemas.event_validator(name).validate({**schemas.example(name, "full"), "added_later": 1})


@pytest.mark.parametrize("size", schemas.SIZES)
@pytest.mark.parametrize("name", schemas.EVENTS)
def test_every_event_has_an_example_that_fits_its_schema(name: str, size: str) -> None:
    schemas.event_validator(name).validate(schemas.example(name, size))


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_a_minimal_example_holds_only_what_is_required(name: str) -> None:
    assert schemas.example(name, "minimal").keys() == set(schemas.event_schema(name)["required"])


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_a_full_example_holds_every_field(name: str) -> None:
    assert schemas.example(name, "full").keys() == schemas.event_schema(name)["properties"].keys()


@pytest.mark.parametrize("name", schemas.EVENTS)
def test_a_schema_refuses_an_event_that_lacks_a_required_field(name: str) -> None:
    whole = schemas.example(name, "minimal")
    for field in whole:
        rest = {key: value for key, value in whole.items() if key != field}
        assert not schemas.event_validator(name).is_valid(rest), field


def test_no_example_is_left_over_from_an_event_that_is_gone() -> None:
    wanted = {f"{name}.{size}.json" for name in schemas.EVENTS for size in schemas.SIZES}
    assert {path.name for path in (schemas.SCHEMAS / "examples").iterdir()} == wanted


@pytest.mark.parametrize("size", schemas.SIZES)
@pytest.mark.parametrize("known", EVENT_TYPES, ids=EVENT_NAMES)
def test_a_model_reads_an_example_and_writes_it_back_unchanged(known: EventType, size: str) -> None:
    document = schemas.example(f"{known.fact}.v{known.major}", size)
    model = known.model.model_validate(document)
    assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == document


@pytest.mark.parametrize("known", EVENT_TYPES, ids=EVENT_NAMES)
def test_a_model_passes_over_fields_it_does_not_know(known: EventType) -> None:
    document = schemas.example(f"{known.fact}.v{known.major}", "full")
    assert known.model.model_validate({**document, "added_later": 1}) == known.model.model_validate(document)


@pytest.mark.parametrize("name", schemas.MANIFESTS)
def test_a_manifest_schema_names_its_kind_and_refuses_unknown_fields(name: str) -> None:
    document = schemas.load(schemas.SCHEMAS / "manifests" / f"{name}.json")
    assert document["properties"]["kind"]["const"].lower() == name.removesuffix(".v1")
    assert document["properties"]["apiVersion"]["const"] == "entresol.dev/v1"
    assert document["additionalProperties"] is False


@pytest.mark.parametrize("script", ["generate.py", "asyncapi.py"])
def test_what_is_generated_is_up_to_date(script: str) -> None:
    command = [sys.executable, str(schemas.ROOT / "libs/contracts" / script), "--check"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr

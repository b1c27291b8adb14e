"""Reading the contract as an outsider would: from the files in schemas/, with a general JSON Schema validator."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"

EVENTS = sorted(path.name.removesuffix(".json") for path in (SCHEMAS / "events").glob("*.json"))
MANIFESTS = sorted(path.name.removesuffix(".json") for path in (SCHEMAS / "manifests").glob("*.json"))
FILES = sorted(
    [
        *SCHEMAS.glob("events/*.json"),
        *SCHEMAS.glob("manifests/*.json"),
        SCHEMAS / "common.json",
        SCHEMAS / "envelope.v1.json",
    ]
)
SIZES = ("minimal", "full")


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def event_schema(name: str) -> dict[str, Any]:
    return load(SCHEMAS / "events" / f"{name}.json")


def example(name: str, size: str) -> dict[str, Any]:
    return load(SCHEMAS / "examples" / f"{name}.{size}.json")


@cache
def validator(path: Path) -> jsonschema_rs.Validator:
    """Validates formats too; resolves references within schemas/ only."""
    common = load(SCHEMAS / "common.json")
    registry = jsonschema_rs.Registry([(common["$id"], common)])
    return jsonschema_rs.Draft202012Validator(load(path), registry=registry, validate_formats=True)


def event_validator(name: str) -> jsonschema_rs.Validator:
    return validator(SCHEMAS / "events" / f"{name}.json")


def envelope_validator() -> jsonschema_rs.Validator:
    return validator(SCHEMAS / "envelope.v1.json")

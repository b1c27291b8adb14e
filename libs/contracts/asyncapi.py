"""Describe the log as AsyncAPI 3: every event type as a channel, and who publishes to it.

`asyncapi.py` writes schemas/asyncapi.json; `asyncapi.py --check` writes nothing and exits 1 if it is out of date.
The document stands alone: the schemas it needs are copied in, so it can be served or rendered without the repository.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TypeAlias

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TARGET = SCHEMAS / "asyncapi.json"
SERVICES = ("intake", "policy", "provisioning", "catalog", "notification")
OF_THE_FILE = {"$schema", "$id", "x-publisher"}

Document: TypeAlias = dict[str, Any]


def load(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def inlined(node: Any) -> Any:
    """The schema with references into this document instead of into other files."""
    if isinstance(node, dict):
        return {
            key: value.replace("../common.json#/$defs/", "#/components/schemas/") if key == "$ref" else inlined(value)
            for key, value in node.items()
            if key not in OF_THE_FILE
        }
    return [inlined(item) for item in node] if isinstance(node, list) else node


def channel(fact: str, major: int, schema: Document) -> Document:
    publisher = schema["x-publisher"]
    parameters: Document = {"key": {"description": "The subject if it is a slug, else 32 digits of its SHA-256."}}
    if publisher == "any":
        parameters["service"] = {"description": "The service that publishes it.", "enum": list(SERVICES)}
    return {
        "address": f"entresol.{'{service}' if publisher == 'any' else publisher}.{fact}.{{key}}",
        "title": f"{fact}, version {major}",
        "description": schema["description"],
        "messages": {schema["title"]: {"$ref": f"#/components/messages/{schema['title']}"}},
        "parameters": parameters,
        "tags": [{"name": publisher}],
    }


def message(fact: str, major: int, schema: Document, examples: list[Document]) -> Document:
    event_type = f"dev.entresol.{fact}.v{major}"
    return {
        "name": event_type,
        "title": schema["title"],
        "summary": schema["description"],
        "contentType": "application/cloudevents+json",
        "correlationId": {"location": "$message.payload#/correlationid"},
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/Envelope"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": event_type},
                        "dataschema": {"type": "string", "examples": [schema["$id"]]},
                        "data": {"$ref": f"#/components/schemas/{schema['title']}"},
                    },
                },
            ]
        },
        "x-data-examples": examples,
    }


def operation(fact: str, major: int, schema: Document) -> Document:
    reference = f"{fact}.v{major}"
    return {
        "action": "send",
        "title": f"{schema['x-publisher']} publishes {fact}",
        "channel": {"$ref": f"#/channels/{reference}"},
        "messages": [{"$ref": f"#/channels/{reference}/messages/{schema['title']}"}],
        "tags": [{"name": schema["x-publisher"]}],
    }


INGEST_CHANNEL: Document = {
    "address": "entresol.ingest.{source}.{rest}",
    "title": "Events from outside",
    "description": "CloudEvents of who has a NATS user for it, structured or binary; `source` must fit the user.",
    "messages": {"CloudEvent": {"$ref": "#/components/messages/CloudEvent"}},
    "parameters": {
        "source": {"description": "What the publisher's NATS user may write under."},
        "rest": {"description": "One or more tokens of the publisher's choice."},
    },
    "tags": [{"name": "intake"}],
}
INGEST_OPERATION: Document = {
    "action": "receive",
    "title": "intake takes in events from outside",
    "channel": {"$ref": "#/channels/ingest"},
    "messages": [{"$ref": "#/channels/ingest/messages/CloudEvent"}],
    "tags": [{"name": "intake"}],
}
CLOUD_EVENT: Document = {
    "name": "CloudEvent",
    "title": "Any CloudEvent 1.0",
    "contentType": "application/cloudevents+json",
    "payload": {
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1},
            "type": {"type": "string", "minLength": 1},
        },
    },
}


def generated() -> Document:
    channels: Document = {"ingest": INGEST_CHANNEL}
    messages: Document = {"CloudEvent": CLOUD_EVENT}
    operations: Document = {"intake.ingest": INGEST_OPERATION}
    schemas: Document = {
        "Envelope": inlined(load(SCHEMAS / "envelope.v1.json")),
        **inlined(load(SCHEMAS / "common.json")["$defs"]),
    }
    for path in sorted((SCHEMAS / "events").glob("*.json")):
        name = path.name.removesuffix(".json")
        fact, _, major = name.rpartition(".v")
        schema = load(path)
        examples = [load(example) for example in sorted((SCHEMAS / "examples").glob(f"{name}.*.json"))]
        schemas[schema["title"]] = inlined(schema)
        messages[schema["title"]] = message(fact, int(major), schema, examples)
        channels[name] = channel(fact, int(major), schema)
        operations[f"{schema['x-publisher']}.{name}"] = operation(fact, int(major), schema)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Entresol",
            "version": "1.0.0",
            "description": (
                "The log of the platform: one JetStream stream, EVENTS, on entresol.>, in total order. "
                "Subscribe with a durable pull consumer; a reader ignores fields and types that it doesn't know."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [*({"name": name} for name in SERVICES), {"name": "any", "description": "Each service may."}],
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {"log": {"host": "localhost:4222", "protocol": "nats", "description": "nats-server with JetStream"}},
        "channels": channels,
        "operations": dict(sorted(operations.items())),
        "components": {"schemas": schemas, "messages": messages},
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if it is out of date")
    options = parser.parse_args(arguments)
    text = json.dumps(generated(), indent=2, ensure_ascii=False) + "\n"
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print(f"{TARGET} is not what schemas/ says; run `make schemas`", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

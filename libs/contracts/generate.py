"""Generate the models of `entresol_contracts` from `schemas/`.

`generate.py` writes them; `generate.py --check` writes nothing and exits 1 if they are not up to date.
The schemas are the source of truth: never edit what this writes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent / "src" / "entresol_contracts"
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CODEGEN = [
    *(sys.executable, "-m", "datamodel_code_generator"),
    *("--input-file-type", "jsonschema", "--output-model-type", "pydantic_v2.BaseModel"),
    *("--target-python-version", "3.11", "--use-annotated", "--field-constraints"),
    *("--enum-field-as-literal", "all", "--use-title-as-name", "--output-datetime-class", "AwareDatetime"),
    *(
        "--use-schema-description",
        "--use-field-description",
        "--skip-root-model",
        "--strict-nullable",
        "--collapse-root-models",
    ),
    *("--disable-timestamp", "--formatters", "builtin"),
]


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def for_models(node: Any) -> Any:
    """Return the schema with references into one combined schema, and without rules on strings.

    Models are for reading. Judging is the schema's part: pydantic has no `\\p{L}` with look-ahead, and a
    pattern inside a list would make every string of it an object.
    """
    if isinstance(node, dict):
        return {
            key: value.replace("../common.json#", "#") if key == "$ref" else for_models(value)
            for key, value in node.items()
            if key not in {"$id", "$schema", "x-publisher"}
            and not (
                key in {"pattern", "minLength", "maxLength", "not", "uniqueItems"} and node.get("type") != "object"
            )
            and key != "propertyNames"
        }
    return [for_models(item) for item in node] if isinstance(node, list) else node


def models(documents: list[dict[str, Any]], shared: dict[str, Any], base_class: str) -> str:
    definitions = {name: {"title": name, **definition} for name, definition in shared.items()}
    for document in documents:
        definitions |= document.pop("$defs", {})
        definitions[document["title"]] = document
    combined = {"title": "Everything", "type": "object", "$defs": for_models(definitions)}
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "schema.json", Path(scratch) / "models.py"
        source.write_text(json.dumps(combined), encoding="utf-8")
        command = [*CODEGEN, "--base-class", base_class, "--input", str(source), "--output", str(target)]
        subprocess.run(command, check=True)
        text = target.read_text(encoding="utf-8").split("\n", 2)[2]
    return f'"""Generated from schemas/ by generate.py. Do not edit."""\n{text}'


def registry(documents: list[tuple[str, dict[str, Any]]]) -> str:
    lines = [
        '"""Generated from schemas/ by generate.py: which event types there are. Do not edit."""',
        "",
        "from entresol_contracts import events",
        "from entresol_contracts.base import EventType",
        "",
        "EVENT_TYPES: tuple[EventType, ...] = (",
    ]
    for stem, document in documents:
        fact, major = stem.rsplit(".v", 1)
        lines.append(
            f'    EventType("{fact}", {major}, "{document["x-publisher"]}", "{document["$id"]}", '
            f"events.{document['title']}),"
        )
    return "\n".join([*lines, ")", ""])


def generated() -> dict[Path, str]:
    shared = load(SCHEMAS / "common.json")["$defs"]
    events = [(path.name.removesuffix(".json"), load(path)) for path in sorted((SCHEMAS / "events").glob("*.json"))]
    manifests = [load(path) for path in sorted((SCHEMAS / "manifests").glob("*.json"))]
    return {
        PACKAGE / "events.py": models([document for _, document in events], shared, "entresol_contracts.base.Payload"),
        PACKAGE / "manifests.py": models(manifests, {}, "entresol_contracts.base.Document"),
        PACKAGE / "registry.py": registry(events),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if anything is out of date")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if check:
            print(f"{path} is not what schemas/ says; run `make schemas`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

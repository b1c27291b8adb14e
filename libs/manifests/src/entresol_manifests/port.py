"""Port's blueprints and entities, as its API and exports write them, become manifests.

Nothing is normalised: identifiers keep their case, `consumesApi: []` (explicitly none) stays apart from no
`consumesApi` (nothing said), and odd enum values such as `postgress` stay as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

_WRITTEN_BY_PORT: Final = frozenset(
    {"createdAt", "createdBy", "updatedAt", "updatedBy", "scorecards", "resolvedIdentifier"}
)
"""Facts about Port's own copy, present in exports."""


def is_blueprint(document: Mapping[str, Any]) -> bool:
    return "identifier" in document and "schema" in document and "kind" not in document


def is_entity(document: Mapping[str, Any]) -> bool:
    return (
        "identifier" in document
        and "kind" not in document
        and any(key in document for key in ("properties", "relations", "blueprint"))
    )


def blueprint(document: Mapping[str, Any]) -> dict[str, Any]:
    """The Blueprint manifest of a Port blueprint."""
    return _manifest("Blueprint", document)


def entity(document: Mapping[str, Any]) -> dict[str, Any]:
    """The Entity manifest of a Port entity, which must name its blueprint."""
    return _manifest("Entity", {key: value for key, value in document.items() if key != "team" or value is not None})


def _manifest(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": document["identifier"]}
    if document.get("title") is not None:
        metadata["title"] = document["title"]
    taken = {"identifier", "title"} | _WRITTEN_BY_PORT
    spec = {key: value for key, value in document.items() if key not in taken}
    return {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


def places(pointer: str) -> tuple[tuple[str, str], ...]:
    """Where the parts of the manifest came from, beneath `pointer` in the file."""
    moved = (("/metadata/name", f"{pointer}/identifier"), ("/metadata/title", f"{pointer}/title"))
    return (*moved, ("/spec", pointer), ("", pointer))

"""Backstage's `catalog-info.yaml` becomes entities of a blueprint of the same name as the kind.

Relations go to those of the portal's own blueprints: `system`, `domain`, `components`, `resources`, `consumesApi`,
`providesApi`. Backstage lets a component list many APIs that it provides, a blueprint says so at the API: both are
written if there is one API, and each API that was read along gets its `provider`.
The owner becomes the entity's team; everything else that a blueprint may ask for is kept as a property.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

KINDS: Final = ("Component", "API", "Resource", "System", "Domain", "Group", "User")

_REFERENCE = re.compile(r"(?:(?P<kind>[A-Za-z][A-Za-z0-9]*):)?(?:(?P<namespace>[A-Za-z0-9-]+)/)?(?P<name>[^/:\s]+)\Z")
_SINGLE: Final = ("system", "domain", "subcomponentOf", "subdomainOf", "parent")
_MANY: Final = {"consumesApis": "consumesApi", "members": "members", "memberOf": "memberOf", "children": "children"}
_BY_KIND: Final = {"component": "components", "resource": "resources", "api": "consumesApi"}
_KEPT: Final = ("type", "lifecycle", "definition", "profile")
_DESCRIPTIVE: Final = ("description", "labels", "annotations", "tags", "links")
_API_TYPES: Final = {"openapi": "Open API"}


class ReferenceUnreadable(ValueError):
    """A reference to another entity that is not `[kind:][namespace/]name`; has the pointer of its place."""

    def __init__(self, pointer: str) -> None:
        super().__init__("a reference is written [kind:][namespace/]name")
        self.pointer = pointer


def is_entity(document: Mapping[str, Any]) -> bool:
    version = document.get("apiVersion")
    return isinstance(version, str) and (version.startswith("backstage.io/") or "scaffolder.backstage.io/" in version)


def entity(document: Mapping[str, Any]) -> dict[str, Any]:
    """The Entity manifest; raise ReferenceUnreadable. The document has a kind of KINDS, `metadata` and `spec`."""
    kind, metadata, spec = document["kind"], document["metadata"], document.get("spec") or {}
    namespace = str(metadata.get("namespace") or "default").lower()
    properties = {key: metadata[key] for key in _DESCRIPTIVE if key in metadata}
    properties |= {key: spec[key] for key in _KEPT if key in spec}
    if kind == "API":
        properties["type"] = _API_TYPES.get(str(properties.get("type")), properties.get("type"))
    body: dict[str, Any] = {"blueprint": kind, "properties": properties, "relations": _relations(spec, namespace)}
    if isinstance(spec.get("owner"), str):
        body["team"] = _identifier(spec["owner"], namespace, "/spec/owner")
    named = {"name": _identifier(str(metadata.get("name", "")), namespace, "/metadata/name")}
    if isinstance(metadata.get("title"), str):
        named["title"] = metadata["title"]
    return {"apiVersion": "entresol.dev/v1", "kind": "Entity", "metadata": named, "spec": body}


def provides(document: Mapping[str, Any]) -> list[str]:
    """The identifiers of the APIs that a Backstage entity says it provides; raise ReferenceUnreadable."""
    namespace = str(document["metadata"].get("namespace") or "default").lower()
    return _identifiers(document.get("spec") or {}, "providesApis", namespace)


def name_providers(providers: Mapping[str, str], entities: Iterable[dict[str, Any]]) -> None:
    """Say at each API, in place, which component provides it; `providers` is component by API."""
    for entity in entities:
        provider = providers.get(entity["metadata"]["name"])
        if entity["spec"].get("blueprint") == "API" and provider is not None:
            entity["spec"].setdefault("relations", {}).setdefault("provider", provider)


def places(pointer: str) -> tuple[tuple[str, str], ...]:
    """Where the parts of the manifest came from."""
    moved = tuple((f"/spec/properties/{key}", f"{pointer}/metadata/{key}") for key in _DESCRIPTIVE)
    return (*moved, ("/spec/properties", f"{pointer}/spec"), ("/spec/relations", f"{pointer}/spec"), ("", pointer))


def _relations(spec: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    relations: dict[str, Any] = {}
    for key in _SINGLE:
        if spec.get(key) is not None:
            relations[key] = _identifier(spec[key], namespace, f"/spec/{key}")
    for key, relation in _MANY.items():
        if key in spec:
            relations[relation] = _identifiers(spec, key, namespace)
    provided = _identifiers(spec, "providesApis", namespace)
    if len(provided) == 1:
        relations["providesApi"] = provided[0]
    for index, target in enumerate(_identifiers(spec, "dependsOn", namespace)):
        relation = _BY_KIND.get(_kind(spec["dependsOn"][index]), "components")
        relations.setdefault(relation, []).append(target)
    return relations


def _identifiers(spec: Mapping[str, Any], key: str, namespace: str) -> list[str]:
    given = spec.get(key)
    if given is not None and not isinstance(given, list):
        raise ReferenceUnreadable(f"/spec/{key}")
    return [_identifier(each, namespace, f"/spec/{key}/{index}") for index, each in enumerate(given or [])]


def _kind(reference: Any) -> str:
    found = _REFERENCE.match(reference) if isinstance(reference, str) else None
    return (found["kind"] or "").lower() if found else str(reference.get("kind", "")).lower()


def _identifier(reference: Any, namespace: str, pointer: str) -> str:
    """The identifier of what is referred to: its name, after its namespace unless that is `default`."""
    if isinstance(reference, dict):
        reference = f"{reference.get('namespace') or namespace}/{reference.get('name', '')}"
    found = _REFERENCE.match(reference) if isinstance(reference, str) else None
    if found is None:
        raise ReferenceUnreadable(pointer)
    place = (found["namespace"] or namespace).lower()
    return found["name"] if place == "default" else f"{place}/{found['name']}"

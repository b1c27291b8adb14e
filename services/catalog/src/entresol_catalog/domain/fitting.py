"""Whether entities fit their blueprint. Only ever shown as problems: a projection refuses nothing."""

from typing import Any

from entresol_catalog.domain.entities import Document

Spec = dict[str, Any]


def relation_problems(document: Document, spec: Spec) -> list[str]:
    """What is wrong with the relations, by the blueprint's own account of them."""
    problems = []
    known: dict[str, Any] = spec.get("relations") or {}
    for name, value in document["relations"].items():
        if name not in known:
            problems.append(f"/relations/{name}: the blueprint has no such relation")
        elif isinstance(value, list) and not known[name].get("many"):
            problems.append(f"/relations/{name}: holds several, but the blueprint allows one")
        elif isinstance(value, str) and known[name].get("many"):
            problems.append(f"/relations/{name}: holds one, but the blueprint wants a list")
    for name, relation in known.items():
        if relation.get("required") and document["relations"].get(name) in (None, []):
            problems.append(f"/relations/{name}: is required")
    return problems


def property_schema(spec: Spec) -> dict[str, Any]:
    """JSON Schema of the properties. Port's own words in it, such as `enumColors`, say nothing about validity."""
    schema: dict[str, Any] = spec.get("schema") or {}
    return {"type": "object", "properties": schema.get("properties") or {}, "required": schema.get("required") or []}


def target_blueprint(spec: Spec | None, relation: str) -> str | None:
    """Of which type the targets of a relation are; None if the blueprint does not say."""
    target = ((spec or {}).get("relations") or {}).get(relation, {}).get("target")
    return target if isinstance(target, str) else None

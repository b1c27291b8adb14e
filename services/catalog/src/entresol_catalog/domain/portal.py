"""Blueprints and entities in Port's JSON shape, equal to what was imported from there."""

from typing import Any

from entresol_catalog.domain.entities import Entity
from entresol_catalog.domain.listings import Manifest


def blueprint(manifest: Manifest) -> dict[str, Any]:
    metadata = manifest.manifest.get("metadata", {})
    spec = manifest.manifest.get("spec", {})
    title = {"title": metadata["title"]} if "title" in metadata else {}
    return {"identifier": manifest.name, **title, **spec}


def entity(one: Entity) -> dict[str, Any]:
    return {"identifier": one.identifier, "blueprint": one.blueprint, **(one.document or {})}

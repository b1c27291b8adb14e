"""What an offering requires: other resources, its own or shared ones, that are there before the first step."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_manifests.findings import Finding
from entresol_manifests.naming import Fields, check_expression, check_placeholders, is_slug

OF_A_SHARED_ONE: Final = ("project", "environment")
NAMES: Final = ("id", "class", *OF_A_SHARED_ONE)
"""Texts that become names once their placeholders are filled."""


def check_requirements(spec: Mapping[str, Any], name: str, fields: Fields) -> Iterator[Finding]:
    """What is wrong with what the offering of this name requires."""
    seen: set[str] = set()
    for index, required in enumerate(spec.get("requires", [])):
        pointer = f"/spec/requires/{index}"
        if required["name"] in seen:
            yield Finding(f"{pointer}/name", f"there are two requirements named {required['name']}")
        seen.add(required["name"])
        if "id" not in required:
            for key in OF_A_SHARED_ONE:
                if key in required:
                    yield Finding(f"{pointer}/{key}", "needs an id: one of its own is where the resource itself is")
            if required["offering"] == name and not {"version", "when"} & required.keys():
                yield Finding(f"{pointer}/offering", "each would require another of its own kind, without an end")
        for key in NAMES:
            if key in required:
                yield from _name(required[key], f"{pointer}/{key}", fields)
        if "when" in required:
            yield from check_expression(required["when"], f"{pointer}/when", fields)
        yield from check_placeholders(required.get("inputs", {}), f"{pointer}/inputs", fields)


def _name(text: str, pointer: str, fields: Fields) -> Iterator[Finding]:
    yield from check_placeholders(text, pointer, fields)
    if "${" not in text and not is_slug(text):
        yield Finding(pointer, "must be lower-case letters, digits and hyphens, at most 63")

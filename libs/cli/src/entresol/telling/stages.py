"""How the stages of an offering's versions read, and what each means for who has it or wants it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from entresol.terminal import clean, state

Document = Mapping[str, Any]

DEFAULT = "default"
TO_LEAVE = ("deprecated", "defective")
"""Stages of versions that nobody should stay with."""

MEANS: Mapping[str, str] = {
    "proposed": "only who names it gets it",
    "default": "who names no version gets it",
    "deprecated": "nothing new is made with it unless it is named",
    "defective": "nothing is made with it or updated to it any more",
}


WITHOUT = "who names it gets it"
"""What it means that a version has no stage."""


def means(stage: str | None) -> str:
    """What it means for who asks for something new."""
    return MEANS.get(stage, "") if stage is not None else WITHOUT


def versions(offering: Document | None) -> Sequence[Document]:
    """An offering's versions, as the catalog lists them."""
    return (offering or {}).get("versions") or []


def stage_of(offering: Document | None, version: object) -> str | None:
    """The stage of a version; None if it has none, or is not offered."""
    return next((one.get("stage") for one in versions(offering) if one["version"] == version), None)


def default_of(offering: Document | None) -> str | None:
    """The version that is the default; None if there is none."""
    return next((str(one["version"]) for one in versions(offering) if one.get("stage") == DEFAULT), None)


def remark(offering: Document | None, version: object) -> Text | None:
    """What whoever has this version should know of its stage; None if there is nothing to say."""
    known = versions(offering)
    if not known:
        return None
    stage, default = stage_of(offering, version), default_of(offering)
    if stage == DEFAULT:
        return None
    instead = f"{default} is the default" if default is not None else "there is no default"
    if stage is None:
        offered = any(one["version"] == version for one in known)
        return Text(clean(instead) if offered else clean(f"not offered any more; {instead}"), style="yellow")
    line = Text.assemble(state(stage), f": {means(stage)}")
    return line.append(clean(f"; {instead}")) if stage in TO_LEAVE else line


def order(one: Document) -> tuple[object, ...]:
    """A key to sort by version, the highest first."""
    numbers = [int(part) if part.isdigit() else 0 for part in str(one.get("version") or "").split(".")]
    return tuple(-number for number in numbers)

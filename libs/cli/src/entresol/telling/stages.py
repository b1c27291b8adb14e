"""How the stages of an offering's versions read, and what each means for who has it or wants it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from entresol.terminal import clean, state

Document = Mapping[str, Any]

DEFAULT = "default"
TO_LEAVE = ("deprecated", "defective")
"""Stages of versions that nobody should stay with."""

MEANS = {
    "proposed": "only who names it gets it",
    "default": "who names no version gets it",
    "deprecated": "nothing new is made with it unless it is named",
    "defective": "nothing is made with it or updated to it any more",
}


def versions(offering: Document | None) -> Sequence[Document]:
    """An offering's versions, as the catalog lists them."""
    return (offering or {}).get("versions") or []


def stage_of(offering: Document | None, version: object) -> str | None:
    """The stage of a version; None if it is not known."""
    return next((str(one["stage"]) for one in versions(offering) if one["version"] == version), None)


def default_of(offering: Document | None) -> str | None:
    """The version that is the default; None if there is none."""
    return next((str(one["version"]) for one in versions(offering) if one["stage"] == DEFAULT), None)


def remark(offering: Document | None, version: object) -> Text | None:
    """What whoever has this version should know of its stage; None if there is nothing to say."""
    stage = stage_of(offering, version)
    if stage is None:
        return None if not versions(offering) else Text("not offered any more", style="yellow")
    if stage == DEFAULT:
        return None
    default = default_of(offering)
    line = Text.assemble(state(stage), f": {MEANS.get(stage, '')}")
    if stage in TO_LEAVE and default is not None:
        line.append(clean(f"; {default} is the default"))
    return line

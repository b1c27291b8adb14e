"""How far a version of an offering has come, and what a newly applied one becomes.

A version has one stage or none. One without is published and can be named, like a proposed one that nobody doubts any
more, or a default that has been followed by another. At most one version of an offering is its default.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from entresol_intake.domain.asks import semantic

Stage: TypeAlias = Literal["proposed", "default", "deprecated", "defective"]

PROPOSED: Final = "proposed"
"""To be tried: only who names it gets it."""
DEFAULT: Final = "default"
"""What an ask for something new gets that names no version."""
DEPRECATED: Final = "deprecated"
"""Only for who names it; what has it keeps it, and should leave it."""
DEFECTIVE: Final = "defective"
"""Nothing is made with it, or updated to it."""
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)


def read_stage(text: str) -> Stage:
    """The stage of this name, which was checked to be one."""
    assert text in STAGES
    return text


def default_of(stages: Mapping[str, str]) -> str | None:
    """The default among the versions that have a stage."""
    return next((version for version, stage in stages.items() if stage == DEFAULT), None)


def first_stage(version: str, stages: Mapping[str, str], *, proposed: bool) -> Stage | None:
    """What a version becomes when it is applied; None if that changes nothing.

    One that has a stage keeps it: it was applied before, removed, and comes back.
    """
    if version in stages:
        return None
    if proposed:
        return PROPOSED
    default = default_of(stages)
    return DEFAULT if default is None or semantic(version) > semantic(default) else None

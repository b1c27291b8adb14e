"""In which stage of its life each version of an offering is.

- At most one version is the default. The one that was it before has no stage then, unless it is given another.
- Where no default was ever told of, as with offerings from before there were stages, the highest version in force that
  has no stage counts as the default.
- A version that has no stage is there for those who name it.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from entresol_catalog.domain.versions import precedence

Stage = Literal["proposed", "default", "deprecated", "defective"]


@dataclass(slots=True)
class Staged:
    """What was said of a version last."""

    stage: Stage | None
    """None: another version has become the default in its place."""
    at: datetime
    by: str
    reason: str | None


@dataclass(slots=True)
class Stages:
    name: str
    versions: dict[str, Staged] = field(default_factory=dict)
    defaulted: bool = False
    """Whether a default was ever told of."""
    sequence: int | None = None
    """The highest that a fact has borne that changed it."""

    def stage(
        self, version: str, stage: Stage, at: datetime, by: str, reason: str | None, sequence: int | None = None
    ) -> bool:
        """A version has reached another stage. What bears a lower sequence than was seen is too late."""
        if sequence is not None and self.sequence is not None and sequence < self.sequence:
            return False
        said, had = Staged(stage, at, by, reason), self.versions.get(version)
        if had is not None and (had.at == at or (had.stage, had.by, had.reason) == (stage, by, reason)):
            return False
        if stage == "default":
            self.defaulted = True
            for one in self.versions.values():
                if one.stage == "default":
                    one.stage = None
        self.versions[version] = said
        self.sequence = self.sequence if sequence is None else sequence
        return True

    def default(self, in_force: Collection[str]) -> str | None:
        """The version that a request gets that names none; None if there is none."""
        if self.defaulted:
            found = [version for version, one in self.versions.items() if one.stage == "default"]
        else:
            found = [version for version in in_force if version not in self.versions]
        return max((version for version in found if version in in_force), key=precedence, default=None)

    def of(self, version: str, in_force: Collection[str]) -> Stage | None:
        """The stage of a version."""
        if version == self.default(in_force):
            return "default"
        said = self.versions.get(version)
        return None if said is None or said.stage == "default" else said.stage

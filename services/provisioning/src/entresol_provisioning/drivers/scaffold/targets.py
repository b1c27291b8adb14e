"""The repository that a scaffold step names, and what the step may say about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field

from entresol_provisioning.drivers import StepFailed, StepWork, paths
from entresol_provisioning.drivers.contracts import Strict, read
from entresol_provisioning.drivers.git import places
from entresol_provisioning.drivers.git.places import ONE_PLACE, Branch, Place, Repository
from entresol_provisioning.drivers.scaffold.templates import NAME_PATTERN
from entresol_provisioning.settings import Settings


class Spec(Strict):
    """Makes a repository from a copier template, and brings newer versions of the template into it."""

    model_config = ConfigDict(json_schema_extra={**ONE_PLACE})

    template: str = Field(min_length=1, json_schema_extra={"pattern": NAME_PATTERN})
    """Name of a template beneath the service's templates, or of a repository that is kept beside it."""
    ref: Branch | None = None
    """Tag, branch or commit of the template; left out: its newest."""
    answers: dict[str, Any] | None = None
    """Answers to the template's questions, by their names."""
    repository: Repository | None = None
    """Name of the new repository, kept beside the service."""
    destination: str | None = None
    """Name of a Destination with an empty repository."""
    branch: Branch | None = None
    """Branch that is filled; left out: the Destination's, or main."""
    track: bool = False
    """Whether the template's files stay as it gives them; otherwise they are their developers' to change."""
    on_delete: Literal["keep", "delete"] = Field(default="keep", alias="onDelete")
    """What becomes of the repository when the resource is deleted; one that is kept is listed as orphaned."""


@dataclass(frozen=True, slots=True)
class Target:
    """The repository that is made."""

    place: Place
    branch: str
    track: bool
    deletes: bool
    template: str
    ref: str | None
    answers: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.place.repository

    @property
    def folder(self) -> str:
        last = self.name.rstrip("/").removesuffix(".git").rpartition("/")[2]
        plain = last.replace(".", "-")
        return last if paths.slug(plain) == plain else "repository"


def target(settings: Settings, work: StepWork) -> Target:
    """What the step names; raise StepFailed for whatever it must not."""
    asked, spec = read(Spec, work), work.destination or {}
    place = places.place(settings, work, asked.repository, "scaffold")
    if spec.get("path"):
        raise StepFailed("the destination names a path, but a scaffold fills a repository of its own")
    deletes = asked.on_delete == "delete"
    if deletes and place.remote is not None:
        raise StepFailed(
            "/with/onDelete: delete is only for repositories that are kept here; delete this one where it is"
        )
    branch = paths.branch(str(asked.branch or spec.get("branch") or "main"))
    return Target(place, branch, asked.track, deletes, asked.template, asked.ref, asked.answers or {})

"""Where a step of gitops writes: the repository, the branch, the path, and which files there are its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from entresol_manifests import durations
from entresol_manifests.paths import is_harmless
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from entresol_provisioning.drivers import StepFailed, StepWork, paths
from entresol_provisioning.drivers.contracts import Files, Strict, read
from entresol_provisioning.drivers.git import places
from entresol_provisioning.drivers.git.places import ONE_PLACE, Branch, Place, Repository
from entresol_provisioning.settings import Settings

LOOK_SECONDS = 30.0
LONGEST_LOOK_SECONDS = 86_400
_NAMES: JsonDict = {"propertyNames": {"anyOf": [{"format": "relative-path"}, {"pattern": "\\{[{%#]"}]}}
"""The name of a file is known beforehand unless it is a template."""
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


class Spec(Strict):
    """Renders templates into a Git repository, as a commit, or on a branch by which the change is proposed."""

    model_config = ConfigDict(json_schema_extra={"required": ["files"], **ONE_PLACE})

    destination: str | None = None
    """Name of a Destination with a repository."""
    repository: Repository | None = None
    """Name of a repository that is kept beside the service; one that is elsewhere needs a Destination."""
    files: Annotated[Files, Field(json_schema_extra=_NAMES)] | None = None
    """Jinja templates by path; names are templates too. Instead, template may name a folder beside the manifest, whose
    files are put here when it is applied."""
    path: Annotated[str, Field(json_schema_extra={"format": "relative-folder"})] | None = None
    """Folder in the repository; left out: project/environment/offering/name of the resource."""
    branch: Branch | None = None
    """Branch that is written to; left out: the Destination's, or main."""
    via: Literal["commit", "branch"] = "commit"
    """Whether it is committed at once, or proposed by a branch of its own and waited for until it is merged."""
    look: str | float | None = Field(
        default=None,
        json_schema_extra={
            "anyOf": [
                {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_LOOK_SECONDS},
            ]
        },
    )
    """How often to look whether a proposed change is merged: a duration such as 5m, or seconds. Left out: 30s."""
    create: bool | None = None
    """Whether a repository beside the service is made if there is none."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a step writes."""

    place: Place
    branch: str
    path: str
    create: bool
    proposal: str | None
    """The branch by which the change is proposed; None: it is committed to the target's branch."""
    look_seconds: float
    files: Mapping[str, str] | None
    """Templates by path."""

    @property
    def repository(self) -> str:
        return self.place.repository

    def inside(self, name: str) -> str:
        """The path of a file of the step."""
        return paths.relative(f"{self.path}/{name}" if self.path else name)


def target(settings: Settings, work: StepWork) -> Target:
    """Raise StepFailed for whatever is not plainly harmless."""
    asked, spec = read(Spec, work), work.destination or {}
    place = places.place(settings, work, asked.repository, "gitops")
    default = "/".join((work.project, work.environment, work.offering, work.name))
    path = asked.path if "path" in asked.model_fields_set else default
    parts = [str(one).strip("/") for one in (spec.get("path") or "", path or "")]
    path = "/".join(one for one in parts if one)
    branch = paths.branch(str(asked.branch or spec.get("branch") or "main"))
    files = asked.files
    if work.destroys and path and not is_harmless(path):
        path, files = "", None  # it was refused, so nothing of it is there
    path = paths.relative(path) if path else ""
    proposal, look_seconds = _proposal(work) if asked.via == "branch" else None, _look_seconds(asked.look)
    if proposal == branch:
        raise StepFailed(f"the step can't propose a change to {branch} by a branch of the same name")
    create = place.remote is None and (spec.get("create") if spec else asked.create) is True
    return Target(place, branch, path, create, proposal, look_seconds, files)


def owned(previous: Mapping[str, Any] | None, target: Target) -> list[str]:
    """Files that the step wrote when it was last done, if that was to the same place."""
    if previous is None or previous.get("branch") != target.branch:
        return []
    if str(previous.get("repository")).removesuffix(".git") != target.repository.removesuffix(".git"):
        return []
    files = previous.get("files")
    return [paths.relative(str(one)) for one in files] if isinstance(files, list) else []


def _proposal(work: StepWork) -> str:
    parts = (work.project, work.environment, work.offering, work.name, work.step)
    return paths.branch("/".join(("entresol", *(paths.slug(one) for one in parts))))


def _look_seconds(look: str | float | None) -> float:
    if look is None:
        return LOOK_SECONDS
    try:
        seconds = float(look) if _NUMBER.fullmatch(str(look)) else durations.seconds(str(look))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_LOOK_SECONDS:
        raise StepFailed("/with/look: must be a duration of at most a day, such as 30s or 5m")
    return seconds

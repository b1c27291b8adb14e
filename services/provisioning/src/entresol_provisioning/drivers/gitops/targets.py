"""Where a step of gitops writes: the repository, the branch, the path, and which files there are its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entresol_manifests import durations

from entresol_provisioning.drivers import StepFailed, StepWork, paths
from entresol_provisioning.drivers.git import places
from entresol_provisioning.drivers.git.places import Place
from entresol_provisioning.settings import Settings

LOOK_SECONDS = 30.0
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


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

    @property
    def repository(self) -> str:
        return self.place.repository

    def inside(self, name: str) -> str:
        """The path of a file of the step."""
        return paths.relative(f"{self.path}/{name}" if self.path else name)


def target(settings: Settings, work: StepWork) -> Target:
    """Raise StepFailed for whatever is not plainly harmless."""
    with_, spec = work.with_, work.destination or {}
    place = places.place(settings, work, "gitops")
    default = "/".join((work.project, work.environment, work.offering, work.name))
    parts = [str(one).strip("/") for one in (spec.get("path") or "", with_.get("path", default) or "")]
    path = "/".join(one for one in parts if one)
    branch = paths.branch(str(with_.get("branch") or spec.get("branch") or "main"))
    path = paths.relative(path) if path else ""
    proposal, look_seconds = _proposal(work), _look_seconds(with_.get("look"))
    if proposal == branch:
        raise StepFailed(f"the step can't propose a change to {branch} by a branch of the same name")
    create = place.remote is None and (spec if spec else with_).get("create") is True
    return Target(place, branch, path, create, proposal, look_seconds)


def owned(previous: Mapping[str, Any] | None, target: Target) -> list[str]:
    """Files that the step wrote when it was last done, if that was to the same place."""
    if previous is None or previous.get("branch") != target.branch:
        return []
    if str(previous.get("repository")).removesuffix(".git") != target.repository.removesuffix(".git"):
        return []
    files = previous.get("files")
    return [paths.relative(str(one)) for one in files] if isinstance(files, list) else []


def _proposal(work: StepWork) -> str | None:
    via = work.with_.get("via", "commit")
    if via == "commit":
        return None
    if via != "branch":
        raise StepFailed("with.via must be commit, or branch to propose the change by a branch of its own")
    parts = (work.project, work.environment, work.offering, work.name, work.step)
    return paths.branch("/".join(("entresol", *(paths.slug(one) for one in parts))))


def _look_seconds(look: Any) -> float:
    if look is None:
        return LOOK_SECONDS
    try:
        seconds = float(look) if _NUMBER.fullmatch(str(look)) else durations.seconds(str(look))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise StepFailed("with.look must be a duration of at most a day, such as 30s or 5m")
    return seconds

"""The repository that a scaffold step names, and what the step may say about it."""

from dataclasses import dataclass

from entresol_provisioning.drivers import StepFailed, StepWork, paths
from entresol_provisioning.drivers.git import places
from entresol_provisioning.drivers.git.places import Place
from entresol_provisioning.settings import Settings

_KNOWN = frozenset({"template", "ref", "answers", "repository", "destination", "branch", "track", "onDelete"})


@dataclass(frozen=True, slots=True)
class Target:
    """The repository that is made."""

    place: Place
    branch: str
    track: bool
    deletes: bool

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
    with_, spec = work.with_, work.destination or {}
    if unknown := sorted(set(with_) - _KNOWN):
        raise StepFailed(f"with.{unknown[0][:100]} is unknown to scaffold; there are {', '.join(sorted(_KNOWN))}")
    place = places.place(settings, work, "scaffold")
    if spec.get("path"):
        raise StepFailed("the destination names a path, but a scaffold fills a repository of its own")
    track, on_delete = with_.get("track", False), with_.get("onDelete", "keep")
    if not isinstance(track, bool):
        raise StepFailed("with.track must be true or false")
    if on_delete not in ("keep", "delete"):
        raise StepFailed("with.onDelete must be keep or delete")
    if on_delete == "delete" and place.remote is not None:
        raise StepFailed("onDelete: delete is only for repositories that are kept here; delete this one where it is")
    branch = paths.branch(str(with_.get("branch") or spec.get("branch") or "main"))
    return Target(place, branch, track, on_delete == "delete")

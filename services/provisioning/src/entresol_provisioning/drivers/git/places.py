"""Where the repository of a step is: here, beneath the service's root, or elsewhere and reached through a mirror."""

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field
from pydantic.config import JsonDict

from entresol_provisioning.drivers import StepFailed, StepWork, paths
from entresol_provisioning.drivers.git import refs
from entresol_provisioning.drivers.git.access import Access
from entresol_provisioning.drivers.git.remotes import Remote
from entresol_provisioning.drivers.git.rounds import Rounds
from entresol_provisioning.drivers.git.urls import checked_url, is_url
from entresol_provisioning.drivers.git.views import Job
from entresol_provisioning.settings import Settings

ONE_PLACE: JsonDict = {"oneOf": [{"required": ["destination"]}, {"required": ["repository"]}]}
"""What the schema of a `with` says of the two; the Destination itself comes with the work."""
Branch: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": paths.BRANCH_PATTERN})]
Repository: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": paths.REPOSITORY_PATTERN})]
"""Texts of a `with`; they are looked at more closely when they are used."""
MOST = 64
"""Repositories that nobody works at, and are remembered nevertheless."""


@dataclass(frozen=True, slots=True)
class Place:
    """A repository."""

    repository: str
    directory: Path
    """The repository itself, or the mirror of a remote one."""
    remote: Remote | None

    @property
    def missing(self) -> bool:
        """Whether it should lie here and does not."""
        return self.remote is None and not self.directory.exists()


def place(settings: Settings, work: StepWork, named: str | None, driver: str) -> Place:
    """That of the step's destination, or else the one that it has named; raise StepFailed for what is not harmless."""
    spec = work.destination or {}
    repository = spec.get("repository") or named
    if not isinstance(repository, str) or not repository:
        raise StepFailed(f"/with: a {driver} step needs repository, or destination, a Destination with a repository")
    if not is_url(repository):
        return Place(repository, paths.beneath(settings.repositories, repository), None)
    if not spec:
        raise StepFailed("/with/repository: is a name beneath the service's root; a URL belongs into a Destination")
    url = checked_url(repository, local=settings.allow_local_repositories)
    secret_ref = spec.get("secretRef")
    # With another login another mirror: nobody sees through it what theirs does not open. And one for each driver:
    # two would take each other's locks in it for what a crash has left.
    name = hashlib.sha256(f"{url}\n{secret_ref or ''}".encode()).hexdigest()[:32]
    remote = Remote(url, Access(url, secret_ref, settings.git_known_hosts), settings.git_seconds)
    return Place(repository, settings.mirrors / f"{driver}-{name}.git", remote)


class Repositories:
    """The rounds at each repository that a driver works at."""

    def __init__(self) -> None:
        self._rounds: dict[Path, Rounds] = {}

    def at(self, place: Place) -> Rounds:
        if place.directory not in self._rounds:
            if len(self._rounds) >= MOST:
                self._rounds = {where: one for where, one in self._rounds.items() if not one.idle}
            self._rounds[place.directory] = Rounds(place.directory, place.remote)
        return self._rounds[place.directory]

    async def read(self, place: Place, branches: Collection[str], job: Job) -> Any:
        """What the job sees at the heads of the branches."""
        return await self.at(place).ask(job, branches, reads=True)

    async def is_empty(self, place: Place) -> bool:
        """Whether there is neither branch nor tag; a remote repository has been read before."""
        if place.remote is not None:
            return await place.remote.is_empty(place.directory)
        return await asyncio.to_thread(refs.is_empty, place.directory)

    async def close(self) -> None:
        await asyncio.gather(*(rounds.close() for rounds in list(self._rounds.values())))

"""What the steps of a round see of a repository, and what they make of it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dulwich.objects import ObjectID

from entresol_provisioning.drivers.git import history
from entresol_provisioning.drivers.git.objects import Objects


@dataclass(slots=True)
class View:
    """The branches of a repository at the beginning of a round, and what the steps of the round make of them."""

    objects: Objects
    heads: Mapping[str, ObjectID | None]
    tips: dict[str, ObjectID | None]
    trailers: Collection[bytes]
    _found: dict[tuple[str, ObjectID | None], dict[bytes, ObjectID]] = field(default_factory=dict)

    def find(self, branch: str, trailer: bytes, known: ObjectID | None = None) -> ObjectID | None:
        """The commit on the branch that has the trailer; the history is read once for all steps of a round."""
        key = (branch, known)
        if key not in self._found:
            wanted = {trailer} if known else {trailer, *self.trailers}
            self._found[key] = history.find(self.objects, self.heads[branch], wanted, known)
        return self._found[key].get(trailer)


Job = Callable[[View], Any]
"""Looks at the branches and may set their tips as the last that it does; runs in a thread, again in each round."""

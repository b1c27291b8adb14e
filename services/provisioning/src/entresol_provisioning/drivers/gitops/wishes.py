"""What a step wants of its branch, and whose the files there are.

- A file is a step's if it is recorded that the step has put it there, or if the log of the branch says so.
- What another step holds is never written over by another resource, and taken away by nobody.
- What is there already just as it is wanted, from somebody else, is not the step's: a delete leaves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dulwich.objects import ObjectID

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.git import trees
from entresol_provisioning.drivers.git.objects import Objects
from entresol_provisioning.drivers.git.trees import Change
from entresol_provisioning.drivers.git.writers import writers
from entresol_provisioning.drivers.gitops.targets import Target, owned
from entresol_provisioning.holdings import file


@dataclass(frozen=True, slots=True)
class Wish:
    """Contents by path, and what is known of who has put there what is there."""

    write: Mapping[str, bytes]
    own: frozenset[str]
    """Recorded as the step's, and no other step's since."""
    begins: bool = False
    """Whether the branch may be begun, since the repository has none."""
    perhaps: frozenset[str] = frozenset()
    """Of a destroy: files that an attempt may have written whose end was never recorded."""

    @property
    def anew(self) -> Change:
        """What there is to do where there is no repository yet."""
        return Change(self.write, frozenset())

    def change(self, objects: Objects, head: ObjectID | None, resource_id: str) -> Change:
        wrote = writers(objects, head, {path: trees.blob(objects, head, path) for path in self.perhaps})
        ours = {path for path, resource in wrote.items() if resource == resource_id}
        return Change(self.write, (self.own | ours) - self.write.keys())


async def wish(work: StepWork, at: Target, write: Mapping[str, bytes], names: frozenset[str]) -> Wish:
    """`names`: those of the files, also where there is nothing to write. Raises StepFailed if one is another's."""
    own = frozenset(owned(work.previous, at))
    held = await work.others([file(at.repository, at.branch, path) for path in sorted(own | names)])
    others = {path: held[one] for path in own | names if (one := file(at.repository, at.branch, path)) in held}
    for path, resource in sorted(others.items()):
        if path in write and resource != work.resource_id:
            raise taken(path, resource)
    # What another step of the resource has put there, this one goes on with; the other then leaves it alone.
    taken_over = others.keys() & write.keys()
    own = (own - others.keys()) | taken_over
    return Wish(write, own, perhaps=frozenset() if write else names - own - others.keys())


def taken(path: str, resource: str) -> StepFailed:
    return StepFailed(f"{path} is what {resource} has written; each resource needs a path or files of its own")

"""The commit of a step: what is approved of it, what it says, and how it gets on top of a branch."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from dulwich.objects import ObjectID
from entresol_manifests.digest import digest

from entresol_provisioning.drivers import StepFailed, StepResult, StepWork
from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.trees import Change, Difference
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.git.writers import writers
from entresol_provisioning.drivers.gitops.targets import Target
from entresol_provisioning.drivers.gitops.wishes import Wish, taken


class NoBranch(StepFailed):
    """The branch is not there."""


class Weighed(NamedTuple):
    """A wish at a head of the branch."""

    change: Change
    difference: Difference
    files: list[str]
    """Those that are the step's once it is done."""


def add(view: View, work: StepWork, target: Target, wish: Wish, committer: str) -> StepResult:
    """Have the branch as wanted at the end of the round; tells the commit in which it is, and what happened.

    The difference is compared with what was approved each time that somebody else has moved the branch.
    """
    branch = target.branch
    if work.attempted and (found := view.find(branch, history.trailer(work.idempotency_key))) is not None:
        before = next(iter(view.objects.commit(found).parents), None)
        files = weigh(view, work, before, replace(wish, begins=True)).files
        return StepResult(outputs(target, files, found.decode()), "committed by an earlier attempt")
    tip = view.tips[branch]
    change, difference, files = weigh(view, work, tip, wish)
    work.hold_to(approvable(target, change, difference))
    if not difference:
        return StepResult(outputs(target, files, None if tip is None else tip.decode()), "nothing to change")
    parents = () if tip is None else (tip,)
    new = trees.commit(view.objects, parents, tip, change, difference, history.message(work), committer)
    view.tips[branch] = new
    return StepResult(outputs(target, files, new.decode()), _counted(difference))


def weigh(view: View, work: StepWork, head: ObjectID | None, wish: Wish) -> Weighed:
    """What would have to change at the head; raise StepFailed where that is what another resource has written.

    Whatever is there as wanted, and not the step's, stays whose it is. Raises NoBranch where it should be and is not.
    """
    if head is None and wish.write and not wish.begins:
        raise NoBranch("there is no such branch")
    change = wish.change(view.objects, head, work.resource_id)
    difference = trees.compare(view.objects, head, change)
    there = {path: trees.blob(view.objects, head, path) for path in change.write.keys() - wish.own}
    wrote = writers(view.objects, head, there)
    for path, resource in sorted(wrote.items()):
        if resource != work.resource_id and not work.adopts:
            raise taken(path, resource)
    found = {path for path, one in there.items() if one is not None} - {*difference.changed, *wrote}
    return Weighed(change, difference, sorted(change.write.keys() - found))


def approvable(target: Target, change: Change, difference: Difference) -> str:
    """The digest of what would be done: which files of which branch, from which content to which."""
    written = (*difference.added, *difference.changed)
    return digest(
        {
            "repository": target.repository.removesuffix(".git"),
            "branch": target.branch,
            "before": dict(difference.before),
            "after": {path: hashlib.sha256(change.write[path]).hexdigest() for path in written},
        }
    )


def _counted(difference: Difference) -> str:
    counts = (("added", difference.added), ("changed", difference.changed), ("removed", difference.removed))
    return ", ".join(f"{len(one)} {word}" for word, one in counts if one)


OUTPUTS: Mapping[str, Any] = {
    "commit": {"type": ["string", "null"], "description": "Of the branch, when it held what the step wants."},
    "repository": {"type": "string", "description": "As the Destination or the step names it."},
    "path": {"type": "string", "description": "Folder in the repository."},
    "branch": {"type": "string", "description": "That was written to."},
    "files": {"type": "array", "items": {"type": "string"}, "description": "Paths of the files that are the step's."},
    "proposal": {"type": "string", "description": "Branch by which it was proposed, with via: branch."},
    "merged": {"type": ["string", "null"], "description": "Commit that holds the proposal, with via: branch."},
}
"""JSON Schema of each output."""


def outputs(target: Target, files: list[str], commit: str | None) -> dict[str, Any]:
    """What a step gives when the branch is as wanted."""
    return {
        "commit": commit,
        "repository": target.repository,
        "path": target.path,
        "branch": target.branch,
        "files": files,
    }

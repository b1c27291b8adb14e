"""The commit of a step: what is approved of it, what it says, and how it gets on top of a branch."""

import hashlib
from collections.abc import Mapping
from typing import Any

from dulwich.objects import ObjectID
from entresol_manifests.digest import digest

from entresol_provisioning.drivers import StepFailed, StepResult, StepWork
from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.trees import Change, Difference
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.git.writers import writers
from entresol_provisioning.drivers.gitops.targets import Target, owned


def add(view: View, work: StepWork, target: Target, change: Change, committer: str) -> StepResult:
    """Have the branch as wanted at the end of the round; tells the commit in which it is, and what happened.

    The difference is compared with what was approved each time that somebody else has moved the branch.
    """
    branch = target.branch
    if work.attempted and (found := view.find(branch, history.trailer(work.idempotency_key))) is not None:
        return StepResult(outputs(target, change, found.decode()), "committed by an earlier attempt")
    tip = view.tips[branch]
    difference = compared(view, work, target, tip, change)
    work.hold_to(approvable(target, change, difference))
    if not difference:
        return StepResult(outputs(target, change, None if tip is None else tip.decode()), "nothing to change")
    parents = () if tip is None else (tip,)
    new = trees.commit(view.objects, parents, tip, change, difference, history.message(work), committer)
    view.tips[branch] = new
    return StepResult(outputs(target, change, new.decode()), _counted(difference))


def compared(view: View, work: StepWork, target: Target, head: ObjectID | None, change: Change) -> Difference:
    """What would have to change; raise StepFailed where that is what another resource has written."""
    difference = trees.compare(view.objects, head, change)
    new = set(difference.changed).difference(owned(work.previous, target))
    for path, resource in sorted(writers(view.objects, head, {one: difference.before[one] for one in new}).items()):
        if resource != work.resource_id:
            raise StepFailed(f"{path} is what {resource} has written; each resource needs a path or files of its own")
    return difference


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


def outputs(target: Target, change: Change, commit: str | None) -> dict[str, Any]:
    """What a step gives when the branch is as wanted."""
    return {
        "commit": commit,
        "repository": target.repository,
        "path": target.path,
        "branch": target.branch,
        "files": sorted(change.write),
    }

"""A change that is proposed by a branch of its own, for people to merge: `via: branch` of a gitops step.

- The branch is `entresol/<project>/<environment>/<offering>/<name>/<step>`. It begins at the target branch's head. A
  later run puts a commit on top of what is there, so that the branch then says what that run wants and nothing else.
- The step waits until the target branch holds the change, however it was merged: with a merge, squashed, rebased, or
  done by hand. Then the branch goes, unless somebody has put a commit on it that was not merged.
- A branch that goes without having been merged was closed by somebody: the step fails.
- A step that nobody waits for any more closes its branch, unless somebody has put a commit on it.
- Nothing but the repository decides. What is remembered tells only whether this run has proposed already, and up to
  which commit the target branch was looked at.
"""

from collections.abc import Mapping
from typing import Any

from dulwich.objects import ObjectID

from entresol_provisioning.drivers import StepFailed, StepResult, StepSuspended, StepWork
from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.trees import Change
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.gitops import commits
from entresol_provisioning.drivers.gitops.targets import Target
from entresol_provisioning.drivers.gitops.wishes import Wish


def propose(view: View, work: StepWork, at: Target, wish: Wish, committer: str) -> StepResult:
    """What the step gives once the target branch holds the change; raises StepSuspended until then."""
    assert at.proposal is not None
    head, own = view.heads[at.branch], view.tips[at.proposal]
    begun = work.attempted or bool(work.memory)
    if (done := merged(view, work, at, wish)) is not None:
        if not begun:
            change, difference, _ = commits.weigh(view, work, head, wish)
            work.hold_to(commits.approvable(at, change, difference))
        close(view, at)
        return done
    if own is None and work.memory:
        if work.memory.get("gone"):
            why = "somebody has closed it, or has merged it by squash with other contents; what was merged stays"
            raise StepFailed(f"the branch {at.proposal} is gone, and {at.branch} does not hold its change: {why}")
        # A merge and its branch's end are two steps of whoever merges, and may be seen in between.
        raise _waiting(at, head, {**work.memory, "gone": True})
    memory = {name: one for name, one in work.memory.items() if name != "gone"}
    if own is None or not (work.memory or _proposed(view, work, own, head)):
        own, files = _proposal(view, work, at, wish, committer)
        memory["found"] = sorted(wish.write.keys() - set(files))
    raise _waiting(at, head, {**memory, "commit": own.decode()})


def close(view: View, at: Target) -> bool:
    """Delete the branch; return whether it stays, because it ends with a commit of somebody that is nowhere else."""
    own = None if at.proposal is None else view.tips[at.proposal]
    if at.proposal is None or own is None:
        return False
    if history.is_of_a_step(view.objects, own) or history.holds(view.objects, view.heads[at.branch], own):
        view.tips[at.proposal] = None
        return False
    return True


def merged(view: View, work: StepWork, at: Target, wish: Wish) -> StepResult | None:
    """What the step gives if the target branch holds its change, or has held it since the step began."""
    head = view.heads[at.branch]
    change = wish.change(view.objects, head, work.resource_id)
    commit = _merged(view, work, at, change)
    if commit is None and not trees.is_there(view.objects, head, change):
        return None
    begun = work.attempted or bool(work.memory)
    said = "nothing to change" if commit is None and not begun else "merged"
    found = head if commit is None else commit
    if begun:
        files = sorted(change.write.keys() - set(work.memory.get("found", ())))
    else:
        files = commits.weigh(view, work, head, wish).files
    given = commits.outputs(at, files, None if found is None else found.decode())
    return StepResult(given | outputs(at, None if head is None else head.decode()), said)


def outputs(at: Target, head: str | None) -> dict[str, Any]:
    """What a step gives besides, if it proposes."""
    return {} if at.proposal is None else {"proposal": at.proposal, "merged": head}


def _merged(view: View, work: StepWork, at: Target, change: Change) -> ObjectID | None:
    """The commit on the target branch that has brought what this run has proposed, even if others came after it."""
    if not (work.attempted or work.memory):
        return None
    head, known = view.heads[at.branch], _seen(view, work)
    if (found := view.find(at.branch, history.trailer(work.idempotency_key), known)) is not None:
        return found
    if known is None:
        return None
    passed = history.since(view.objects, head, known)
    return next((one for one in passed if trees.is_there(view.objects, one, change)), None)


def _seen(view: View, work: StepWork) -> ObjectID | None:
    """The target branch's head at the last look, if there still is such a commit."""
    seen = work.memory.get("seen")
    if not isinstance(seen, str):
        return None
    try:
        view.objects.commit(ObjectID(seen.encode()))
    except StepFailed:
        return None
    return ObjectID(seen.encode())


def _proposed(view: View, work: StepWork, own: ObjectID, head: ObjectID | None) -> bool:
    """Whether an earlier attempt of this run has put its commit on the branch."""
    trailer = history.trailer(work.idempotency_key)
    return work.attempted and bool(history.find(view.objects, own, {trailer}, head))


def _proposal(view: View, work: StepWork, at: Target, wish: Wish, committer: str) -> tuple[ObjectID, list[str]]:
    """Have the branch say what this run wants: the target's tree with the change, on top of all that was there.

    Also gives the files that are the step's once it is merged.
    """
    assert at.proposal is not None
    objects, head, own = view.objects, view.heads[at.branch], view.tips[at.proposal]
    change, difference, files = commits.weigh(view, work, head, wish)
    work.hold_to(commits.approvable(at, change, difference))
    parents = [one for one in (own, head) if one is not None]
    if own is not None and head is not None and history.holds(objects, own, head):
        parents = [own]
    new = trees.commit(objects, parents, head, change, difference, history.message(work), committer)
    if own is not None and parents == [own] and objects.commit(new).tree == objects.commit(own).tree:
        return own, files
    view.tips[at.proposal] = new
    return new, files


def _waiting(at: Target, head: ObjectID | None, memory: Mapping[str, Any]) -> StepSuspended:
    """`memory`: the commit that is proposed, the files that were found as wanted, and whether the branch was gone."""
    return StepSuspended(
        f"waits until the branch {at.proposal} is merged into {at.branch}",
        look_after_seconds=at.look_seconds,
        memory={**memory, "seen": None if head is None else head.decode()},
        withdraws=True,
    )

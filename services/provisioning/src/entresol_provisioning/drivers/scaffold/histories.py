"""What a repository's history tells of the template that it was made from, and the commit that goes on with it.

The first commit is what the template gave. An update makes a commit of what it gives now, beside the developers' work
and following the last such commit, and merges it; so the next update finds both sides of its merge in the history,
however old the repository is and wherever it was moved to. Where nobody has committed anything since, the one commit
is both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dulwich.objects import ObjectID

from entresol_provisioning.drivers import StepWork
from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.objects import Objects
from entresol_provisioning.drivers.git.trees import Entry
from entresol_provisioning.drivers.scaffold.merges import Wanted

_TEMPLATE = re.compile(rb"^Entresol-Template: (\S+)@(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Known:
    """The newest commit by which a step has brought its template into the repository."""

    commit: ObjectID
    rendered: ObjectID
    """The commit of exactly what the template gave."""
    template: str
    revision: str


def find(objects: Objects, head: ObjectID | None, work: StepWork) -> Known | None:
    """None if nothing in the branch's history came from this step of this resource."""
    return _newest(objects, head, _marks(work))


def find_earlier(objects: Objects, head: ObjectID | None, work: StepWork) -> Known | None:
    """What an earlier attempt at this very step has brought about."""
    return _newest(objects, head, {*_marks(work), history.trailer(work.idempotency_key)})


def go_on(
    objects: Objects,
    head: ObjectID | None,
    known: Known | None,
    theirs: Mapping[str, Entry],
    wanted: Wanted,
    work: StepWork,
    template: str,
    committer: str,
) -> ObjectID:
    """Add the commit with what is wanted on top of the head. `template` is its name and revision."""
    tree = trees.grow(objects, head, wanted.entries)
    told = history.message(work)
    marked = f"{told}Entresol-Template: {template}\n" + "".join(f"{one.decode()}\n" for one in sorted(_marks(work)))
    if head is None or known is None:
        return trees.record(objects, [], tree, marked, committer)
    if head == known.rendered:
        return trees.record(objects, [head], tree, marked, committer)
    _, _, trailers = told.partition("\n\n")
    beside = f"What {template} gives for {work.resource_id}\n\n{trailers}"
    fresh = trees.record(objects, [known.rendered], trees.grow(objects, None, theirs), beside, committer)
    return trees.record(objects, [head, fresh], tree, marked, committer)


def _newest(objects: Objects, head: ObjectID | None, marks: set[bytes]) -> Known | None:
    def is_it(message: bytes) -> bool:
        return _TEMPLATE.search(message) is not None and marks <= set(message.splitlines())

    found = history.newest(objects, head, is_it)
    if found is None:
        return None
    one = objects.commit(found)
    told = _TEMPLATE.search(one.message)
    assert told is not None
    rendered = one.parents[1] if len(one.parents) > 1 else found
    return Known(found, rendered, told[1].decode(), told[2].decode())


def _marks(work: StepWork) -> set[bytes]:
    return {f"Entresol-Resource: {work.resource_id}".encode(), f"Entresol-Scaffold: {work.step}".encode()}

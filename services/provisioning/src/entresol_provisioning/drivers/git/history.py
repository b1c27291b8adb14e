"""What the commits of a branch say: read as they lie there, because a branch may have hundreds of thousands."""

import heapq
import re
from collections.abc import Callable, Collection, Iterator

from dulwich.objects import ObjectID

from entresol_provisioning.drivers import StepWork
from entresol_provisioning.drivers.git.objects import Objects

TRAILER = "Entresol-Step"
_MARK = f"\n{TRAILER}: ".encode()
_COMMITTED_AT = re.compile(rb"^committer .* (\d{1,18}) \S+$", re.MULTILINE)


def trailer(idempotency_key: str) -> bytes:
    """The line of a commit's message by which a step finds its own commit again."""
    return f"{TRAILER}: {idempotency_key}".encode()


def message(work: StepWork) -> str:
    """What the commit of a step says; ends with its trailers."""
    actor = "".join(one for one in work.actor if one.isprintable())[:200]
    return (
        f"{work.action} {work.resource_id}\n\n"
        f"Entresol-Request: {work.request_id}\n"
        f"Entresol-Run: {work.run_id}\n"
        f"{trailer(work.idempotency_key).decode()}\n"
        f"Entresol-Actor: {actor}\n"
    )


def find(
    objects: Objects, head: ObjectID | None, trailers: Collection[bytes], known: ObjectID | None = None
) -> dict[bytes, ObjectID]:
    """The newest commit for each trailer that is in the history of the head, however far back.

    Stops as soon as all are found. What is in the history of `known` need not be found.
    """
    missing, found = set(trailers), dict[bytes, ObjectID]()
    for name, raw in _walk(objects, head, known) if missing else ():
        if _MARK in raw:
            for one in missing.intersection(raw.partition(b"\n\n")[2].splitlines()):
                found[one] = name
                missing.discard(one)
            if not missing:
                break
    return found


def newest(objects: Objects, head: ObjectID | None, is_it: Callable[[bytes], bool]) -> ObjectID | None:
    """The newest commit of a step in the history of the head whose message it is."""
    said = ((name, raw.partition(b"\n\n")[2]) for name, raw in _walk(objects, head, None) if _MARK in raw)
    return next((name for name, message in said if is_it(message)), None)


def since(objects: Objects, head: ObjectID | None, known: ObjectID | None) -> Iterator[ObjectID]:
    """The head and what is before it, newest first, without `known` and what is before that."""
    return (name for name, _ in _walk(objects, head, known))


def holds(objects: Objects, head: ObjectID | None, commit: ObjectID) -> bool:
    """Whether the commit is in the history of the head."""
    if head is None:
        return False
    oldest = _committed_at(objects.raw(commit))
    # One that is older than all that is left can't be in their history, unless clocks went wrong by more than a day.
    for name, raw in _walk(objects, head, None):
        if name == commit:
            return True
        if _committed_at(raw) < oldest - 86_400:
            return False
    return False


def is_of_a_step(objects: Objects, commit: ObjectID) -> bool:
    """Whether it was made by a step, not by hand."""
    return _MARK in objects.raw(commit)


def resource_of(objects: Objects, commit: ObjectID) -> str | None:
    """The resource whose step has made the commit; None if it was made by hand."""
    said = objects.raw(commit).partition(b"\n\n")[2]
    _, _, resource = said.partition(b"\n")[0].partition(b" ")
    return resource.decode(errors="replace") if _MARK in said else None


def _walk(objects: Objects, head: ObjectID | None, known: ObjectID | None) -> Iterator[tuple[ObjectID, bytes]]:
    """Newest first, by the time of the commits; each one once.

    Both histories are walked side by side, so that what they share is left out as far as the times are in order.
    """
    if head is None or head == known:
        return
    left: list[tuple[int, ObjectID]] = []
    raws: dict[ObjectID, bytes] = {}
    excluded: set[ObjectID] = set()
    seen: set[ObjectID] = set()
    wanted = 0

    def reach(name: ObjectID, *, is_known: bool) -> None:
        nonlocal wanted
        if name in seen:
            if is_known and name not in excluded and name in raws:
                wanted -= 1
                excluded.add(name)
            return
        seen.add(name)
        raws[name] = raw = objects.raw(name)
        heapq.heappush(left, (-_committed_at(raw), name))
        if is_known:
            excluded.add(name)
        else:
            wanted += 1

    if known is not None:
        reach(known, is_known=True)
    reach(head, is_known=False)
    while left and wanted:
        _, name = heapq.heappop(left)
        raw = raws.pop(name)
        is_known = name in excluded
        if not is_known:
            wanted -= 1
            yield name, raw
        for parent in _parents(raw):
            reach(parent, is_known=is_known)


def _parents(raw: bytes) -> list[ObjectID]:
    place = raw.find(b"\n") + 1  # the first line names the tree
    parents = []
    while raw.startswith(b"parent ", place):
        end = raw.index(b"\n", place)
        parents.append(ObjectID(raw[place + 7 : end]))
        place = end + 1
    return parents


def _committed_at(raw: bytes) -> int:
    """Of one that tells no time, the beginning of all times."""
    found = _COMMITTED_AT.search(raw)
    return int(found[1]) if found else 0

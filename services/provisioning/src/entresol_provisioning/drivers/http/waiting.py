"""From the call to its end: find what it began, ask until it is done, and see that it is there, or gone.

Each stage that has to wait suspends the step; what it needs to go on is in the memory: `sent` (which call), `found`,
`poll` (where to ask), `polled`, the outputs so far, and how often it was looked for or could not be asked.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from entresol_provisioning.drivers import StepFailed, StepResult, StepSuspended
from entresol_provisioning.drivers.http.answers import Response
from entresol_provisioning.drivers.http.api import TryLater
from entresol_provisioning.drivers.http.expressions import Missing
from entresol_provisioning.drivers.http.session import Seen, Session
from entresol_provisioning.drivers.http.spec import Call, Find, Poll

LOOK_SECONDS = 5.0
LONGEST_LOOK_SECONDS = 300.0
MOST_FAULTS = 12


def looks_within(seconds: float) -> tuple[int, float]:
    """How often to look within this time, and how long to pause between."""
    pause = min(LOOK_SECONDS, max(seconds / 10, 0.05))
    return math.ceil(seconds / pause), pause


@contextmanager
def suspending(session: Session) -> Iterator[None]:
    """An API that says when to come back is left alone until then; that counts as no attempt."""
    try:
        yield
    except TryLater as later:
        if later.seconds is None:
            raise
        memory = dict(session.work.memory)
        raise StepSuspended(later.reason, look_after_seconds=later.seconds, memory=memory) from None


async def finish(session: Session, name: str, response: Response | None, *, removes: bool) -> StepResult:
    """`response` is the answer to the call; None if it is not known any more."""
    call: Call | None = getattr(session.spec, name, None)
    if call is None:
        raise StepFailed(f"it waits for {name[:20]}, which the step has no longer")
    session.stage["sent"] = name
    try:
        return await _finish(session, name, call, response, removes=removes)
    except StepFailed as failure:
        if not failure.retryable:
            raise
        faults = session.stage["faults"] = int(session.stage.get("faults", 0)) + 1
        if faults > MOST_FAULTS:
            raise StepFailed(failure.reason) from None
        pause = min((call.poll.every_seconds if call.poll else LOOK_SECONDS) * 2 ** (faults - 1), LONGEST_LOOK_SECONDS)
        if isinstance(failure, TryLater) and failure.seconds is not None:
            pause = failure.seconds
        raise _waits(session, failure.reason, pause) from None


async def _finish(session: Session, name: str, call: Call, response: Response | None, *, removes: bool) -> StepResult:
    if call.find is not None and not session.stage.get("found"):
        response = await _found(session, name, call.find)
    words = ""
    if call.poll is not None and not session.stage.get("polled"):
        words = await _polled(session, name, call.poll, response, removes=removes)
    seen = await session.read()
    session.stage["faults"] = 0
    if removes:
        if seen is not None and seen.response is not None:
            raise _waits(session, f"{seen.url} is still there", LOOK_SECONDS)
        return StepResult(message=words or "removed")
    if seen is None and session.spec.read is not None:
        raise StepFailed(next(iter(session.missing.values()), "what it is read by is not among the outputs"))
    if seen is not None and (reason := _not_yet(seen)):
        raise _waits(session, reason, LOOK_SECONDS)
    return StepResult(await session.results(seen), words or "done")


def _not_yet(seen: Seen) -> str:
    if seen.response is None:
        return f"{seen.url} is not there yet"
    if seen.differences:
        places = ", ".join(one.path.rpartition("#")[2] for one in seen.differences[:5])
        return f"{seen.url} does not show what is desired yet: {places}"
    return ""


async def _found(session: Session, name: str, find: Find) -> Response:
    """What the call has begun."""
    found = await session.find(f"{name}/find", find, await session.url(f"{name}.find", find))
    if found is None:
        most, pause = looks_within(find.within_seconds)
        looks = session.stage["looks"] = int(session.stage.get("looks", 0)) + 1
        if looks > most:
            raise StepFailed(f"the API took the call, but /with/{name}/find finds nothing of it within {find.within}")
        session.stage["faults"] = 0
        raise _waits(session, "the API has taken the call, and shows nothing of it yet", pause)
    await session.gather(found)
    return found


async def _polled(session: Session, name: str, poll: Poll, response: Response | None, *, removes: bool) -> str:
    """What the API says at the end; raise StepSuspended while it is not done."""
    if session.work.answer is not None and poll.resumable:
        session.answer = session.work.answer
        session.stage["polled"] = True
        return "let go on by a person"
    if "poll" not in session.stage:
        place = poll if poll.is_placed else session.spec.read
        assert place is not None
        try:
            session.stage["poll"] = await session.url(f"{name}/poll", place, response)
        except Missing as missing:
            if response is None and session.spec.read is not None and missing.field.startswith("response."):
                return ""  # where to ask is lost, but the effect itself can be read
            raise
        session.stage["found"] = True
    done, words, last = await session.polled(f"{name}/poll", poll, str(session.stage["poll"]))
    session.stage["faults"] = 0
    if not done and not (removes and last is None):
        raise _waits(session, words or "until the API has done it", poll.every_seconds, resumable=poll.resumable)
    session.stage["polled"] = True
    if last is not None and session.spec.read is None:
        await session.gather(last)
    return words


def _waits(session: Session, reason: str, pause: float, *, resumable: bool = False) -> StepSuspended:
    return StepSuspended(reason, look_after_seconds=pause, memory=session.remembered(), resumable=resumable)

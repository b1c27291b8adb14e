"""Make the call, once: what an earlier attempt may have done is looked for first."""

from entresol_provisioning.drivers import StepFailed, StepResult, StepSuspended
from entresol_provisioning.drivers.http import waiting
from entresol_provisioning.drivers.http.answers import Response
from entresol_provisioning.drivers.http.api import Rejected, TryLater, Uncertain, Unsent
from entresol_provisioning.drivers.http.ledger import Ledger, Marks
from entresol_provisioning.drivers.http.places import without_query
from entresol_provisioning.drivers.http.planning import Intent, called, intend, refuse_foreign
from entresol_provisioning.drivers.http.session import Seen, Session
from entresol_provisioning.drivers.http.spec import FINGERPRINT, Call

_ASK = "Look there whether it was; then run the step again, or give it a find or a read, or say repeatable: true"


async def act(session: Session, ledger: Ledger, marks: Marks, *, removes: bool) -> StepResult:
    """Apply the step, or remove what it has made."""
    work = session.work
    if (name := work.memory.get("sent")) is not None:
        return await waiting.finish(session, str(name), None, removes=removes)
    seen = await session.read()
    if not removes:
        refuse_foreign(session, seen)
    intent: Intent | None = None
    if work.attempted and ledger.may_have_been_received(work.idempotency_key):
        if seen is None:  # then an effect that was not recorded does not change what there is to do
            intent = await intend(session, seen, removes=removes)
        if intent is None or intent.do != "nothing":
            name, call = called(session, is_new=_is_new(session, seen), removes=removes)
            if call is not None and await _was_done(session, seen, name, call, ledger):
                return await waiting.finish(session, name, None, removes=removes)
    intent = intent or await intend(session, seen, removes=removes)
    work.hold_to(intent.digest)
    if intent.call is None:
        return await _untouched(session, seen, removes=removes)
    try:
        if not removes:
            marks.put(work)
        response = await _send(session, intent, intent.call, seen, ledger)
    except (TryLater, Unsent, Rejected):
        if not session.marked:
            marks.drop(work)
        raise
    if response is None and intent.do == "change" and seen is not None:
        raise StepFailed(f"{seen.url} is there already, says the API, so this changes nothing; give the step an update")
    return await waiting.finish(session, intent.name, response, removes=removes)


async def _untouched(session: Session, seen: Seen | None, *, removes: bool) -> StepResult:
    if not removes:
        return StepResult(await session.results(seen), "nothing to change")
    if seen is not None and seen.response is not None and session.owned:
        return StepResult(message="left in place", kept=f"{seen.url}: the step says no way to remove it")
    return StepResult(message="nothing to remove")


def _is_new(session: Session, seen: Seen | None) -> bool:
    return FINGERPRINT not in session.before or (seen is not None and seen.response is None)


async def _was_done(session: Session, seen: Seen | None, name: str, call: Call, ledger: Ledger) -> bool:
    """Whether an earlier attempt's call has had its effect; False if it may be made (again).

    Raises StepSuspended while it may still show itself, and StepFailed if that can't be told.
    """
    within_seconds = 0.0
    if call.find is not None:
        within_seconds = call.find.within_seconds
        if await session.find(f"{name}/find", call.find, await session.url(f"{name}.find", call.find)) is not None:
            return True
    if seen is not None and _shows(session, seen, call):
        return True
    if call.find is None and not _tells(session, seen, call):
        if call.may_be_repeated:
            return False
        where = f"{call.method} {without_query(await session.url(name, call))}"
        raise StepFailed(f"an earlier attempt at {where} may have been received. {_ASK}")
    if session.spec.read is not None and seen is not None:
        within_seconds = max(within_seconds, session.spec.read.within_seconds)
    looks, pause = waiting.looks_within(within_seconds)
    if ledger.looked(session.work.idempotency_key) <= looks:
        reason = "an earlier attempt may have been received, and nothing is found of it yet"
        raise StepSuspended(reason, look_after_seconds=pause, memory=session.work.memory)
    return False


def _shows(session: Session, seen: Seen, call: Call) -> bool:
    """Whether the world is as the call would make it."""
    if call is session.spec.destroy:
        return seen.response is None
    if seen.response is None or seen.differences:
        return False
    return bool(session.spec.desired) or FINGERPRINT not in session.before


def _tells(session: Session, seen: Seen | None, call: Call) -> bool:
    """Whether what `read` shows would be something else if the call had been received."""
    if seen is None:
        return False
    if call is session.spec.destroy:
        return True
    return bool(session.spec.desired) or FINGERPRINT not in session.before or seen.response is None


async def _send(session: Session, intent: Intent, call: Call, seen: Seen | None, ledger: Ledger) -> Response | None:
    """The answer; None if it says that it was done before."""
    key = session.work.idempotency_key
    ledger.sending(key)
    try:
        response = await session.api.send(call, intent.url, session.body(call), key)
    except (TryLater, Unsent):
        ledger.not_sent(key)
        raise
    except Uncertain as failure:
        if call.may_be_repeated or call.find is not None or _tells(session, seen, call):
            raise
        raise StepFailed(f"{failure.reason}; the call may have been received. {_ASK}") from None
    if response.status not in call.expect:
        return None
    await session.gather(response)
    return response

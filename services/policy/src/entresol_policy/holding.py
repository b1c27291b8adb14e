"""What holds a request that nobody objects to: locks, and windows that are shut."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from entresol_contracts.events import RequestSubmitted

from entresol_policy.books import Lock
from entresol_policy.domain import windows
from entresol_policy.domain.decisions import Hold
from entresol_policy.domain.judging import Unclear
from entresol_policy.domain.scopes import entitled
from entresol_policy.hearing import Hearing
from entresol_policy.rules import Window


def concerned_locks(locks: Sequence[Lock], request: RequestSubmitted, at: datetime) -> Iterator[Hold]:
    """The locks that hold the request at that time."""
    for lock in locks:
        over = lock.until is not None and lock.until <= at
        if over or not lock.scope.fits(request) or entitled(lock.exempt, request.actor.id, request.actor.groups):
            continue
        yield Hold("lock", lock.id, lock.because, lock.by, lock.until, (lock.by, *lock.exempt))


def look_at_windows(
    known: Sequence[Window], hearing: Hearing, past: Collection[str], at: datetime
) -> tuple[list[Hold], list[str], list[str]]:
    """What holds the request at that time; why no time is right; and what can't be evaluated.

    Windows in `past` count as not there.
    """
    concerned: list[windows.Window] = []
    unclear: list[str] = []
    for window in known:
        if window.name in past:
            continue
        try:
            if window.window is None:
                raise Unclear(window.unusable or "")
            if window.when is None or hearing.holds(window.when):
                concerned.append(window.window)
        except Unclear as error:
            unclear.append(f"window {window.name} can't be evaluated: {error}")
    if not concerned:
        return [], [], unclear
    outcome = windows.look(concerned, at)
    if isinstance(outcome, windows.Denied):
        return [], [outcome.reason], unclear
    if isinstance(outcome, windows.Open):
        return [], [], unclear
    held = [
        Hold("window", one.name, one.because, until=outcome.until, override=one.override) for one in outcome.windows
    ]
    return held, [], unclear

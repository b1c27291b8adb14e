"""Bugs in what lets requests through."""

from dataclasses import replace as changed
from typing import Any

from entresol_policy.counting import Counting
from entresol_policy.domain import approvals, decisions
from entresol_policy.domain.decisions import Situation
from entresol_policy.store import books as stored

from tests.faults.planted.seams import replace


def reservation_forgotten() -> None:
    """What was allowed counts in a quota only when it has come about."""
    replace(Counting, "reserve", lambda _: lambda *arguments: None)


def answers_counted_twice() -> None:
    """Whoever has granted may do so again, and it counts."""
    replace(approvals, "_has_answered", lambda _: lambda *arguments: None)
    replace(approvals, "_taken", lambda _: lambda *arguments: None)


def old_grants_counted() -> None:
    """What was granted for one plan counts for the next."""

    def make(matched: Any) -> Any:
        def whatever_the_plan(wanted: Any, situation: Situation) -> Any:
            asked = [changed(one, plan_digest=situation.plan_digest) for one in situation.asked]
            return matched(wanted, changed(situation, asked=asked))

        return whatever_the_plan

    replace(decisions, "_matched", make)


def locks_in_memory() -> None:
    """Only locks of which this very process was told hold anything."""
    own: set[str] = set()

    def noting(put_lock: Any) -> Any:
        def note(session: Any, row: Any) -> None:
            own.add(row["id"])
            put_lock(session, row)

        return note

    def of_our_own(locks: Any) -> Any:
        return lambda session: [row for row in locks(session) if row["id"] in own]

    replace(stored, "put_lock", noting)
    replace(stored, "locks", of_our_own)

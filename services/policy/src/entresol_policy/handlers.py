"""What policy does when events arrive, by subject: requests and their runs, what is in force, the catalog, resources.

What it could get wrong is deciding twice. Every change is guarded by the state it starts from, so a repeated or late
event, or a deadline that comes after the answer, changes nothing and says nothing.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from entresol_contracts.events import (
    AnswerWithdrawn,
    ApprovalAnswered,
    ApprovalDelegated,
    EntityChanged,
    EntityRemoved,
    HoldOverridden,
    LockExpired,
    LockLifted,
    LockPlaced,
    ManifestApplied,
    ManifestRemoved,
    RequestCancelled,
    RequestSubmitted,
    ResourceChanged,
    ResourceDeleted,
    ResourceProvisioned,
    RunCancelled,
    RunFailed,
    RunPlanned,
    RunSucceeded,
    ScorecardChanged,
    WaiverExpired,
    WaiverGranted,
    WaiverRevoked,
)
from entresol_eventing.envelope import Event, now
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome, Reactions
from sqlmodel import Session

from entresol_policy import projecting
from entresol_policy.asking import ESCALATION, EXPIRY, REMINDER
from entresol_policy.books import KINDS, Books
from entresol_policy.counting import Counting
from entresol_policy.evaluation import Evaluator
from entresol_policy.examining import HOLD_END, Examiner, end
from entresol_policy.people import SYSTEM, People
from entresol_policy.store import books, cases, shares
from entresol_policy.store.cases import Case

LOCK_END = "lock-end"
WAIVER_END = "waiver-end"
REEXAMINATION = "reexamination"
PUNCTUAL = timedelta(minutes=1)
"""Who is looked at within this time of when a window opens has come when it opened: its run may need all of it."""
BITE = 50
"""Requests that are examined again in one transaction."""


class Gate:
    """Policy's handlers. Only the writer thread comes here."""

    def __init__(self, evaluator: Evaluator, clock: Callable[[], datetime] = now) -> None:
        self._books = Books()
        self._counting = Counting(evaluator)
        self._examiner = Examiner(self._books, self._counting, evaluator, clock)
        self._people = People(self._examiner, clock)
        self._clock = clock

    def reactions(self) -> Reactions:
        people = self._people
        return Reactions(
            to={
                RequestSubmitted: self.decide,
                RunPlanned: self.weigh_plan,
                RunFailed: self.conclude,
                RunSucceeded: self.settle,
                RunCancelled: self.conclude,
                RequestCancelled: self.cancel,
                ApprovalAnswered: people.answer,
                AnswerWithdrawn: people.withdraw,
                ApprovalDelegated: people.delegate,
                HoldOverridden: people.override,
                ManifestApplied: self.apply,
                ManifestRemoved: self.remove,
                LockPlaced: self.lock,
                LockLifted: self.lift,
                WaiverGranted: self.waive,
                WaiverRevoked: self.revoke,
                EntityChanged: self.keep_entity,
                EntityRemoved: forget_entity,
                ScorecardChanged: rate_entity,
                ResourceProvisioned: self.count,
                ResourceChanged: self.count,
                ResourceDeleted: discount,
            },
            when_due={
                EXPIRY: people.expire,
                REMINDER: people.remind,
                ESCALATION: people.escalate,
                HOLD_END: self.look_again,
                LOCK_END: self.end_lock,
                WAIVER_END: self.end_waiver,
                REEXAMINATION: self.reexamine,
                projecting.REBUILT: self.count_anew,
            },
            forget=self._books.forget,
        )

    # Requests

    def decide(self, event: Event[RequestSubmitted], session: Session) -> Iterator[Outcome]:
        """Examine a request for the first time; the inputs are those the event froze."""
        if cases.state_of(session, event.data.request_id) is None:
            yield from self._examiner.examine(session, Case(event.data, event.cause, cases.SUBMITTED))

    def weigh_plan(self, event: Event[RunPlanned], session: Session) -> Iterator[Outcome]:
        """Examine a request with its plan: the first, or one in place of what was decided and does not hold now."""
        case = cases.find(session, event.data.request_id)
        if case is None or not (case.state == cases.PLANNING or event.data.replaces):
            return
        if case.state in (cases.PLANNING, cases.ALLOWED):
            shares.release(session, case.id)
            case.plan, case.cause, case.state = event.data, event.cause, cases.PLANNING
            cases.save(session, case)
            yield from self._examiner.examine(session, case)

    def conclude(self, event: Event[RunFailed | RunCancelled], session: Session) -> Iterator[Outcome]:
        """The request is over: what it was allowed counts no more, and nobody is asked about it any more."""
        shares.release(session, event.data.request_id)
        state = cases.FAILED if isinstance(event.data, RunFailed) else cases.CANCELLED
        yield from self._end(session, event.data.request_id, state)

    def cancel(self, event: Event[RequestCancelled], session: Session) -> Iterator[Outcome]:
        """Stop asking. Policy says nothing about it: provisioning alone answers a cancellation."""
        yield from self._end(session, event.data.request_id, cases.CANCELLED)

    def _end(self, session: Session, request_id: str, state: str) -> Iterator[Outcome]:
        case = cases.find(session, request_id)
        if case is not None and case.state in (cases.PLANNING, *cases.OPEN):
            case.state = state
            cases.save(session, case)
            yield from end(session, request_id)

    def look_again(self, due: Due, session: Session) -> Iterator[Outcome]:
        """What held a request is over, as far as was known."""
        case = cases.find(session, due.args["request"])
        if case is not None and case.state == cases.HELD:
            on_time = self._clock() - due.due_at < PUNCTUAL
            yield from self._examiner.examine(session, case, due.due_at if on_time else None)

    def reexamine(self, due: Due, session: Session) -> Iterator[Outcome]:
        """Examine the requests that wait, some at a time."""
        waiting = cases.open_after(session, due.args["after"], BITE)
        for request_id in waiting:
            case = cases.find(session, request_id)
            assert case is not None
            yield from self._examiner.examine(session, case)
        if len(waiting) == BITE:
            yield self._reexamination(after=waiting[-1])

    def _reexamination(self, after: str = "") -> Deadline:
        """Requests that have ended are left in peace. What changes meanwhile begins it anew."""
        return Deadline(REEXAMINATION, REEXAMINATION, self._clock(), {"after": after})

    # What is in force

    def apply(self, event: Event[ManifestApplied], session: Session) -> Iterator[Outcome]:
        fact = event.data
        projecting.keep_manifest(fact, session)
        if fact.kind not in KINDS:
            return
        self._books.forget()
        if fact.kind == "Quota":
            quota = next(one for one in self._books.open(session).quotas if one.name == fact.name)
            self._counting.recount(session, quota)
        yield self._reexamination()

    def remove(self, event: Event[ManifestRemoved], session: Session) -> Iterator[Outcome]:
        fact = event.data
        if fact.kind not in KINDS:
            return
        projecting.drop_manifest(fact, session)
        self._books.forget()
        if fact.kind == "Quota":
            shares.forget_quota(session, fact.name)
            if not self._books.open(session).quotas:
                shares.forget_reservations(session)
        yield self._reexamination()

    def lock(self, event: Event[LockPlaced], session: Session) -> Iterator[Outcome]:
        """Hold what the lock is about from now on; what has begun goes on."""
        fact = event.data
        row = {
            "id": fact.lock_id,
            "scope": fact.scope.model_dump(exclude_none=True),
            "because": fact.reason,
            "by": fact.by,
            "exempt": fact.exempt,
            "until": fact.until,
        }
        books.put_lock(session, row)
        self._books.forget()
        if fact.until is not None:
            yield Deadline(f"lock:{fact.lock_id}", LOCK_END, fact.until, {"lock": fact.lock_id})

    def lift(self, event: Event[LockLifted], session: Session) -> Iterator[Outcome]:
        if books.remove_lock(session, event.data.lock_id) is not None:
            self._books.forget()
            yield Cancel(f"lock:{event.data.lock_id}")
            yield self._reexamination()

    def end_lock(self, due: Due, session: Session) -> Iterator[Outcome]:
        row = books.remove_lock(session, due.args["lock"])
        if row is not None:
            self._books.forget()
            yield Emit(LockExpired(lock_id=row["id"], because=row["because"]), subject=row["id"], actor=SYSTEM)
            yield self._reexamination()

    def waive(self, event: Event[WaiverGranted], session: Session) -> Iterator[Outcome]:
        fact = event.data
        row = {
            "id": fact.waiver_id,
            "waives": fact.waives,
            "rule": fact.rule,
            "rule_digest": books.rule_digest(session, fact.waives, fact.rule),
            "scope": fact.scope.model_dump(exclude_none=True),
            "ticket": fact.ticket,
            "until": fact.until,
        }
        books.put_waiver(session, row)
        self._books.forget()
        yield Deadline(f"waiver:{fact.waiver_id}", WAIVER_END, fact.until, {"waiver": fact.waiver_id})
        yield self._reexamination()

    def revoke(self, event: Event[WaiverRevoked], session: Session) -> Iterator[Outcome]:
        if books.remove_waiver(session, event.data.waiver_id) is not None:
            self._books.forget()
            yield Cancel(f"waiver:{event.data.waiver_id}")
            yield self._reexamination()

    def end_waiver(self, due: Due, session: Session) -> Iterator[Outcome]:
        row = books.remove_waiver(session, due.args["waiver"])
        if row is not None:
            self._books.forget()
            ended = WaiverExpired(waiver_id=row["id"], waives=row["waives"], ticket=row["ticket"])
            yield Emit(ended, subject=row["id"], actor=SYSTEM)
            yield self._reexamination()

    # The catalog

    def keep_entity(self, event: Event[EntityChanged], session: Session) -> Iterator[Outcome]:
        """Whoever owns it from now on is asked in place of the owner before."""
        projecting.keep_entity(event.data, session)
        if any(one == "/team" or one.startswith("/team/") for one in event.data.changed):
            yield self._reexamination()

    # Resources, as quotas see them

    def count_anew(self, due: Due, session: Session) -> Iterator[Outcome]:
        """What policy knows of others was rebuilt from the log: what counts in quotas follows from it."""
        self._books.forget()
        in_force = self._books.open(session)
        shares.forget_quotas(session, but=[one.name for one in in_force.quotas])
        for quota in in_force.quotas:
            self._counting.recount(session, quota)
        yield self._reexamination()

    def count(self, event: Event[ResourceProvisioned | ResourceChanged], session: Session) -> Iterator[Outcome]:
        self._counting.settle(session, event.data, self._books.open(session))
        yield from ()

    def settle(self, event: Event[RunSucceeded], session: Session) -> Iterator[Outcome]:
        """A create that found its resource there says nothing of it: what it was allowed counts no more."""
        if self._books.open(session).quotas:
            shares.release(session, event.data.request_id)
        yield from ()


def discount(event: Event[ResourceDeleted], session: Session) -> Iterator[Outcome]:
    projecting.forget_resource(event.data, session)
    shares.discount(session, event.data.resource_id)
    yield from ()


def forget_entity(event: Event[EntityRemoved], session: Session) -> Iterator[Outcome]:
    projecting.forget_entity(event.data, session)
    yield from ()


def rate_entity(event: Event[ScorecardChanged], session: Session) -> Iterator[Outcome]:
    projecting.rate_entity(event.data, session)
    yield from ()

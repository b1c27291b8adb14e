"""The life of one approval: who may answer, which answers count, and what they amount to.

- An answer counts if the approval is open, its time is not over, and the actor is entitled, is not the requester
  (unless that is wanted) and has not answered before. What does not count is refused with a reason for its author.
- One rejection decides. Grants decide when `count` people gave one, or, where all have to grant, when there is one for
  each of the approvers, each by another person.
- Every entitled person has one seat. A delegate answers in the seat of who delegated: then neither that person nor
  another delegate can. Nobody answers twice, in whatever seats.
- What an answer stands for is settled when it is given, for a delegate when it was delegated: groups that change later
  change nothing.
- Those it is escalated to may answer too; where all have to grant, each of them in place of any one.
- A review is answered in the same way, but is never too late.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from entresol_policy.domain.scopes import claims

ApprovalState: TypeAlias = Literal["pending", "granted", "rejected", "expired", "closed"]
OPEN_REQUEST = frozenset({"planning", "waiting", "held"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said."""

    by: str
    answer: Literal["granted", "rejected"]
    reason: str | None
    at: datetime
    in_place_of: str | None = None
    """Who delegated it to this person; None if it is a person's own seat. `weigh` fills this in and the next."""
    stands_for: tuple[str, ...] = ()
    """The approvers, as they are listed, any one of which a grant may be for."""

    @property
    def seat(self) -> str:
        return self.in_place_of or self.by

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat(), "stands_for": list(self.stands_for)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Answer":
        at = datetime.fromisoformat(found["at"])
        return cls(**{**found, "at": at, "stands_for": tuple(found["stands_for"])})


@dataclass(frozen=True, slots=True)
class Delegation:
    """Somebody lets another person answer in their place."""

    by: str
    to: str
    at: datetime
    stands_for: tuple[str, ...]
    """As in an answer."""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat(), "stands_for": list(self.stands_for)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Delegation":
        at = datetime.fromisoformat(found["at"])
        return cls(by=found["by"], to=found["to"], at=at, stands_for=tuple(found["stands_for"]))


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to people about one request."""

    approvers: tuple[str, ...]
    """`user:…` or `group:…`."""
    count: int
    not_self: bool
    requested_by: str
    expires_at: datetime
    state: ApprovalState = "pending"
    answers: tuple[Answer, ...] = ()
    all_: bool = False
    """Each of `approvers` has to grant; `count` says nothing then."""
    review: bool = False
    """Nothing waits for it: granted is signed off, rejected is objected to."""
    delegations: tuple[Delegation, ...] = ()
    escalated_to: tuple[str, ...] = ()
    """Who may answer besides the approvers."""

    def as_json(self) -> dict[str, Any]:
        return {
            "approvers": list(self.approvers),
            "count": self.count,
            "not_self": self.not_self,
            "requested_by": self.requested_by,
            "expires_at": self.expires_at.isoformat(),
            "state": self.state,
            "answers": [one.as_json() for one in self.answers],
            "all": self.all_,
            "review": self.review,
            "delegations": [one.as_json() for one in self.delegations],
            "escalated_to": list(self.escalated_to),
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Approval":
        return cls(
            approvers=tuple(found["approvers"]),
            count=found["count"],
            not_self=found["not_self"],
            requested_by=found["requested_by"],
            expires_at=datetime.fromisoformat(found["expires_at"]),
            state=found["state"],
            answers=tuple(Answer.from_json(one) for one in found["answers"]),
            all_=found["all"],
            review=found["review"],
            delegations=tuple(Delegation.from_json(one) for one in found["delegations"]),
            escalated_to=tuple(found["escalated_to"]),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something said that does not count, and why."""

    reason: str


UNKNOWN = Refusal("too late: no such approval is waiting for an answer")


def weigh(approval: Approval, request: str, answer: Answer, groups: Collection[str]) -> Approval | Refusal:
    """The approval after the answer, or why the answer does not count. `request` is the state of the request.

    Who may answer in several seats takes the first in which a grant fills what is missing, their own before others'.
    """
    by = answer.by
    if reason := _over(approval, answer.at, request):
        return Refusal(reason)
    own = _stands_for(approval, by, groups)
    seats = [replace(answer, in_place_of=None, stands_for=own)] if own else []
    seats += [
        replace(answer, in_place_of=one.by, stands_for=one.stands_for) for one in approval.delegations if one.to == by
    ]
    if not seats:
        return _stranger(approval, by)
    if approval.not_self and by == approval.requested_by:
        return _own_request(by)
    if refusal := _has_answered(approval, by):
        return refusal
    free = [one for one in seats if _taken(approval, one.seat) is None]
    if not free:
        return _taken(approval, seats[0].seat) or UNKNOWN
    given = min(free, key=lambda one: _missing(approval, (*approval.answers, one)))  # the first of the best
    answers = (*approval.answers, given)
    if answer.answer == "rejected":
        return replace(approval, answers=answers, state="rejected")
    return replace(approval, answers=answers, state="pending" if _missing(approval, answers) else "granted")


def withdraw(approval: Approval, by: str, at: datetime) -> Approval | Refusal:
    """The approval without the grant that `by` gave, who may answer again then; or why it can't be taken back."""
    if reason := _over(approval, at):
        return Refusal(reason)
    answers = tuple(one for one in approval.answers if one.by != by)
    if answers == approval.answers:
        return Refusal(f"nothing to take back: {by} has not granted it")
    return replace(approval, answers=answers)


def delegate(approval: Approval, by: str, groups: Collection[str], to: str, at: datetime) -> Approval | Refusal:
    """The approval that `to` may answer in the place of `by`, or why not.

    `by` may still answer as long as no delegate did; of several delegates, the first to answer does.
    """
    if reason := _over(approval, at):
        return Refusal(reason)
    own = _stands_for(approval, by, groups)
    if not own:
        if any(one.to == by for one in approval.delegations):
            return Refusal(f"not an approver: it was delegated to {by}, who may answer but not hand it on")
        return _stranger(approval, by)
    if approval.not_self and approval.requested_by in (by, to):
        return _own_request(approval.requested_by)
    if not to.startswith("user:") or to == "user:":
        return Refusal(f"not a person: {to} can't answer; delegate to user:…")
    if to == by:
        return Refusal(f"not another person: {by} may answer anyway")
    if refusal := _has_answered(approval, by) or _taken(approval, by) or _has_answered(approval, to):
        return refusal
    if any((one.by, one.to) == (by, to) for one in approval.delegations):
        return Refusal(f"delegated already: {to} may answer in the place of {by}")
    return replace(approval, delegations=(*approval.delegations, Delegation(by, to, at, own)))


def escalate(approval: Approval, to: Sequence[str]) -> Approval:
    """The approval that others may answer too; unchanged if it is not open any more. Answers that were given stay."""
    if approval.state != "pending":
        return approval
    return replace(approval, escalated_to=tuple(dict.fromkeys((*approval.escalated_to, *to))))


def wanting(approval: Approval) -> tuple[int, tuple[str, ...]]:
    """How many grants are missing, and whose would help; nobody's once it is decided.

    Whether a group has anybody left who has not answered is not known here.
    """
    if approval.state != "pending":
        return 0, ()
    seats: list[tuple[str, str, tuple[str, ...]]] = [(one, one, (one,)) for one in approval.approvers]
    seats += [(one, one, approval.approvers) for one in approval.escalated_to]
    seats += [(one.to, one.by, one.stands_for) for one in approval.delegations]
    missing = _missing(approval, approval.answers)
    helping = {}
    for who, seat, stands_for in seats:
        own = approval.not_self and who == approval.requested_by
        if not own and not _has_answered(approval, who) and not _taken(approval, seat):
            grant = Answer(who, "granted", None, approval.expires_at, stands_for=stands_for)
            helping[who] = _missing(approval, (*approval.answers, grant)) < missing
    return missing, tuple(who for who, helps in helping.items() if helps)


def _stands_for(approval: Approval, by: str, groups: Collection[str]) -> tuple[str, ...]:
    """The approvers for any one of whom `by` may grant; empty if `by` is not entitled."""
    if claims(approval.escalated_to, by, groups):
        return tuple(dict.fromkeys(approval.approvers))
    return claims(approval.approvers, by, groups)


def _missing(approval: Approval, answers: Sequence[Answer]) -> int:
    """How many grants are missing."""
    grants = [one for one in answers if one.answer == "granted"]
    if not approval.all_:
        return max(0, approval.count - len(grants))
    given_for: dict[int, Answer] = {}

    def place(grant: Answer, tried: set[int]) -> bool:
        """Find an approver for the grant, moving others to another one if need be: a bipartite matching."""
        for position, approver in enumerate(approval.approvers):
            if approver in grant.stands_for and position not in tried:
                tried.add(position)
                if position not in given_for or place(given_for[position], tried):
                    given_for[position] = grant
                    return True
        return False

    return len(approval.approvers) - sum(place(one, set()) for one in grants)


def _over(approval: Approval, at: datetime, request: str = "waiting") -> str | None:
    """Why nothing counts any more."""
    who = ", ".join(one.by for one in approval.answers if one.answer == approval.state)
    if approval.review and approval.state in ("granted", "rejected"):
        return f"{'signed off' if approval.state == 'granted' else 'objected to'} already by {who}"
    if not approval.review:
        if request == "cancelled":
            return "too late: the request was cancelled"
        if approval.state == "expired" or (approval.state == "pending" and at >= approval.expires_at):
            return f"too late: it expired at {approval.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if approval.state in ("granted", "rejected"):
        return f"closed: it is {approval.state} already by {who}"
    if approval.state != "pending":
        return (
            f"closed: {'nobody is asked any more' if request in OPEN_REQUEST else f'the request is {request} already'}"
        )
    return None


def _stranger(approval: Approval, by: str) -> Refusal:
    approvers = dict.fromkeys((*approval.approvers, *approval.escalated_to))
    return Refusal(f"not an approver: {by} is none of {', '.join(approvers)}")


def _own_request(by: str) -> Refusal:
    return Refusal(f"own request: {by} asked for it and may not answer it")


def _has_answered(approval: Approval, by: str) -> Refusal | None:
    if any(one.by == by for one in approval.answers):
        return Refusal(f"answered already: {by} has said what counts")
    return None


def _taken(approval: Approval, seat: str) -> Refusal | None:
    for one in approval.answers:
        if one.seat == seat:
            place = f" in the place of {seat}" if one.by != seat else ""
            return Refusal(f"answered already: {one.by} has said what counts{place}")
    return None

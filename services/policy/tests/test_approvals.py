"""Who may answer an approval, which answers count, and what they amount to."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from entresol_policy.domain.approvals import (
    Answer,
    Approval,
    Delegation,
    Refusal,
    delegate,
    escalate,
    weigh,
    withdraw,
)
from hypothesis import given, settings
from hypothesis import strategies as st

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
END = AT + timedelta(hours=1)
OPEN = Approval(
    approvers=("group:sre", "user:grace"),
    count=1,
    not_self=True,
    requested_by="user:ada",
    expires_at=END,
)
TWO = replace(OPEN, count=2)
ALL = replace(OPEN, approvers=("group:dba", "group:sre"), all_=True)
REVIEW = replace(OPEN, review=True)

GROUPS = {
    "ada": ["sre"],
    "bob": ["sre"],
    "carol": ["sre", "dba"],
    "dan": ["dba"],
    "eve": ["devs"],
    "grace": [],
    "lea": ["leads"],
    "zoe": [],
}


def said(by: str, what: str = "granted", at: datetime = AT) -> Answer:
    return Answer(by, what, None, at)  # type: ignore[arg-type]


def after(approval: Approval, *events: str) -> Approval | Refusal:
    """The approval after what was said: `bob grants`, `bob rejects`, `bob withdraws`, `bob asks eve`, `to group:x`.

    Ends with the first refusal.
    """
    for event in events:
        who, what, *rest = event.split()
        changed: Approval | Refusal
        if who == "to":
            changed = escalate(approval, [what])
        elif what == "withdraws":
            changed = withdraw(approval, f"user:{who}", AT)
        elif what == "asks":
            changed = delegate(approval, f"user:{who}", GROUPS[who], f"user:{rest[0]}", AT)
        else:
            answer = said(f"user:{who}", {"grants": "granted", "rejects": "rejected"}[what])
            changed = weigh(approval, "waiting", answer, GROUPS[who])
        if isinstance(changed, Refusal):
            return changed
        approval = changed
    return approval


@pytest.mark.parametrize(
    ("approval", "request_state", "answer", "groups", "reason"),
    [
        (OPEN, "waiting", said("user:eve"), ["devs"], "not an approver: user:eve is none of group:sre, user:grace"),
        (OPEN, "waiting", said("user:eve"), [], "not an approver"),
        (OPEN, "waiting", said("user:eve"), ["group:sre"], "not an approver"),
        (
            replace(OPEN, escalated_to=("group:leads",)),
            "waiting",
            said("user:eve"),
            [],
            "not an approver: user:eve is no",
        ),
        (OPEN, "waiting", said("user:ada"), ["sre"], "own request"),
        (OPEN, "waiting", said("user:ada", "rejected"), ["sre"], "own request"),
        (replace(TWO, answers=(said("user:bob"),)), "waiting", said("user:bob"), ["sre"], "answered already: user:bob"),
        (OPEN, "waiting", said("user:bob", at=END), ["sre"], "too late: it expired at 2026-11-21 11:00:00 UTC"),
        (replace(OPEN, state="expired"), "expired", said("user:bob"), ["sre"], "too late"),
        (replace(OPEN, state="closed"), "cancelled", said("user:bob"), ["sre"], "too late: the request was cancelled"),
        (replace(OPEN, state="granted"), "cancelled", said("user:bob"), ["sre"], "too late"),
        (replace(OPEN, state="granted"), "waiting", said("user:bob"), ["sre"], "closed: it is granted already"),
        (replace(OPEN, state="rejected"), "rejected", said("user:bob"), ["sre"], "closed"),
        (
            replace(OPEN, state="closed"),
            "rejected",
            said("user:bob"),
            ["sre"],
            "closed: the request is rejected already",
        ),
        (replace(OPEN, state="closed"), "held", said("user:bob"), ["sre"], "closed: nobody is asked any more"),
    ],
)
def test_answers_that_do_not_count(
    approval: Approval, request_state: str, answer: Answer, groups: list[str], reason: str
) -> None:
    weighed = weigh(approval, request_state, answer, groups)
    assert isinstance(weighed, Refusal)
    assert weighed.reason.startswith(reason)


@pytest.mark.parametrize(
    ("approval", "events", "state"),
    [
        (OPEN, ["bob grants"], "granted"),
        (OPEN, ["grace grants"], "granted"),
        (OPEN, ["grace rejects"], "rejected"),
        (replace(OPEN, not_self=False), ["ada grants"], "granted"),
        (TWO, ["bob grants"], "pending"),
        (TWO, ["bob grants", "grace grants"], "granted"),
        (TWO, ["bob grants", "carol grants"], "granted"),
        (TWO, ["bob grants", "grace rejects"], "rejected"),
        # each of the approvers, each by another person
        (ALL, ["bob grants"], "pending"),
        (ALL, ["carol grants"], "pending"),
        (ALL, ["bob grants", "dan grants"], "granted"),
        (ALL, ["carol grants", "dan grants"], "granted"),
        (ALL, ["carol grants", "bob grants"], "granted"),
        (ALL, ["bob grants", "carol grants"], "granted"),
        (replace(ALL, approvers=("group:sre", "group:sre")), ["bob grants"], "pending"),
        (replace(ALL, approvers=("group:sre", "group:sre")), ["bob grants", "carol grants"], "granted"),
        (replace(ALL, approvers=("group:sre", "user:bob")), ["bob grants", "carol grants"], "granted"),
        (replace(ALL, approvers=("group:dba", "group:dba")), ["dan grants", "bob rejects"], None),
        (ALL, ["dan rejects"], "rejected"),
        (replace(ALL, count=1), ["bob grants"], "pending"),
        # taken back, and given again
        (TWO, ["bob grants", "bob withdraws", "grace grants"], "pending"),
        (TWO, ["bob grants", "bob withdraws", "bob grants", "grace grants"], "granted"),
        (TWO, ["bob grants", "bob withdraws", "bob rejects"], "rejected"),
        (ALL, ["bob grants", "bob withdraws", "dan grants"], "pending"),
        # delegated
        (OPEN, ["bob asks eve", "eve grants"], "granted"),
        (OPEN, ["bob asks eve", "eve rejects"], "rejected"),
        (OPEN, ["bob asks eve", "bob grants"], "granted"),
        (OPEN, ["bob asks eve", "bob asks zoe", "zoe grants"], "granted"),
        (TWO, ["bob asks eve", "eve grants", "grace grants"], "granted"),
        (TWO, ["bob asks eve", "eve grants", "eve withdraws", "bob grants", "grace grants"], "granted"),
        (TWO, ["bob asks carol", "carol grants", "bob grants"], "granted"),
        (TWO, ["bob asks eve", "carol asks eve", "eve grants", "carol grants"], "granted"),
        (ALL, ["dan asks eve", "eve grants"], "pending"),
        (ALL, ["dan asks eve", "eve grants", "bob grants"], "granted"),
        # the seat in which it counts: sre is there, dba is missing
        (replace(ALL, not_self=False), ["ada grants", "dan asks bob", "bob grants"], "granted"),
        (replace(ALL, not_self=False), ["ada grants", "dan asks bob", "bob grants", "dan grants"], None),
        (replace(ALL, approvers=("group:sre", "group:dba")), ["carol grants", "dan asks bob", "bob grants"], "granted"),
        (ALL, ["carol asks eve", "dan asks eve", "bob grants", "eve grants"], "granted"),
        (ALL, ["grace grants"], None),
        # escalated
        (TWO, ["to group:leads", "bob grants", "lea grants"], "granted"),
        (ALL, ["to group:leads", "lea grants"], "pending"),
        (ALL, ["to group:leads", "lea grants", "dan grants"], "granted"),
        (ALL, ["to group:leads", "lea grants", "bob grants"], "granted"),
        (ALL, ["to group:leads", "to user:grace", "lea grants", "grace grants"], "granted"),
        (ALL, ["to group:leads", "lea asks zoe", "zoe grants", "bob grants"], "granted"),
        (ALL, ["bob grants", "to group:sre"], "pending"),
        (ALL, ["bob grants", "to group:sre", "carol grants"], "granted"),
        # a review
        (REVIEW, ["bob grants"], "granted"),
        (REVIEW, ["bob rejects"], "rejected"),
        (REVIEW, ["bob asks eve", "eve grants"], "granted"),
    ],
)
def test_what_is_said_amounts_to(approval: Approval, events: list[str], state: str | None) -> None:
    """None: something of it is refused."""
    found = after(approval, *events)
    assert (found.state if isinstance(found, Approval) else None) == state


@pytest.mark.parametrize(
    ("approval", "events", "reason"),
    [
        (OPEN, ["bob withdraws"], "nothing to take back: user:bob has not granted it"),
        (TWO, ["bob grants", "carol withdraws"], "nothing to take back: user:carol"),
        (TWO, ["bob grants", "bob withdraws", "bob withdraws"], "nothing to take back"),
        (OPEN, ["bob grants", "bob withdraws"], "closed: it is granted already by user:bob"),
        (OPEN, ["bob rejects", "bob withdraws"], "closed: it is rejected already by user:bob"),
        # whose grant it is, not whose seat
        (TWO, ["bob asks eve", "eve grants", "bob withdraws"], "nothing to take back: user:bob"),
        (OPEN, ["eve asks zoe"], "not an approver: user:eve is none of group:sre, user:grace"),
        (
            OPEN,
            ["bob asks eve", "eve asks zoe"],
            "not an approver: it was delegated to user:eve, who may answer but not",
        ),
        (OPEN, ["bob asks eve", "zoe grants"], "not an approver: user:zoe"),
        (OPEN, ["bob asks bob"], "not another person"),
        (OPEN, ["bob asks eve", "bob asks eve"], "delegated already: user:eve may answer in the place of user:bob"),
        (OPEN, ["bob asks ada"], "own request: user:ada asked for it and may not answer it"),
        (OPEN, ["ada asks eve"], "own request: user:ada asked for it and may not answer it"),
        (OPEN, ["bob grants", "carol asks eve"], "closed"),
        (TWO, ["bob grants", "bob asks eve"], "answered already: user:bob has said what counts"),
        (TWO, ["bob grants", "carol asks bob"], "answered already: user:bob has said what counts"),
        # one seat, one answer
        (
            TWO,
            ["bob asks eve", "eve grants", "bob grants"],
            "answered already: user:eve has said what counts in the pl",
        ),
        (TWO, ["bob asks eve", "eve grants", "bob asks zoe"], "answered already: user:eve has said what counts in the"),
        (TWO, ["bob asks eve", "bob grants", "eve grants"], "answered already: user:bob has said what counts"),
        (TWO, ["bob asks eve", "bob asks zoe", "eve grants", "zoe grants"], "answered already: user:eve has said what"),
        # one person, one answer
        (TWO, ["bob asks carol", "carol grants", "carol grants"], "answered already: user:carol"),
        (replace(OPEN, count=3), ["bob asks eve", "carol asks eve", "eve grants", "eve grants"], "answered already"),
        # a review
        (REVIEW, ["bob grants", "grace grants"], "signed off already by user:bob"),
        (REVIEW, ["bob rejects", "grace grants"], "objected to already by user:bob"),
        (REVIEW, ["bob grants", "bob withdraws"], "signed off already by user:bob"),
        (REVIEW, ["ada grants"], "own request"),
    ],
)
def test_what_does_not_count_is_refused_with_a_reason(approval: Approval, events: list[str], reason: str) -> None:
    refused = after(approval, *events)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(reason)


@pytest.mark.parametrize("to", ["group:sre", "ci:github/shop", "eve", "user:", ""])
def test_only_a_person_can_be_delegated_to(to: str) -> None:
    refused = delegate(OPEN, "user:bob", ["sre"], to, AT)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("not a person")


def test_a_requester_who_may_answer_may_be_delegated_to() -> None:
    own = replace(OPEN, not_self=False, approvers=("user:grace",))
    assert isinstance(after(own, "grace asks ada", "ada grants"), Approval)


def test_nothing_counts_after_its_time_but_in_a_review() -> None:
    granted = replace(TWO, answers=(said("user:bob"),))
    late = [
        weigh(granted, "waiting", said("user:grace", at=END), []),
        withdraw(granted, "user:bob", END),
        delegate(granted, "user:grace", [], "user:eve", END),
    ]
    for one in late:
        assert one == Refusal("too late: it expired at 2026-11-21 11:00:00 UTC")
    review = replace(granted, review=True)
    assert isinstance(withdraw(review, "user:bob", END), Approval)
    assert isinstance(delegate(review, "user:grace", [], "user:eve", END), Approval)
    signed = weigh(review, "failed", said("user:grace", at=END + timedelta(days=99)), [])
    assert isinstance(signed, Approval)
    assert signed.state == "granted"


def test_a_delegate_stands_for_what_the_other_did_when_it_was_delegated() -> None:
    delegated = delegate(ALL, "user:dan", ["dba"], "user:eve", AT)
    assert isinstance(delegated, Approval)
    weighed = weigh(delegated, "waiting", said("user:eve"), [])
    assert isinstance(weighed, Approval)
    assert weighed.answers == (Answer("user:eve", "granted", None, AT, "user:dan", ("group:dba",)),)


def test_an_answer_is_given_in_ones_own_seat_where_that_is_as_good() -> None:
    weighed = after(TWO, "bob asks carol", "carol grants")
    assert isinstance(weighed, Approval)
    assert weighed.answers[0].in_place_of is None


@pytest.mark.parametrize("state", ["granted", "rejected", "expired", "closed"])
def test_what_is_over_is_not_escalated(state: Any) -> None:
    over = replace(OPEN, state=state)
    assert escalate(over, ["group:leads"]) == over


def test_it_can_be_written_down_and_read_again() -> None:
    plain = Delegation("user:grace", "user:zoe", AT, ("user:grace",))
    assert Delegation.from_json(json.loads(json.dumps(plain.as_json()))) == plain
    for approval in (
        OPEN,
        REVIEW,
        after(ALL, "to group:leads", "bob asks eve", "eve grants", "dan rejects"),
        replace(TWO, answers=(Answer("user:bob", "granted", "it’s fine", AT),)),
    ):
        assert isinstance(approval, Approval)
        assert Approval.from_json(json.loads(json.dumps(approval.as_json()))) == approval


PEOPLE = ["ada", "bob", "carol", "dan", "eve", "lea", "zoe"]
ENTRIES = ["group:sre", "group:dba", "group:devs", "user:zoe", "user:bob"]

person = st.sampled_from(PEOPLE)
events = st.lists(
    st.one_of(
        st.tuples(st.just("grants"), person),
        st.tuples(st.just("grants"), person),
        st.tuples(st.just("withdraws"), person),
        st.tuples(st.just("rejects"), person).filter(lambda one: one[1] in ("dan", "zoe")),
        st.tuples(st.just("asks"), person, person),
        st.tuples(st.just("to"), st.sampled_from(["group:leads", "group:sre"])),
        st.tuples(st.just("ends")),
    ),
    max_size=14,
)
approvals = st.builds(
    Approval,
    approvers=st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=4).map(tuple),
    count=st.integers(1, 3),
    not_self=st.booleans(),
    requested_by=st.sampled_from(["user:ada", "user:bob"]),
    expires_at=st.just(END),
    all_=st.booleans(),
    review=st.booleans(),
)


def entries_of(who: str, approval: Approval, escalated: Sequence[str]) -> set[str]:
    names = {f"user:{who}"} | {f"group:{group}" for group in GROUPS[who]}
    return set(approval.approvers) if names & set(escalated) else names & set(approval.approvers)


def satisfied(approval: Approval, grants: dict[str, set[str]]) -> bool:
    """Whether these people's grants are enough, by trying every way to hand the approvers out to them."""
    if not approval.all_:
        return len(grants) >= approval.count
    ways = permutations(grants, len(approval.approvers))
    return any(all(one in grants[who] for one, who in zip(approval.approvers, way, strict=True)) for way in ways)


@settings(max_examples=400, deadline=None)
@given(approvals, events)
def test_it_is_granted_if_and_only_if_the_grants_that_stand_are_enough(
    approval: Approval, said_so: list[tuple[str, ...]]
) -> None:
    at, escalated = AT, list[str]()
    grants: dict[str, set[str]] = {}
    delegated: dict[tuple[str, str], set[str]] = {}
    for what, *who in said_so:
        before = approval
        changed: Approval | Refusal = approval
        if what == "ends":
            at = END
        elif what == "to":
            changed = escalate(approval, who)
            escalated += who if approval.state == "pending" else []
        elif what == "asks":
            changed = delegate(approval, f"user:{who[0]}", GROUPS[who[0]], f"user:{who[1]}", at)
            if changed != before and isinstance(changed, Approval):
                delegated[who[0], who[1]] = entries_of(who[0], approval, escalated)
                assert delegated[who[0], who[1]]
        elif what == "withdraws":
            changed = withdraw(approval, f"user:{who[0]}", at)
            if isinstance(changed, Approval):
                del grants[who[0]]
        else:
            answer = said(f"user:{who[0]}", "granted" if what == "grants" else "rejected", at)
            changed = weigh(approval, "waiting", answer, GROUPS[who[0]])
            if isinstance(changed, Approval):
                given = changed.answers[-1]
                seat = given.in_place_of
                own = entries_of(who[0], approval, escalated)
                stands_for = own if seat is None else delegated[seat.removeprefix("user:"), who[0]]
                assert stands_for
                if what == "rejects":
                    assert changed.state == "rejected"
                else:
                    grants[who[0]] = stands_for
        if isinstance(changed, Refusal):
            continue
        if changed != before:
            assert before.state == "pending"
            assert at < END or before.review or what == "to"
        approval = changed
        people, seats = [one.by for one in approval.answers], [one.seat for one in approval.answers]
        assert len(set(people)) == len(people)
        assert len(set(seats)) == len(seats)
        if approval.not_self:
            assert approval.requested_by not in people
            assert approval.requested_by not in seats
        if approval.state != "rejected":
            assert (approval.state == "granted") == satisfied(approval, grants)
        assert Approval.from_json(approval.as_json()) == approval


@settings(max_examples=200, deadline=None)
@given(approvals, st.lists(person, unique=True, max_size=6), st.randoms())
def test_the_order_of_grants_does_not_matter(approval: Approval, who: list[str], random: Any) -> None:
    def state_after(order: list[str]) -> str:
        found = approval
        for one in order:
            changed = weigh(found, "waiting", said(f"user:{one}"), GROUPS[one])
            found = changed if isinstance(changed, Approval) else found
        return found.state

    shuffled = random.sample(who, len(who))
    assert state_after(who) == state_after(shuffled)

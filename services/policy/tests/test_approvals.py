"""Which answers count."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from entresol_policy.domain.approvals import Answer, Approval, Refusal, weigh

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
OPEN = Approval(
    approvers=("group:sre", "user:grace"),
    count=1,
    not_self=True,
    requested_by="user:ada",
    expires_at=AT + timedelta(hours=1),
    state="pending",
    answers=(),
)


def said(by: str, what: str = "granted", at: datetime = AT) -> Answer:
    return Answer(by, what, None, at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("approval", "request_state", "answer", "groups", "reason"),
    [
        (OPEN, "waiting", said("user:eve"), ["devs"], "not an approver"),
        (OPEN, "waiting", said("user:eve"), [], "not an approver"),
        (OPEN, "waiting", said("user:eve"), ["group:sre"], "not an approver"),
        (OPEN, "waiting", said("user:ada"), ["sre"], "own request"),
        (OPEN, "waiting", said("user:ada", "rejected"), ["sre"], "own request"),
        (replace(OPEN, count=2, answers=(said("user:bob"),)), "waiting", said("user:bob"), ["sre"], "answered already"),
        (OPEN, "waiting", said("user:bob", at=AT + timedelta(hours=1)), ["sre"], "too late"),
        (replace(OPEN, state="expired"), "expired", said("user:bob"), ["sre"], "too late"),
        (replace(OPEN, state="closed"), "cancelled", said("user:bob"), ["sre"], "too late"),
        (replace(OPEN, state="granted"), "cancelled", said("user:bob"), ["sre"], "too late"),
        (replace(OPEN, state="granted"), "waiting", said("user:bob"), ["sre"], "closed"),
        (replace(OPEN, state="rejected"), "rejected", said("user:bob"), ["sre"], "closed"),
        (replace(OPEN, state="closed"), "rejected", said("user:bob"), ["sre"], "closed"),
    ],
)
def test_answers_that_do_not_count(
    approval: Approval, request_state: str, answer: Answer, groups: list[str], reason: str
) -> None:
    weighed = weigh(approval, request_state, answer, groups)  # type: ignore[arg-type]
    assert isinstance(weighed, Refusal)
    assert weighed.reason.startswith(reason)


@pytest.mark.parametrize(
    ("approval", "answer", "groups", "state"),
    [
        (OPEN, said("user:bob"), ["sre"], "granted"),
        (OPEN, said("user:grace"), [], "granted"),
        (OPEN, said("user:grace", "rejected"), [], "rejected"),
        (replace(OPEN, not_self=False), said("user:ada"), ["sre"], "granted"),
        (replace(OPEN, count=2), said("user:bob"), ["sre"], "pending"),
        (replace(OPEN, count=2, answers=(said("user:bob"),)), said("user:grace"), [], "granted"),
        (replace(OPEN, count=2, answers=(said("user:bob"),)), said("user:grace", "rejected"), [], "rejected"),
    ],
)
def test_what_answers_amount_to(approval: Approval, answer: Answer, groups: list[str], state: str) -> None:
    weighed = weigh(approval, "waiting", answer, groups)
    assert isinstance(weighed, Approval)
    assert weighed.state == state
    assert weighed.answers[-1] == answer

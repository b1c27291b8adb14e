"""`entresol policy explain` of requests that policy's own handlers have decided."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol.telling.examinations import Account, account, waits_for
from entresol_contracts import Payload
from entresol_contracts.events import (
    Actor,
    AnswerWithdrawn,
    ApprovalAnswered,
    HoldOverridden,
    LockPlaced,
    ManifestApplied,
    RequestCancelled,
    RequestSubmitted,
    RunFailed,
    RunPlanned,
    StepPlan,
    WaiverGranted,
)
from entresol_contracts.events import Scope as ScopeTold
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Emit
from entresol_eventing.testing import event, memory_session
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.store import Base
from sqlmodel import Session
from typer.testing import Result

Run = Callable[..., Result]
Document = dict[str, Any]
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
NAMES: dict[str, Any] = {"request_id": REQUEST, "resource_id": "shop/prod/database/orders", "project": "shop"}


class Log:
    """Policy with a store, and everything that was said to it and by it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._now = AT
        self._reactions = Gate(Evaluator(), lambda: self._now).reactions()
        self.chain: list[Document] = []

    def hear(self, data: Payload, minutes: float = 1) -> None:
        self._now += timedelta(minutes=minutes)
        heard = event(data, time=self._now)
        self._record(heard, None)
        for one in self._reactions.to[type(data)](heard, self._session):
            if isinstance(one, Emit):
                self._record(event(one.data, time=self._now), one.cause.id if one.cause else heard.id)

    def apply(self, kind: str, name: str, **spec: Any) -> None:
        metadata = {"name": name}
        manifest = {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}
        self.hear(ManifestApplied(kind=kind, name=name, digest=f"sha256:{name}", manifest=manifest), 0)

    def answer(self, by: str, *groups: str, what: Any = "granted", reason: str | None = None, nth: int = -1) -> None:
        key = [one["data"]["approval_id"] for one in self.chain if one["type"].endswith("approval.requested.v1")][nth]
        names = {"approval_id": key, "request_id": REQUEST, "project": "shop", "groups": list(groups)}
        self.hear(ApprovalAnswered(**names, by=by, answer=what, reason=reason))

    def _record(self, one: Event[Any], cause: str | None) -> None:
        document = one.model_dump(mode="json", exclude_none=True, by_alias=True)
        self.chain.append({**document, "position": len(self.chain) + 1, **({"causationid": cause} if cause else {})})

    def account(self) -> Account:
        return account(REQUEST, self.chain)


@pytest.fixture
def log() -> Iterator[Log]:
    with memory_session(Base.metadata) as session:
        yield Log(session)


def submitted(**changed: Any) -> RequestSubmitted:
    plain: dict[str, Any] = {
        "offering": "database",
        "offering_version": "1.0.0",
        "action": "create",
        "environment": "prod",
        "name": "orders",
        "inputs": {"size": "large"},
        "actor": Actor(id="user:ada", groups=["shop"]),
    }
    return RequestSubmitted(**NAMES | plain | changed)


def planned() -> RunPlanned:
    step = StepPlan(name="database", driver="terraform", adds=1, changes=0, destroys=2)
    return RunPlanned(**NAMES, run_id="run", digest=f"sha256:{'9' * 64}", adds=1, changes=0, destroys=2, steps=[step])


ASK = {"approve": {"from": ["group:platform"], "count": 2}, "because": "production needs a second pair of eyes"}
NIGHTS = {
    "effect": "deny",
    "cron": "0 10 * * *",
    "duration": "8h",
    "because": "people are at work",
    "override": ["group:sre"],
}
LOCK = LockPlaced(lock_id="lock-1", scope=ScopeTold(project="shop"), reason="it moves", by="user:eve", exempt=[])


@pytest.fixture
def long(log: Log) -> Log:
    """Planned, asked about, answered by several, held by a window."""
    log.apply("Policy", "production", when='request.environment == "prod"', plan=True, rules=[ASK])
    log.apply("Policy", "sizes", rules=[{"deny": 'request.inputs.size == "huge"', "because": "too large"}])
    log.apply("Policy", "deployments", when='request.offering == "deployment"', rules=[ASK])
    log.apply("Window", "days", **NIGHTS)
    log.hear(submitted(reason="a new shop"))
    log.hear(planned())
    log.answer("user:ada", "platform", reason="mine")
    log.answer("user:bob", "platform", reason="fine")
    return log


def test_what_it_waits_for_and_who_can_move_it_is_one_sentence(long: Log) -> None:
    told = long.account()
    (asked,) = told.pending
    assert (told.state, [one["kind"] for one in told.entries]) == (
        "waiting",
        ["submitted", "examination", "planned", "examination", "said", "said"],
    )
    assert waits_for(told) == (
        "It waits for group:platform (policy production, 1 of 2 granted, until 2026-11-22 10:02 UTC): "
        f"entresol approve {asked['id']}."
    )
    long.answer("user:cy", "platform")
    held = long.account()
    assert held.state == "held"
    assert waits_for(held).startswith("It is held by window days until 2026-11-21 18:00 UTC: people are at work")
    assert "group:sre may let it through" in waits_for(held)


def test_answers_that_do_not_count_say_why(long: Log) -> None:
    told = long.account()
    mine, theirs = (one for one in told.entries if one["kind"] == "said")
    assert (mine["counts"], theirs["counts"]) == (False, True)
    assert mine["refused"].startswith("own request")
    (asked,) = told.approvals.values()
    assert [(one["by"], one["counts"]) for one in asked["answers"]] == [("user:ada", False), ("user:bob", True)]
    names = {"approval_id": asked["id"], "request_id": REQUEST, "project": "shop", "groups": ["platform"]}
    long.hear(AnswerWithdrawn(**names, by="user:bob"))
    assert "0 of 2 granted" in waits_for(long.account())


def test_what_policy_has_not_ruled_on_neither_counts_nor_is_refused(long: Log) -> None:
    ruled = long.chain.pop()
    assert ruled["type"] == "dev.entresol.answer.counted.v1"
    told = long.account()
    assert told.entries[-1]["counts"] is None
    assert waits_for(told).startswith("It waits for 2 of group:platform (policy production, 0 of 2 granted")


def test_an_examination_has_every_rule_and_the_plan(long: Log) -> None:
    first, second = (one for one in long.account().entries if one["kind"] == "examination")
    assert first["outcome"] == "plan first"
    assert second["plan_digest"] == f"sha256:{'9' * 64}"
    assert [(one["policy"], one["matched"]) for one in second["verdicts"]] == [("production", True), ("sizes", False)]


def test_an_override_that_is_refused_says_why(long: Log) -> None:
    long.answer("user:cy", "platform")
    long.hear(HoldOverridden(**NAMES, by="user:ada", groups=["shop"], reason="now"))
    said = long.account().entries[-1]
    assert (said["fact"], said["counts"]) == ("hold.overridden", False)
    assert "only group:sre may let it through" in said["refused"]


@pytest.mark.parametrize(
    ("facts", "state", "sentence"),
    [
        ([], "submitted", "It waits to be examined by policy."),
        ([RequestCancelled(**NAMES, by="user:ada")], "cancelled", "It was cancelled."),
        (
            [RunFailed(**NAMES, run_id="run", action="create", reason="no such module", duration_ms=1)],
            "failed",
            "It was allowed, but failed: no such module.",
        ),
    ],
)
def test_every_end_has_a_sentence(facts: list[Payload], state: str, sentence: str) -> None:
    chain = [event(one).model_dump(mode="json", exclude_none=True) for one in (submitted(), *facts)]
    told = account(REQUEST, chain)
    assert (told.state, waits_for(told)) == (state, sentence)


def test_a_denial_names_rules_missing_fields_quotas_and_waivers(log: Log) -> None:
    until = AT + timedelta(days=1)
    log.apply("Policy", "cores", rules=[{"deny": "request.inputs.cores > 4", "because": "too many"}])
    log.apply("Policy", "sizes", rules=[{"deny": 'request.inputs.size == "large"', "because": "too large"}])
    log.apply("Quota", "databases", limit=0, because="ask the data team")
    log.hear(
        WaiverGranted(
            waiver_id="w1", waives="Policy/sizes", scope=ScopeTold(), reason="x", ticket="T", until=until, by="user:x"
        )
    )
    log.hear(submitted())
    told = log.account()
    entry = told.entries[-1]
    assert (told.state, entry["outcome"], len(told.because)) == ("denied", "denied", 2)
    assert {one["policy"]: one.get("missing") or one.get("waived_by") for one in entry["verdicts"]} == {
        "cores": "request.inputs.cores",
        "sizes": "w1",
    }
    assert entry["quotas"][0]["exceeded"]
    assert told.because[0].startswith("policy cores, rule 0, can't be evaluated")
    assert waits_for(told) == "It was denied. Only a new request can change that."


def test_a_broken_glass_names_what_it_went_past_and_waits_for_its_review(log: Log) -> None:
    review = {"by": ["user:ada"], "review": {"from": ["group:audit"]}}
    log.apply("Policy", "production", rules=[ASK, {"breakGlass": review}])
    log.hear(LOCK)
    log.hear(submitted(break_glass="the shop is down"))
    told = log.account()
    entry = told.entries[-1]
    assert entry["outcome"] == "glass broken"
    assert entry["because"] == ["policy production asks group:platform", "lock lock-1 by user:eve: it moves"]
    assert told.state == "allowed"
    assert "Its broken glass waits for group:audit to sign it off, due 2026-11-24 10:02 UTC." in waits_for(told)
    log.answer("user:cy", "audit")
    assert "glass" not in waits_for(log.account())


def test_other_requests_of_the_chain_are_left_out(long: Log) -> None:
    other = submitted(request_id="another", break_glass=None)
    long.hear(other)
    assert all(one.get("by") != "another" for one in long.account().entries)
    assert len([one for one in long.account().entries if one["kind"] == "submitted"]) == 1


@pytest.mark.parametrize("columns", ["80", "160"])
def test_it_reads_well_on_narrow_and_wide_terminals(
    run: Run, doors: Any, long: Log, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    doors.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, {"id": REQUEST})
    doors.lists(f"/catalog/v1/requests/{REQUEST}/events", *long.chain)
    result = run("policy", "explain", REQUEST)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "examined: plan first" in text
    assert "examined with plan sha256:999999999999: approval" in text
    assert "production 0 asks production needs a second pair of eyes" in text
    assert "does not count: own request" in text
    assert "1 of 2 granted" in text
    table = result.stdout.rpartition("\n\n")[0]
    assert all(len(line) <= int(columns) for line in table.splitlines())
    document = json.loads(run("policy", "explain", REQUEST, "-o", "json").stdout)
    assert (document["state"], document["entries"][-1]["by"]) == ("waiting", "user:bob")

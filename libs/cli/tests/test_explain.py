"""The tree of causes, from recorded events."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from entresol.telling.explain import draw, link
from entresol.telling.facts import fact, publisher, says
from rich.console import Console
from rich.text import Text

Document = dict[str, Any]
EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"


def text_of(chain: list[Document]) -> str:
    out = Console(file=StringIO(), width=300, markup=False, highlight=False)
    out.print(draw(Text("request"), link(chain)))
    written = out.file
    assert isinstance(written, StringIO)
    return written.getvalue()


def test_effects_hang_below_their_causes(chain: list[Document]) -> None:
    roots = link(chain)
    assert [root.event["id"] for root in roots] == ["e1", "e3"]
    granted = roots[1].effects[0]
    assert [fact(node.event) for node in granted.effects] == ["request.allowed"]


def test_an_event_whose_cause_is_not_at_hand_is_a_root(chain: list[Document]) -> None:
    assert [root.event["id"] for root in link(chain[4:])] == ["e5"]


def test_offsets_count_from_the_first_event_and_waits_from_the_cause(chain: list[Document]) -> None:
    answered = link(chain)[1]
    assert answered.offset_ms == 120_000
    assert answered.effects[0].waited_ms == pytest.approx(10)


def test_the_drawing_says_who_when_what_and_why(chain: list[Document]) -> None:
    drawn = text_of(chain)
    assert "request.submitted (intake)  create shop/prod/deployment/cart (deployment@1.0.0), by user:ada" in drawn
    assert "approval.requested (policy)  waits for group:sre until 2026-11-21 07:00:00" in drawn
    assert "· production rule 0: asks for approval: production needs a second pair of eyes" in drawn
    assert "· production rule 1: does not apply" in drawn
    assert "+2 min approval.answered (intake)  granted by user:grace" in drawn
    assert "✓ succeeded after 2 min, waited 2 min for approval" in drawn


def test_a_long_pause_between_cause_and_effect_is_remarked(chain: list[Document]) -> None:
    chain[5]["time"] = "2026-11-21T03:02:05+00:00"
    assert "[5.0 s after its cause]" in text_of(chain)


def test_what_an_event_says_cannot_steer_the_terminal(chain: list[Document]) -> None:
    chain[1]["data"]["because"] = "[red]\x1b[2Jgone\x07\u202e"
    drawn = text_of(chain)
    assert "\x1b" not in drawn
    assert "[red]�[2Jgone��" in drawn


def test_a_delete_of_what_never_was_says_so(chain: list[Document]) -> None:
    chain[5]["data"] |= {"action": "delete", "steps": []}
    assert "run.started (provisioning)  nothing of it is there" in text_of(chain)


def test_an_event_of_a_newer_platform_is_shown_by_its_type(chain: list[Document]) -> None:
    chain[5] |= {"type": "dev.entresol.run.started.v2", "data": {"something": "else"}}
    assert "run.started.v2 (provisioning)" in text_of(chain)


LATER: list[tuple[str, Document, str]] = [
    (
        "plan.requested",
        {"policies": ["no-surprises"]},
        "plan.requested (policy)  no-surprises looks at the plan",
    ),
    (
        "run.planned",
        {"digest": "sha256:" + "a" * 64, "adds": 1, "changes": 0, "destroys": 2, "steps": [], "cost": 40,
         "unknown": ["dns"], "replaces": "sha256:" + "b" * 64},
        "1 to add, 0 to change, 2 to destroy, 40 a month, unknown before others are applied: dns"
        " (sha256:aaaaaaaaaaaa, instead of sha256:bbbbbbbbbbbb)",
    ),
    (
        "request.held",
        {"holds": [{"kind": "lock", "name": "l1", "because": "a move", "by": "user:ada"}]},
        "request.held (policy)  lock l1: a move (by user:ada)",
    ),
    (
        "approval.requested",
        {"approval_id": "a1", "policy": "p", "approvers": ["group:sre", "group:data"], "count": 2, "all": True,
         "requested_by": "user:ada", "expires_at": "2026-11-21T07:00:00Z"},
        "waits for each of group:sre, group:data until 2026-11-21 07:00:00",
    ),
    (
        "approval.reminded",
        {"policy": "p", "approvers": ["group:sre"], "expires_at": "2026-11-21T07:00:00Z", "review": True},
        "still waits for group:sre, due 2026-11-21 07:00:00",
    ),
    (
        "approval.escalated",
        {"policy": "p", "approvers": ["group:managers"], "expires_at": "2026-11-21T07:00:00Z"},
        "now also group:managers until 2026-11-21 07:00:00",
    ),
    ("approval.closed", {"policy": "p", "because": "there is a newer plan"}, "not asked any more: there is a newer"),
    (
        "glass.broken",
        {"actor": "user:ada", "reason": "the shop is down", "bypassed": ["lock l1", "policy p asks group:sre"]},
        "by user:ada: the shop is down; went past lock l1; policy p asks group:sre",
    ),
    ("hold.overridden", {"by": "user:ada", "reason": "it can't wait"}, "user:ada lets it begin: it can't wait"),
    (
        "answer.counted",
        {"said": "granted", "by": "user:bob", "in_place_of": "user:ada", "missing": 1, "missing_from": ["user:eve"]},
        "granted by user:bob in the place of user:ada counts, 1 more from user:eve",
    ),
    (
        "override.counted",
        {"by": "user:bob", "holds": [{"kind": "lock", "name": "l1", "because": "it moves"}]},
        "user:bob lets it through lock l1: it moves",
    ),
    ("override.refused", {"by": "user:ada", "reason": "no"}, "override of user:ada did not count: no"),
    ("lock.placed", {"scope": {}, "by": "user:ada", "reason": "an outage"}, "user:ada locks everything: an outage"),
    (
        "waiver.granted",
        {"waives": "Policy/p", "rule": 0, "scope": {"project": "shop"}, "reason": "a test", "ticket": "OPS-1",
         "until": "2026-11-21T07:00:00Z", "by": "user:ada"},
        "user:ada waives Policy/p rule 0 for project shop until 2026-11-21 07:00:00 (OPS-1): a test",
    ),
    (
        "run.suspended",
        {"step": "migrate", "reason": "the job runs", "until": "2026-11-21T07:00:00Z"},
        "step migrate waits: the job runs (until 2026-11-21 07:00:00)",
    ),
    ("resume.requested", {"by": "user:ada", "reason": "checked"}, "user:ada lets what is suspended go on: checked"),
    (
        "run.failed",
        {"step": "c", "reason": "no route", "compensated": ["b"], "left": ["a"]},
        "step c: no route; undone: b; left in the world: a",
    ),
    (
        "run.cancelled",
        {"reason": "asked by user:ada", "compensated": ["b"], "steps_done": ["a", "b"]},
        "asked by user:ada; undone: b; left in the world: a",
    ),
    ("compensation.failed", {"step": "a", "reason": "no route"}, "step a could not be undone: no route"),
    (
        "requirement.requested",
        {"name": "db", "action": "create", "wanted": {"resource_id": "shop/dev/database/cart-db"},
         "for_request_id": "r2"},
        "needs db: create shop/dev/database/cart-db (request r2)",
    ),
    (
        "requirement.requested",
        {"name": "db", "action": "delete", "wanted": {"resource_id": "shop/dev/database/cart-db"},
         "for_request_id": "r2"},
        "needs no db: delete shop/dev/database/cart-db (request r2)",
    ),
    ("requirement.refused", {"name": "db", "reason": "no such offering"}, "can't have db: no such offering"),
    (
        "resource.drifted",
        {"resource_id": "a/b/c/d", "mode": "correct", "gone": ["dns"], "more": 2,
         "differences": [{"step": "s", "path": f"f{n}.yaml#/x", "change": "changed"} for n in range(4)]},
        "a/b/c/d: nothing is left of dns; differs in f0.yaml#/x (changed), f1.yaml#/x (changed), f2.yaml#/x (changed)"
        " and 3 more; it is put right by a request",
    ),
    (
        "resource.unobserved",
        {"resource_id": "a/b/c/d", "since": "2026-11-21T07:00:00Z", "reason": "step s: no answer"},
        "nobody can look at a/b/c/d since 2026-11-21 07:00:00: step s: no answer",
    ),
    ("resource.observed", {"resource_id": "a/b/c/d"}, "a/b/c/d can be looked at again"),
    (
        "resource.paused",
        {"resource_id": "a/b/c/d", "by": "user:ada", "until": "2026-11-21T07:00:00Z", "reason": "by hand"},
        "user:ada pauses a/b/c/d until 2026-11-21 07:00:00: by hand",
    ),
    ("resource.unpaused", {"resource_id": "a/b/c/d", "by": "system:pause"}, "a/b/c/d: its end had come"),
    (
        "resource.deleted",
        {"resource_id": "a/b/c/d", "orphaned": [{"step": "s", "driver": "http", "reason": "no answer"}]},
        "a/b/c/d, but left in the world: s (http): no answer",
    ),
    (
        "resource.provisioned",
        {"resource_id": "a/b/c/d", "adopted": True, "implementation": "cheap", "requires": {"db": "a/b/database/d-db"}},
        "a/b/c/d, adopted, by implementation cheap, needs a/b/database/d-db",
    ),
    (
        "offering.staged",
        {"name": "db", "version": "1.1.0", "stage": "default", "previous": "1.0.0", "by": "user:ada",
         "reason": "tried"},
        "db@1.1.0 is default instead of 1.0.0, by user:ada: tried",
    ),
    ("driver.announced", {"driver": "terraform", "available": False},
     "terraform; it can't work there, a program is missing"),
    ("driver.withdrawn", {"driver": "abacus"}, "abacus is not installed any more"),
]  # fmt: skip


def test_a_request_says_what_made_it_another_than_a_plain_wish(chain: list[Document]) -> None:
    chain[0]["data"] |= {
        "class": "cheap",
        "requirement": {"request_id": "r0", "resource_id": "shop/dev/app/cart", "name": "db"},
        "snapshot": {"revision": 3},
        "question": {"from": ["user:ada"], "because": "it has drifted"},
        "orphan": True,
    }
    said = says(chain[0])
    assert "of class cheap, for shop/dev/app/cart as its db, back to revision 3" in said
    assert "leaving behind what can't be removed, only if user:ada agrees: it has drifted" in said


@pytest.mark.parametrize(("name", "data", "said"), LATER, ids=[one[0] for one in LATER])
def test_what_stands_in_the_way_is_told(chain: list[Document], name: str, data: Document, said: str) -> None:
    event = {**chain[1], "id": "e99", "type": f"dev.entresol.{name}.v1", "data": data}
    assert said in text_of([chain[0], event])


def test_a_decision_shows_all_that_it_looked_at(chain: list[Document]) -> None:
    decision = chain[4]["data"]
    error = decision["verdicts"][0] | {"effect": "error", "because": "it failed", "missing": "request.inputs.size"}
    waived = decision["verdicts"][0] | {"policy": "sizes", "effect": "deny", "waived_by": "w1"}
    decision["verdicts"] = [error, waived]
    decision["unconcerned"] = ["long-stays", "nights"]
    decision["quotas"] = [{"quota": "databases", "per": "shop", "used": 3, "asked": 1, "limit": 3, "exceeded": True}]
    drawn = text_of(chain)
    assert "· production rule 0: could not be evaluated: it failed (request.inputs.size is not there)" in drawn
    assert "· sizes rule 0: denies: production needs a second pair of eyes, but waived by w1" in drawn
    assert "· quota databases of shop: 3 used, 1 asked, 3 allowed" in drawn
    assert "· not concerned: long-stays, nights" in drawn


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*.full.json")), ids=lambda path: path.name.removesuffix(".full.json")
)
def test_every_event_of_the_contract_has_something_to_say(path: Path) -> None:
    example = json.loads(path.read_text())
    data = example["data"] if "specversion" in example else example
    name = path.name.removesuffix(".v1.full.json")
    assert says({"type": f"dev.entresol.{name}.v1", "data": data})


def test_outside_events_are_told_by_type_and_source() -> None:
    event = {"type": "dev.cdevents.artifact.published.0.3.0", "source": "/ci/1", "data": {}}
    assert (fact(event), publisher(event)) == ("dev.cdevents.artifact.published.0.3.0", "/ci/1")

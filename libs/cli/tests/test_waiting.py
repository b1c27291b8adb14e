"""What is shown of a request while somebody waits for it."""

import time
from io import StringIO
from typing import Any

from entresol.telling import waiting
from entresol.telling.progress import Progress
from rich.console import Console

Document = dict[str, Any]
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
PLAN = {"digest": "sha256:" + "a" * 64, "adds": 1, "changes": 0, "destroys": 2}


def event(fact: str, **data: Any) -> Document:
    return {
        "type": f"dev.entresol.{fact}.v1",
        "time": "2026-11-21T03:00:00Z",
        "data": {"request_id": REQUEST, **data},
    }


def picture(progress: Progress) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(waiting.picture(progress, time.monotonic()))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def asked(**data: Any) -> Document:
    ask: Document = {"approval_id": "a1", "approvers": ["group:sre"], "count": 1, "expires_at": "2026-11-21T07:00:00Z"}
    return event("approval.requested", **ask | data)


def test_the_picture_follows_a_request_through_its_plan_and_its_holds() -> None:
    progress = Progress(REQUEST)
    progress.see(event("plan.requested", policies=["no-surprises"]))
    assert "planning" in picture(progress)
    steps = [{"name": "database", "summary": ["+ table"]}]
    progress.see(event("run.planned", **PLAN, steps=steps))
    assert "plan: 1 to add, 0 to change, 2 to destroy  (sha256:aaaaaaaaaaaa)" in picture(progress)
    assert "database: + table" in picture(progress)
    progress.see(asked(plan=PLAN))
    assert "waiting-for-approval" in picture(progress)
    assert "database: + table" in picture(progress)
    progress.see(event("request.held", holds=[{"kind": "window", "name": "nights", "because": "at night"}]))
    assert "held" in picture(progress)
    assert "window nights: at night" in picture(progress)
    progress.see(event("request.allowed", verdicts=[]))
    assert "nights" not in picture(progress)
    progress.see(event("run.started", steps=["database"], running=["database"]))
    assert "+ table" not in picture(progress)


def test_nothing_waits_for_a_review() -> None:
    progress = Progress(REQUEST)
    progress.see(event("request.allowed", verdicts=[], glass_broken=True))
    progress.see(asked(review=True))
    assert progress.state == "allowed"


def test_a_suspended_step_says_what_it_waits_for_until_it_may_go_on() -> None:
    progress = Progress(REQUEST)
    progress.see(event("run.started", steps=["database", "migrate"], running=["database"]))
    told = {"step": "migrate", "reason": "look at the data", "until": "2026-11-22T07:00:00Z", "resumable": True}
    progress.see(event("run.suspended", **told))
    assert "migrate  suspended  look at the data (until 2026-11-22" in picture(progress)
    assert progress.standing.startswith("running: step migrate waits: look at the data")
    progress.see(event("resume.requested", by="user:ada"))
    assert "suspended" not in picture(progress)
    progress.see(event("run.suspended", **told | {"reason": "look again"}))
    assert "look again" in picture(progress)
    progress.see(event("run.progressed", step="migrate", state="succeeded", attempt=1, running=[]))
    assert "migrate  succeeded" in picture(progress)
    progress.see(event("run.suspended", **told))
    progress.see(event("request.completed", outcome="cancelled", duration_ms=1))
    assert "suspended" not in picture(progress)


def test_what_a_request_needs_is_shown_below_it() -> None:
    progress = Progress(REQUEST)
    other = {"request_id": "r2"}
    progress.see(event("run.started", steps=["requires/db", "deploy"], running=[]))
    wanted = {"wanted": {"resource_id": "shop/dev/database/cart-db"}, "action": "create"}
    progress.see(event("requirement.requested", name="db", for_request_id="r2", **wanted))
    waits = {"step": "db", "reason": "shop/dev/database/cart-db is made", "requires": "r2"}
    progress.see(event("run.suspended", **waits))
    assert not progress.see(event("run.started", steps=["x"], **other))
    assert "requires/" not in picture(progress)
    assert "└── needs\n    └── db  shop/dev/database/cart-db  running" in picture(progress)
    wanted = {"wanted": {"resource_id": "shop/dev/disk/cart-db-disk"}, "action": "create"}
    progress.see(event("requirement.requested", name="disk", for_request_id="r3", **wanted, **other))
    progress.see(event("run.suspended", step="s", reason="slow", **{"request_id": "r3"}))
    assert "└── disk  shop/dev/disk/cart-db-disk  submitted\n            └── s  suspended  slow" in picture(progress)
    assert "db" in progress.waits
    assert "db  suspended" not in picture(progress)
    progress.see(event("request.completed", outcome="succeeded", duration_ms=1, **other))
    assert "db" not in progress.waits
    gone = {"wanted": {"resource_id": "shop/dev/cache/cart-cache"}, "action": "delete"}
    progress.see(event("requirement.requested", name="cache", for_request_id="r4", **gone))
    assert "cache  delete shop/dev/cache/cart-cache  submitted" in picture(progress)
    assert progress.tree()[0]["needs"][0]["resource"] == "shop/dev/disk/cart-db-disk"
    progress.see(event("requirement.refused", name="cache", for_request_id="r2", reason="not offered"))
    assert "refused  not offered" in picture(progress)


def test_steps_that_were_undone_are_not_shown_as_done() -> None:
    progress = Progress(REQUEST)
    progress.see(event("run.started", steps=["a", "b"], running=["a"]))
    progress.see(event("compensation.succeeded", step="a"))
    progress.see(event("compensation.failed", step="b", reason="no"))
    assert "a  undone" in picture(progress)
    assert "b  not undone" in picture(progress)

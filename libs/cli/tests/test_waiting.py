"""What is shown of a request while somebody waits for it."""

import time
from io import StringIO
from typing import Any

from entresol.telling.waiting import Progress
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
    console.print(progress.picture(time.monotonic()))
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

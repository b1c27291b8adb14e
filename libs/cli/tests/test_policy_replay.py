"""`entresol policy replay` against a log that is served page by page."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from entresol.doors.client import Client
from entresol.doors.past import position_of
from typer.testing import Result

Run = Callable[..., Result]
Document = dict[str, Any]
NOW = datetime.now(UTC)
DRAFT = """
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: sizes}
spec:
  rules:
    - deny: request.inputs.size == "large"
      because: too large
"""


def event(position: int, fact: str, at: datetime, number: int, **data: Any) -> Document:
    names = {"request_id": f"r{number}", "resource_id": f"shop/dev/database/d{number}", "project": "shop"}
    kind = f"dev.entresol.{fact}.v1"
    return {"position": position, "type": kind, "time": at.isoformat(), "data": {**names, **data}}


def log(requests: int) -> list[Document]:
    """Requests an hour apart, the last of them now; every third is large, and all were allowed."""
    events: list[Document] = []
    for number in range(requests):
        at = NOW - timedelta(hours=requests - 1 - number)
        asked = {
            "offering": "database",
            "offering_version": "1.0.0",
            "action": "create",
            "environment": "dev",
            "name": f"d{number}",
            "inputs": {"size": "small" if number % 3 else "large"},
            "actor": {"id": "user:ada", "groups": []},
        }
        events.append(event(len(events) + 1, "request.submitted", at, number, **asked))
        events.append(event(len(events) + 1, "request.allowed", at, number, verdicts=[]))
    return events


@pytest.fixture
def served(doors: Any) -> Callable[[list[Document]], None]:
    """Serve events as the catalog does, in pages of three."""

    def serve(events: list[Document]) -> None:
        def answer(call: Any) -> tuple[int, Any]:
            kinds = {f"dev.entresol.{value}.v1" for name, value in call.pairs if name == "type"}
            after, limit = int(call.query.get("after", 0)), min(3, int(call.query["limit"]))
            found = [one for one in events if one["position"] > after and (not kinds or one["type"] in kinds)]
            following = str(found[limit - 1]["position"]) if found[limit:] else None
            return 200, {"items": found[:limit], "next": following}

        doors.answers["GET", "/catalog/v1/events"] = answer

    return serve


def test_the_place_where_a_time_begins_is_found(doors: Any, served: Callable[[list[Document]], None]) -> None:
    served(log(100))
    client = Client(doors.url)
    for hours in (0, 1, 50, 99, 1000):
        since = NOW - timedelta(hours=hours, minutes=1)
        behind = client.history(after=position_of(client, since), most=1)
        first = datetime.fromisoformat(next(behind)["time"])
        earliest = NOW - timedelta(hours=99)
        assert max(earliest, since - timedelta(hours=3)) <= first <= max(earliest, since)
    served([])
    assert position_of(client, NOW) == 0


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "draft.yaml"
    path.write_text(DRAFT)
    return path


def test_what_would_change_is_counted_and_the_latest_listed(
    run: Run, served: Callable[[list[Document]], None], draft: Path
) -> None:
    served(log(30))
    result = run("policy", "replay", "-f", str(draft), "--limit", "2")
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(row.startswith("30 requests looked at, the first from ") for row in rows), rows
    assert "20 would be decided as they were" in rows
    assert "10 allowed → denied" in rows
    assert "and 8 more; --limit shows them" in rows
    listed = [row for row in rows if row.endswith("allowed → denied too large")]
    assert [row.split()[0] for row in listed] == ["r27", "r24"]


def test_only_what_is_needed_is_read(
    run: Run, doors: Any, served: Callable[[list[Document]], None], draft: Path
) -> None:
    served(log(30))
    result = run("policy", "replay", "-f", str(draft), "--since", "5h", "--project", "shop", "-o", "json")
    document = json.loads(result.stdout)
    assert document["requests"] == 6 - 1
    assert document["changed"] == [{"was": "allowed", "would_be": "denied", "count": 1}]
    asked = [call for call in doors.received if "type" in call.query]
    kinds = [[value for name, value in call.pairs if name == "type"] for call in asked]
    assert not any("entity.changed" in each for each in kinds)
    background, foreground = kinds[0], kinds[-1]
    assert "waiver.granted" in background
    assert "request.submitted" in foreground
    assert {call.method for call in doors.received} == {"GET"}
    assert all(
        call.query.get("project") == "shop" for call, each in zip(asked, kinds, strict=True) if each == foreground
    )
    assert min(int(call.query["after"]) for call, each in zip(asked, kinds, strict=True) if each == foreground) > 40


def test_the_catalog_is_read_if_a_rule_looks_at_it(
    run: Run, doors: Any, served: Callable[[list[Document]], None], draft: Path
) -> None:
    served(log(3))
    draft.write_text(DRAFT.replace("- deny", '- approve: {from: ["owner:service/cart"]}\n    - deny'))
    assert run("policy", "replay", "-f", str(draft)).exit_code == 0
    assert any(("type", "entity.changed") in call.pairs for call in doors.received)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (DRAFT.replace("Policy", "Window"), (), "the drafts can't be used"),
        (
            "apiVersion: entresol.dev/v1\nkind: Quota\nmetadata: {name: few}\nspec: {limit: 2}",
            (),
            "only policies can be replayed, and not Quota few",
        ),
        (DRAFT.replace("request.inputs", "request.input"), (), "the drafts can't be used"),
        (DRAFT, ("--since", "soon"), "--since: 'soon' is no duration"),
    ],
)
def test_a_draft_that_cannot_be_replayed_is_refused(
    run: Run, doors: Any, draft: Path, text: str, options: tuple[str, ...], told: str
) -> None:
    draft.write_text(text)
    result = run("policy", "replay", "-f", str(draft), *options)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert doors.received == []

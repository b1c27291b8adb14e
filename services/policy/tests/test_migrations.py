"""What was kept before a migration is understood after it, on both kinds of database."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from entresol_contracts.events import ApprovalAnswered, ApprovalGranted, RequestDenied
from entresol_eventing import migrate
from entresol_eventing.reactions import Emit
from entresol_eventing.store import Database
from entresol_eventing.testing import event
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_policy.app import MIGRATIONS
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.store import books
from sqlalchemy import text
from sqlmodel import Session

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
BEFORE = (
    """INSERT INTO policy (name, digest, manifest) VALUES ('sizes', 'sha256:a', '{"spec": {"rules": [
       {"deny": "request.inputs.size == 9", "because": "too large"}]}}')""",
    """INSERT INTO waiting_request (id, resource_id, project, requested_by, verdicts, state, submitted_at)
       VALUES ('r1', 'shop/prod/database/orders', 'shop', 'user:ada', '[]', 'waiting', :at)""",
    """INSERT INTO approval (id, request_id, policy, approvers, count, not_self, expires_at, state, answers)
       VALUES ('a1', 'r1', 'eyes', '["group:sre"]', 2, :yes, :end, 'pending',
       '[{"by": "user:bob", "answer": "granted", "reason": null, "at": "2026-11-21T09:00:00+00:00"}]')""",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'policy.db'}")
        yield found
        found.close()
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        found = Database(server.database("store"))
        yield found
        found.close()


def before(tmp_path: Path) -> Path:
    """The first of the migrations."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("000[2-9]*", "__pycache__"))
    return folder


def test_a_request_that_waits_is_judged_again_with_its_inputs_unknown(database: Database, tmp_path: Path) -> None:
    migrate.upgrade(database, before(tmp_path))
    end = AT + timedelta(hours=4)
    times = {"at": AT, "end": end}
    if database.writer.dialect.name == "sqlite":
        times = {name: value.strftime("%Y-%m-%d %H:%M:%S.%f") for name, value in times.items()}  # type: ignore[misc]
    with database.writer.begin() as connection:
        for statement in BEFORE:
            connection.execute(text(statement), {**times, "yes": True})
    migrate.upgrade(database, MIGRATIONS)
    gate = Gate(Evaluator(), lambda: AT).reactions()
    with Session(database.writer) as session:
        assert [(kind, name) for kind, name, _, _ in books.manifests(session)] == [("Policy", "sizes")]
        answer = ApprovalAnswered(
            approval_id="a1", request_id="r1", project="shop", answer="granted", by="user:eve", groups=["sre"]
        )
        outcomes = list(gate.to[ApprovalAnswered](event(answer, time=AT), session))
        _, granted, denied = (one.data for one in outcomes if isinstance(one, Emit))
    assert isinstance(granted, ApprovalGranted)
    assert [one.by for one in granted.answers] == ["user:bob", "user:eve"]
    assert isinstance(denied, RequestDenied)
    assert "size" in denied.because[0]

"""Copies of requests: other ids, names and times, and everything else as it was."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from entresol_eventing.envelope import new_id, subject_key

from tests.bench.copies import Copy, Pattern, digests, tokens
from tests.bench.fill import fill_store, move_cursors, read_store

AGO = timedelta(hours=1)


def _copy(number: int = 1) -> Copy:
    return Copy(number, names=10, seed=3, older=AGO)


def test_a_copied_id_is_another_uuid_of_the_same_version_and_an_hour_older() -> None:
    original = new_id()
    copied = UUID(_copy().token(original))
    assert copied != UUID(original)
    assert (copied.version, copied.variant) == (7, UUID(original).variant)
    assert (UUID(original).int >> 80) - (copied.int >> 80) == 3_600_000


def test_no_two_copies_have_an_id_in_common() -> None:
    originals = [new_id() for _ in range(50)]
    copied = {_copy(number).token(one) for number in range(1, 101) for one in originals}
    assert len(copied | set(originals)) == 5050


def test_a_copy_is_the_same_wherever_it_is_made() -> None:
    original = new_id()
    assert _copy(4).token(original) == _copy(4).token(original)


@pytest.mark.parametrize(
    ("token", "copied"),
    [
        ("fill-0000007", "fill-0000017"),
        ("2026-11-21T06:11:14.081075", "2026-11-21T05:11:14.081075"),
        ("2026-11-21 06:11:14.081075", "2026-11-21 05:11:14.081075"),
        ("2026-11-21T06:11:14", "2026-11-21T05:11:14"),
    ],
)
def test_names_count_on_and_times_go_back_in_their_own_form(token: str, copied: str) -> None:
    assert tokens(f'"{token}Z"') == [token]
    assert _copy().token(token) == copied


def test_what_tells_no_requests_apart_stays() -> None:
    digest = "sha256:f7dc0fac9474eb65ec327049561f906af29924093d46587655af714838ee5ca3"
    assert tokens(f"{digest} 100 % of bench/dev/thing {4:07d}") == []
    (row,) = Pattern([("100 % of fill-0000001", b"raw", 5, None)], [], {}).copy(_copy())
    assert row == ("100 % of fill-0000011", b"raw", 5, None)


def test_a_subject_that_nats_has_as_a_digest_is_hashed_anew() -> None:
    resource = "bench/dev/thing/fill-0000003"
    known = digests([json.dumps({"subject": resource}, separators=(",", ":"))])
    (row,) = Pattern([(f"entresol.catalog.entity.changed.{subject_key(resource)}",)], [], known).copy(_copy())
    assert row[0] == f"entresol.catalog.entity.changed.{subject_key('bench/dev/thing/fill-0000013')}"


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Path:
    """A small database as a service leaves it: three requests that may be copied, and what may not."""
    file = tmp_path / "catalog.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE history (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
            CREATE TABLE request (id TEXT PRIMARY KEY, position INTEGER NOT NULL REFERENCES history, at TEXT NOT NULL);
            CREATE TABLE eventing_outbox (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
            CREATE TABLE eventing_cursor (name TEXT PRIMARY KEY, position INTEGER NOT NULL);
            CREATE TABLE manifest (name TEXT PRIMARY KEY);
            INSERT INTO eventing_cursor VALUES ('relay', 3), ('catalog@2026-11-21 06:11:10.999325+00:00', 9);
            INSERT INTO manifest VALUES ('thing');
            INSERT INTO history VALUES (1, 'another', '{}');
            """
        )
        for number in range(3):
            request, event = new_id(), new_id()
            body = json.dumps({"request": request, "event": event, "name": f"fill-{number:07d}"})
            moment = f"2026-11-21 06:00:{number:02d}.000005"
            connection.execute("INSERT INTO history VALUES (?, ?, ?)", (number + 2, event, body))
            connection.execute("INSERT INTO request VALUES (?, ?, ?)", (request, number + 2, moment))
            connection.execute("INSERT INTO eventing_outbox VALUES (?, ?, ?)", (number + 1, event, body.encode()))
    return file


def test_filled_rows_keep_every_constraint_and_still_fit_each_other(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM history WHERE position > 1")]
    own = frozenset(body[key] for body in bodies for key in ("request", "event"))
    kept = read_store(store, own, {})
    assert set(kept.tables) == {"history", "request", "eventing_outbox"}
    fill_store(kept, [_copy(number) for number in range(1, 26)])
    fill_store(kept, [_copy(number) for number in range(26, 31)])
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute(
            "SELECT history.position, history.body, request.id, history.id, request.at, eventing_outbox.position,"
            " CAST(eventing_outbox.body AS TEXT) FROM history JOIN request USING (position)"
            " JOIN eventing_outbox ON eventing_outbox.id = history.id ORDER BY history.position"
        ).fetchall()
    assert [row[0] for row in rows] == list(range(2, 95))
    assert [row[5] for row in rows] == list(range(1, 94))
    for _, body, request_id, event_id, _, _, said in rows:
        assert said == body
        assert (json.loads(body)["request"], json.loads(body)["event"]) == (request_id, event_id)
    assert {json.loads(row[1])["name"] for row in rows[3:6]} == {f"fill-{number:07d}" for number in (10, 11, 12)}


def test_after_a_fill_the_service_has_read_and_published_everything(store: Path) -> None:
    move_cursors(store, "catalog", 4711)
    with closing(sqlite3.connect(store)) as connection:
        cursors = dict(connection.execute("SELECT name, position FROM eventing_cursor"))
    assert cursors == {"relay": 3, "catalog@2026-11-21 06:11:10.999325+00:00": 4711}

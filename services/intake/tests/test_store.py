"""What is remembered, and for how long."""

from datetime import UTC, datetime, timedelta

from entresol_eventing.testing import memory_session
from entresol_intake.store import (
    Base,
    add,
    answer_of,
    forget_resource,
    idempotency_keys,
    remember_received,
    remember_resource,
    sweep,
    unknown,
    version_of,
)

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


def test_keys_and_deliveries_are_forgotten_when_they_are_old() -> None:
    with memory_session(Base.metadata) as session:
        for key, hours in (("old", 49), ("young", 47)):
            row = {"scope": "s", "key": key, "digest": "d", "answer": "{}", "answered_at": AT - timedelta(hours=hours)}
            add(session, idempotency_keys, row)
        remember_received([("/x", "old")], "http", AT - timedelta(days=32), session)
        remember_received([("/x", "young")], "http", AT - timedelta(days=30), session)
        sweep(AT - timedelta(hours=48), AT - timedelta(days=31), session)
        assert answer_of("s", "old", session) is None
        assert answer_of("s", "young", session) == ("d", "{}")
        assert unknown([("/x", "old"), ("/x", "young")], session) == {("/x", "old")}


def test_a_resource_is_known_with_its_last_version_until_it_is_deleted() -> None:
    with memory_session(Base.metadata) as session:
        assert version_of("r", session) is None
        remember_resource("r", "1.0.0", session)
        remember_resource("r", "2.0.0", session)
        assert version_of("r", session) == "2.0.0"
        forget_resource("r", session)
        assert version_of("r", session) is None

"""Resources that are left alone for a while."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from entresol_contracts.events import (
    ResourcePaused,
)

from services.provisioning.tests.conftest import NOON, Desk, make_offering
from services.provisioning.tests.lives import ID, names, see


class TestPauses:
    @pytest.fixture
    def clock(self, provided: None) -> Iterator[time_machine.Traveller]:
        with time_machine.travel(NOON, tick=False) as traveller:
            yield traveller

    @pytest.fixture(autouse=True)
    def provided(self, desk: Desk) -> None:
        desk.apply(make_offering(lifetime={"default": "1h"}, drift={"every": "10m"}))
        desk.ask()
        desk.done("only")

    def test_a_pause_ends_by_itself(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=600, reason="by hand")
        paused = desk.said(ResourcePaused)[0]
        assert (paused.by, paused.reason, paused.until) == ("user:ada", "by hand", desk.at + timedelta(minutes=10))
        refused = desk.ask("update")
        assert "is paused by user:ada until 2026-05-01 12:10 UTC: by hand" in desk.last().reason
        assert desk.facts(refused) == ["RunFailed"]
        desk.due("pause:" + ID)
        assert desk.facts()[-1] == "ResourceUnpaused"
        desk.ask("update")
        assert names(desk) == ["only"]

    def test_a_pause_wants_a_reason_and_an_end(self, desk: Desk) -> None:
        desk.ask("pause", reason="by hand")
        assert "for how long" in desk.last().reason

    def test_a_paused_resource_does_not_expire(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=3 * 86400 * 365, reason="by hand")
        before = desk.facts()
        desk.due("lifetime:" + ID)
        assert desk.facts() == before
        assert "lifetime:" + ID in desk.deadlines

    def test_it_is_warned_about_its_end_all_the_same(self, desk: Desk, clock: time_machine.Traveller) -> None:
        desk.ask("pause", lifetime_seconds=9 * 86400, reason="by hand")
        clock.move_to(desk.at + timedelta(minutes=30))
        desk.due("lifetime:" + ID)
        assert desk.facts()[-1] == "ResourceExpiring"

    def test_its_end_waits_no_longer_than_the_pause(self, desk: Desk, clock: time_machine.Traveller) -> None:
        def look() -> None:
            assert desk.deadlines["lifetime:" + ID].due_at <= desk.at
            desk.due("lifetime:" + ID)

        desk.ask("pause", lifetime_seconds=9 * 86400, reason="by hand")
        desk.later(hours=2)
        clock.move_to(desk.at)
        look()
        assert desk.deadlines["lifetime:" + ID].due_at == NOON + timedelta(days=9)
        desk.ask("pause", lifetime_seconds=600, reason="nearly done")
        look()
        assert desk.deadlines["lifetime:" + ID].due_at == desk.at + timedelta(minutes=10)
        desk.ask("unpause")
        look()
        assert desk.facts()[-1] == "ResourceExpired"

    def test_nobody_looks_at_a_paused_resource(self, desk: Desk) -> None:
        desk.ask("pause", lifetime_seconds=600, reason="by hand")
        see(desk, "a.yaml")
        assert "ResourceDrifted" not in desk.facts()

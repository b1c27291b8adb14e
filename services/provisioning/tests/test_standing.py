"""What provisioning shows of how its resources and steps stand."""

from datetime import timedelta

import pytest
from entresol_eventing.envelope import now
from entresol_eventing.telemetry import Telemetry
from entresol_provisioning.standing import show
from entresol_provisioning.verdicts import Wait

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import miss, see

RESOURCES = ("drifted", "unobserved", "paused", "expiring", "expired")
NAMES = (*(f"resources_{one}" for one in RESOURCES), "steps_suspended")


@pytest.fixture
def lives(desk: Desk) -> Desk:
    """A resource that lives for a week from now on."""
    desk.at = now()
    desk.apply(make_offering(lifetime={"default": "7d"}, drift={"every": "10m"}))
    desk.ask()
    desk.done("only")
    return desk


def shown(desk: Desk) -> dict[str, float]:
    """The gauges that are not zero."""
    metrics = Telemetry().metrics
    show(metrics, "provisioning", desk.session)
    said = {"service": "provisioning"}
    found = {name: metrics.registry.get_sample_value(f"entresol_{name}", said) for name in NAMES}
    assert None not in found.values()
    return {name: value for name, value in found.items() if value}


def test_a_resource_as_it_should_be_counts_nowhere(lives: Desk) -> None:
    assert shown(lives) == {}


def test_a_drifted_resource_counts_until_it_is_right_again(lives: Desk) -> None:
    see(lives, "a.yaml")
    assert shown(lives) == {"resources_drifted": 1}
    see(lives)
    assert shown(lives) == {}


def test_a_resource_that_nobody_can_look_at_counts_until_somebody_can(lives: Desk) -> None:
    miss(lives, passing=True)
    assert shown(lives) == {}
    miss(lives)
    assert shown(lives) == {"resources_unobserved": 1}
    see(lives)
    assert shown(lives) == {}


def test_a_paused_resource_counts_until_the_pause_is_over(lives: Desk) -> None:
    lives.ask("pause", lifetime_seconds=600, reason="by hand")
    assert shown(lives) == {"resources_paused": 1}
    lives.ask("unpause")
    assert shown(lives) == {}


def test_a_resource_expires_soon_then_has_expired_then_is_gone(lives: Desk) -> None:
    lives.later(days=-6, hours=-1)
    lives.ask("create", name="other")
    lives.done("only")
    assert shown(lives) == {"resources_expiring": 1}
    lives.later(days=-2)
    lives.ask("create", name="third")
    lives.done("only")
    lives.due("lifetime:shop/dev/database/third")
    assert shown(lives) == {"resources_expiring": 1, "resources_expired": 1}
    for name in ("other", "third"):
        lives.ask("delete", name=name)
        lives.done("only", act="destroy")
    assert shown(lives) == {}


def test_a_step_that_waits_for_a_person_counts_and_one_for_another_resource_does_not(desk: Desk) -> None:
    desk.apply(make_offering(requires=[{"name": "db", "offering": "postgres"}]))
    desk.apply(make_offering("postgres"))
    desk.apply(make_offering("job"))
    waits = Wait(reason="waits", look_at=None, until=desk.at + timedelta(hours=1), resumable=True)
    desk.ask()
    desk.done("requires/db", "suspended", wait=waits)
    assert shown(desk) == {}
    request = desk.ask(offering="job")
    desk.done("only", "suspended", wait=waits)
    assert shown(desk) == {"steps_suspended": 1}
    desk.cancel(request)
    assert shown(desk) == {}

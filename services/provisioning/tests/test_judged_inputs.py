"""What policy has judged is what is done: a run whose inputs became others is planned, and decided anew."""

from typing import Any

import pytest
from entresol_contracts.events import ResourceChanged, RunFailed, RunPlanned
from entresol_manifests.digest import digest
from entresol_provisioning import store
from entresol_provisioning.domain.requests import MOST_OUTDATED, PLANNED

SMALL = {"size": "small", "replicas": 2}


@pytest.fixture
def desk(desk: Any, offering: Any) -> Any:
    desk.apply(offering(lifetime={"default": "1h", "max": "2d"}))
    desk.ask(inputs=SMALL)
    desk.done("only")
    return desk


def update(desk: Any, judged: dict[str, Any], **inputs: Any) -> str:
    request_id: str = desk.submit("update", inputs=inputs)
    desk.allow(request_id, judged=judged)
    return request_id


def test_what_was_judged_is_begun_at_once(desk: Any) -> None:
    request_id = update(desk, SMALL | {"replicas": 4}, replicas=4)
    assert desk.facts(request_id) == ["RunStarted"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_update_behind_another_is_not_done_with_what_nobody_judged(desk: Any, dry_run: bool) -> None:
    first = update(desk, SMALL | {"size": "large"}, size="large")
    judged = SMALL | {"replicas": 4}
    second = desk.submit("update", inputs={"replicas": 4}, dry_run=dry_run)
    desk.allow(second, judged=judged)
    desk.done("only")
    assert desk.facts(first)[-1] == "RunSucceeded"
    assert desk.ready()[0].request.plans
    desk.planned()
    (planned,) = desk.said(RunPlanned, second)
    assert (planned.replaces, planned.inputs) == (digest(judged), {"size": "large", "replicas": 4})
    assert desk.facts(second) == ["RunPlanned"]
    desk.allow(second, planned.digest)
    desk.planned()
    if not dry_run:
        desk.done("only")
    assert desk.facts(second)[-1] == "RunSucceeded"


def test_what_is_denied_then_touches_nothing_and_lets_the_next_one_go(desk: Any) -> None:
    update(desk, SMALL | {"size": "large"}, size="large")
    second = update(desk, SMALL | {"replicas": 4}, replicas=4)
    third = update(desk, SMALL | {"size": "tiny"}, size="tiny")
    desk.done("only")
    desk.planned()
    desk.deny(second)
    assert desk.facts(second) == ["RunPlanned"]
    assert desk.facts(third) == ["RunStarted"]


@pytest.mark.parametrize("action", ["delete", "reconcile"])
def test_actions_without_inputs_of_their_own_are_held_to_those_of_the_resource(desk: Any, action: str) -> None:
    update(desk, SMALL | {"size": "large"}, size="large")
    request_id = desk.submit(action)
    desk.allow(request_id, judged=SMALL)
    desk.done("only")
    if desk.ready():
        desk.planned()
    assert desk.facts(request_id) == ["RunPlanned"]
    assert desk.said(RunPlanned, request_id)[0].inputs == {"size": "large", "replicas": 2}


def test_many_updates_at_once_all_come_about_however_often_they_are_judged_anew(desk: Any) -> None:
    count = MOST_OUTDATED + 3
    waiting = {update(desk, SMALL | {f"input-{n}": n}, **{f"input-{n}": n}) for n in range(count)}
    while waiting:
        (intent,) = desk.ready()
        if intent.request.plans:
            desk.planned()
        else:
            desk.done("only")
            waiting.remove(intent.request.id)
        for request_id in waiting:
            request = store.find_request(desk.session.connection(), request_id)
            if request is not None and request.state == PLANNED:
                desk.allow(request_id, desk.said(RunPlanned, request_id)[-1].digest)
    assert desk.said(RunFailed) == []
    assert len(desk.said(ResourceChanged)[-1].inputs) == count + 2


def test_what_can_not_become_another_is_not_told_again_in_its_plan(desk: Any) -> None:
    request_id = desk.submit("create", name="other", inputs=SMALL, dry_run=True)
    desk.allow(request_id)
    desk.planned()
    assert desk.said(RunPlanned, request_id)[0].inputs is None

"""What is told of a plan: its cost, and of the largest one as much as fits."""

from typing import Any

import pytest
from entresol_provisioning import store
from entresol_provisioning.domain.graph import Impossible, StepState
from entresol_provisioning.drivers import Plan, Touched
from entresol_provisioning.drivers.terraform.changes import outline as terraform_outline
from entresol_provisioning.plans import outline, tell


def plan(desk: Any, action: str = "create", **attributes: Any) -> str:
    """Ask, and let policy want a plan."""
    request_id: str = desk.submit(action, **attributes)
    desk.want_plan(request_id)
    return request_id


@pytest.fixture
def desk(desk: Any, offering: Any) -> Any:
    desk.apply(offering())
    return desk


@pytest.mark.parametrize(
    ("cost", "action", "expected"),
    [
        (None, "create", None),
        ("12", "create", 12.0),
        ("inputs.gb * 0.5", "create", 4.0),
        ("environment == 'dev' ? 1.5 : 99.0", "create", 1.5),
        ("actor.id == 'user:ada' && request.name == 'orders' ? 1 : 2", "create", 1.0),
        ("inputs.gb * 0.5", "update", 5.0),
        ("inputs.gb * 0.5", "delete", 0.0),
        (None, "delete", None),
    ],
)
def test_what_it_would_cost_is_told(desk: Any, offering: Any, cost: str | None, action: str, expected: Any) -> None:
    desk.apply(offering(**({} if cost is None else {"cost": cost})))
    if action != "create":
        desk.ask(inputs={"gb": 8.0})
        desk.done("only")
    plan(desk, action, inputs={"gb": 8.0} if action == "create" else {"gb": 10.0})
    desk.planned()
    assert desk.last().cost == expected


@pytest.mark.parametrize("cost", ["inputs.nothing", "'much'", "true", "1.0 / 0.0"])
def test_a_cost_that_cannot_be_told_fails_the_run_and_says_so(desk: Any, offering: Any, cost: str) -> None:
    desk.apply(offering(cost=cost))
    request_id = plan(desk)
    desk.planned()
    assert desk.facts(request_id) == ["RunFailed"]
    assert desk.last().reason.startswith("the offering's cost can't be told: ")


def test_the_largest_plan_fits_into_an_event(desk: Any, offering: Any) -> None:
    touched = [Touched(f"{number}-{'x' * 600}", "add", "thing") for number in range(50_000)]
    touched.append(Touched("the one that goes", "destroy", "thing"))
    lines = tuple(f"+ {one.address}" for one in touched)
    whole = Plan(digest="sha256:whole", adds=50_000, destroys=1, summary=lines, resources=tuple(touched))
    steps = [{"name": "left", "driver": "noop"}, {"name": "right", "driver": "noop"}]
    desk.apply(offering("wide", actions={"create": {"steps": steps}}))
    plan(desk, offering="wide")
    desk.done("left", plan=outline("left", "noop", whole))
    desk.done("right", plan=outline("right", "noop", Plan(digest="sha256:r", adds=1, summary=("+ one",))))
    planned = desk.last()
    assert len(planned.model_dump_json()) < 240 * 1024
    assert planned.adds == 50_001
    assert planned.resources[0].address == "the one that goes"
    assert 100 < len(planned.resources) <= 1000
    left, right = planned.steps
    shown = len(left.summary) - 1
    assert left.summary[-1] == f"… and {50_001 - shown} more"
    assert right.summary == ["+ one"]


def test_a_plan_of_too_many_steps_is_refused_with_the_reason(desk: Any) -> None:
    connection = desk.session.connection()
    request = store.find_request(connection, desk.submit())
    assert request is not None
    kept = {f"step-{number}": outline(f"step-{number}", "noop", Plan(digest="sha256:x")) for number in range(3000)}
    steps = {name: StepState(name, (), "succeeded", {}, one) for name, one in kept.items()}
    with pytest.raises(Impossible, match="more steps than can be told"):
        tell(connection, request, None, steps, {}, desk.at)


def test_the_digest_covers_what_is_not_told() -> None:
    def document(last: str) -> dict[str, Any]:
        changes: list[dict[str, Any]] = [
            {"address": f"a[{number}]", "type": "a", "change": {"actions": ["create"], "after": {"input": "x"}}}
            for number in range(3000)
        ]
        changes[-1]["change"]["after"]["input"] = last
        return {"resource_changes": changes}

    one, same, other = (terraform_outline(document(last), {}, b"key") for last in ("x", "x", "y"))
    assert one == same
    assert one.digest != other.digest
    assert outline("a", "terraform", one)["resources"] == outline("a", "terraform", other)["resources"]


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ({"actions": ["no-op"]}, (0, 0, 0, [])),
        ({"actions": ["read"]}, (0, 0, 0, [])),
        ({"actions": ["create"]}, (1, 0, 0, ["add"])),
        ({"actions": ["update"]}, (0, 1, 0, ["change"])),
        ({"actions": ["delete"]}, (0, 0, 1, ["destroy"])),
        ({"actions": ["delete", "create"]}, (1, 0, 1, ["replace"])),
        ({"actions": ["create", "delete"]}, (1, 0, 1, ["replace"])),
        ({"actions": ["forget"]}, (0, 0, 0, [])),
    ],
)
def test_actions_of_terraform_are_counted(change: dict[str, Any], counted: tuple[Any, ...]) -> None:
    found = terraform_outline({"resource_changes": [{"address": "a", "type": "t", "change": change}]}, {}, b"key")
    assert (found.adds, found.changes, found.destroys, [one.change for one in found.resources]) == counted


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"resource_changes": [{"address": "a", "type": "t", "change": {"actions": ["no-op"]}}]}, True),
        ({}, {"output_changes": {"o": {"actions": ["no-op"], "before": 1, "after": 1}}}, True),
        ({}, {"output_changes": {"o": {"actions": ["update"], "before": 1, "after": 2}}}, False),
        ({}, {"timestamp": "2026-05-01T12:00:00Z", "terraform_version": "1.11.4"}, True),
        (
            {},
            {
                "resource_changes": [
                    {"address": "a", "previous_address": "b", "change": {"actions": ["no-op"]}, "type": "t"}
                ]
            },
            False,
        ),
    ],
)
def test_only_what_would_be_done_is_digested(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    digests = [terraform_outline(document, {}, b"key").digest for document in (one, other)]
    assert (digests[0] == digests[1]) is same

"""Events as hints: which resources they concern, and that nobody waits while that is found out."""

from datetime import timedelta
from typing import Any

import pytest
from entresol_contracts.events import ChangePushed, Repository
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Deadline, Due
from entresol_eventing.store import deadline
from entresol_eventing.testing import event, eventually
from entresol_provisioning import hints
from entresol_provisioning.hints import HINT, Hints
from entresol_provisioning.tables import look, resource
from sqlalchemy import select

from services.provisioning.tests.conftest import Desk, make_offering

PUSHED = "dev.entresol.change.pushed.v1"
ENDLESS = "[event.type]" + ".map(x, x + x)" * 60 + " == []"
OWN = "event.data.repository.name == resource.name"


def push(repository: str = "a", branch: str = "main") -> ChangePushed:
    full_name = f"shop/{repository}"
    return ChangePushed(
        ref=f"refs/heads/{branch}",
        branch=branch,
        revision="abc",
        repository=Repository(name=repository, full_name=full_name),
    )


def provide(desk: Desk, *conditions: str | None, names: str = "abc") -> None:
    wanted = [{"on": PUSHED} | ({} if one is None else {"when": one}) for one in conditions]
    desk.apply(make_offering(drift={"hints": wanted}))
    for name in names:
        desk.ask(name=name)
        desk.done("only")


def heard(desk: Desk, said: ChangePushed) -> tuple[Hints, Deadline]:
    listening = Hints(desk.offerings)
    (found,) = listening.hear(event(said, time=desk.at), desk.session)
    assert isinstance(found, Deadline)
    return listening, found


def concerned(desk: Desk, said: ChangePushed) -> str:
    """Names of the resources that are to be looked at."""
    listening, found = heard(desk, said)
    hint = hints._read(found.key, found.args)
    for one in listening.weigh(hint, desk.session):
        hints._ask(desk.session, one)
    return looks(desk)


def looks(desk: Desk) -> str:
    query = select(look.c.resource_id).order_by(look.c.resource_id)
    return "".join(one.rpartition("/")[2] for one in desk.session.connection().execute(query).scalars())


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ((None,), "abc"),
        (('event.data.branch == "main"',), "abc"),
        (('event.data.branch == "else"',), ""),
        ((OWN,), "a"),
        ((f'event.data.branch == "main" && {OWN}',), "a"),
        ((f'event.data.branch == "else" && {OWN}',), ""),
        ((f'{OWN} || resource.name == "c"',), "ac"),
        ((OWN, 'resource.name == "c"', 'event.data.branch == "else"'), "ac"),
        ((OWN, 'event.data.branch == "main"'), "abc"),
        (("event.data.nope == 1",), "abc"),
        (("resource.inputs.nope == 1",), "abc"),
        (("has(resource.inputs.nope) && resource.inputs.nope == 1",), ""),
        (("this is none",), "abc"),
    ],
)
def test_whom_a_hint_concerns(desk: Desk, conditions: tuple[str | None, ...], names: str) -> None:
    provide(desk, *conditions)
    assert concerned(desk, push()) == names
    assert concerned(desk, push()) == names, "each is asked for once"


@pytest.mark.parametrize("condition", [ENDLESS, f"{OWN} || {ENDLESS}"])
def test_what_takes_too_long_concerns_whom_it_may(desk: Desk, condition: str) -> None:
    provide(desk, condition)
    assert concerned(desk, push()) == "abc"


def test_those_that_there_is_no_time_for_are_concerned(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(desk, OWN)
    monkeypatch.setattr(hints, "WEIGHING_SECONDS", -1.0)
    assert concerned(desk, push("nobody")) == "abc"


def test_other_offerings_other_contents_and_what_is_deleted_are_left_alone(desk: Desk) -> None:
    provide(desk, None, names="ab")
    desk.ask("delete", name="a")
    desk.done("only", act="destroy")
    desk.apply(make_offering(drift={"hints": []}))
    desk.ask(name="c")
    desk.done("only")
    desk.apply(make_offering("other"))
    desk.ask(name="d", offering="other")
    desk.done("only")
    assert concerned(desk, push()) == "b"
    assert list(Hints(desk.offerings).hear(event(push()).model_copy(update={"type": "else"}), desk.session)) == []


def test_a_hint_that_nobody_has_weighed_in_its_time_concerns_all(desk: Desk) -> None:
    provide(desk, OWN)
    _, found = heard(desk, push("nobody"))
    assert looks(desk) == ""
    desk.take(desk.reactions.when_due[HINT](Due(found.key, HINT, found.due_at, found.args, Cause()), desk.session))
    assert looks(desk) == "abc"


async def test_hints_are_weighed_beside_the_service_also_those_from_before_its_start(platform: Any) -> None:
    await platform.apply(make_offering(drift={"hints": [{"on": PUSHED, "when": OWN}, {"on": PUSHED, "when": ENDLESS}]}))
    request = await platform.ask(name="a")
    await platform.ended(request)

    def left_behind(session: Any) -> Any:
        (offering,) = session.connection().execute(select(resource.c.offering_digest)).scalars()
        told = event(push()).model_dump(mode="json", by_alias=True)
        args = {"event": told, "offerings": [offering]}
        yield Deadline(f"{HINT}:old", HINT, event(push()).time + timedelta(hours=1), args)

    await platform.service.transact(left_behind)
    await platform.say(push())
    query = select(deadline.c.key).where(deadline.c.kind == HINT)

    async def weighed() -> bool:
        return not await platform.service.read(lambda session: session.connection().execute(query).all())

    await eventually(weighed, seconds=30)
    assert (await platform.ended(await platform.ask("update", name="a"))).action == "update"

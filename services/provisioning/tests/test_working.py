"""The life of a resource through the whole service: real bus, real workers, drivers that do what a test wants."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from entresol_contracts.events import ResumeRequested
from entresol_eventing.testing import eventually, published
from entresol_provisioning import app
from entresol_provisioning.drivers import (
    Difference,
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepSuspended,
    StepWork,
    Touched,
)
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings

from services.provisioning.tests.conftest import names, platform_on

ID = "shop/dev/database/orders"


@dataclass
class World:
    """A driver whose things lie in a dictionary; `with.size` is what they are."""

    name: str = "world"
    things: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    """The request that templates could read, of each look."""
    previous: list[Mapping[str, Any] | None] = field(default_factory=list)
    """What was known of each step that was taken down."""
    sticky: bool = False
    """Whether what is taken down stays."""
    lingering: bool = False
    """Whether to take it down never ends."""
    blind: StepFailed | None = None
    """Why nobody can look."""
    rounds: dict[str, int] = field(default_factory=dict)
    """How often a step has to be looked at before it is done."""

    def available(self) -> bool:
        return True

    def _key(self, work: StepWork) -> str:
        return f"{work.resource_id}/{work.step}"

    async def plan(self, work: StepWork) -> Plan:
        there, wanted = self.things.get(self._key(work)), None if work.destroys else work.with_.get("size")
        if there == wanted:
            return Plan(digest="same")
        change: Any = "add" if there is None else "destroy" if wanted is None else "change"
        counts = {f"{change}s": 1}
        touched = (Touched(self._key(work), change),)
        return Plan(digest=f"{there} to {wanted}", summary=(change,), resources=touched, **counts)

    async def apply(self, work: StepWork) -> StepResult:
        self.calls.append(("apply", work.step))
        if reason := work.with_.get("fail"):
            raise StepFailed(str(reason))
        done = int(work.memory.get("round", 0))
        if done < self.rounds.get(work.step, 0):
            raise StepSuspended("it grows", look_after_seconds=0.01, memory={"round": done + 1})
        if work.with_.get("ask") and work.answer is None:
            raise StepSuspended("somebody has to look", look_after_seconds=None)
        self.things[self._key(work)] = work.with_.get("size")
        return StepResult({"size": work.with_.get("size"), **(work.answer or {})})

    async def destroy(self, work: StepWork) -> StepResult:
        self.calls.append(("destroy", work.step))
        self.previous.append(work.previous)
        if self.lingering:
            raise StepSuspended("it lingers", look_after_seconds=0.01)
        if not self.sticky:
            self.things.pop(self._key(work), None)
        return StepResult()

    async def observe(self, work: StepWork) -> Observation:
        if self.blind is not None:
            raise self.blind
        self.calls.append(("observe", work.step))
        self.read.append(work.scope["request"]["id"])
        there = self.things.get(self._key(work))
        if work.destroys or there is None:
            return Observation(exists=there is not None)
        differs = there != work.with_.get("size")
        return Observation(
            exists=True, differences=(Difference("#/size", "changed"),) if differs else (), outputs={"size": there}
        )

    async def close(self) -> None:
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(app, "assemble", lambda settings: {**assemble(settings), made.name: made})
    return made


@pytest.fixture
async def running(world: World, platform: Any) -> Any:
    return platform


def step(name: str = "only", **fields: Any) -> dict[str, Any]:
    with_ = fields.pop("with_", {"size": "${inputs.size}"})
    return {"name": name, "driver": "world", "with": with_, "retries": 0, **fields}


def create(*steps: dict[str, Any], **action: Any) -> dict[str, Any]:
    return {"create": {"steps": list(steps) or [step()], **action}}


async def test_a_step_that_takes_long_is_looked_at_until_it_is_done(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    world.rounds["only"] = 3
    await running.apply(offering(actions=create()))
    request = await running.ask(inputs={"size": 1})
    await running.ended(request)
    facts = ["RunStarted", "RunSuspended", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
    assert await running.facts(request) == facts
    assert world.calls == [("apply", "only")] * 4


async def test_what_was_never_done_has_no_outputs_from_before(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    steps = (step("empty"), step("broken", with_={"fail": "no room"}, needs=["empty"]))
    await running.apply(offering(actions=create(*steps)))
    for _ in range(2):
        await running.ended(await running.ask(inputs={"size": 1}))
    deleted = await running.ask("delete")
    await running.ended(deleted)
    assert (await running.facts(deleted))[-1] == "RunSucceeded"
    assert world.previous == [None, {"size": 1}]


async def test_a_step_is_given_up_when_its_whole_time_is_over(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    world.rounds["only"] = 10**6
    await running.apply(offering(actions=create(step(timeout="300ms"))))
    failed = await running.ended(await running.ask(inputs={"size": 1}))
    assert failed.reason.startswith("not done within 0.3 s (it grows)")


async def test_a_person_lets_a_step_go_on(running: Any, offering: Callable[..., Any]) -> None:
    await running.apply(offering(actions=create(step(with_={"size": 1, "ask": True}))))
    request = await running.ask()
    waits = await running.heard(request, "RunSuspended")
    assert (waits.reason, waits.resumable) == ("somebody has to look", True)
    await running.say(ResumeRequested(**names(request), by="user:bo", answer={"seen": True}))
    await running.ended(request)
    said = [one.data for one in await running.about(request) if type(one.data).__name__ == "RunProgressed"]
    assert said[-1].outputs == {"size": 1, "seen": True}


async def test_an_update_touches_only_what_has_changed(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    steps = (step("sized"), step("fixed", with_={"size": 7}, needs=["sized"]))
    await running.apply(offering(actions=create(*steps)))
    await running.ended(await running.ask(inputs={"size": 1}))
    world.calls.clear()
    updated = await running.ask("update", inputs={"size": 2})
    await running.ended(updated)
    assert world.calls == [("apply", "sized")]
    said = [one.data for one in await running.about(updated) if type(one.data).__name__ == "RunProgressed"]
    assert [(one.step, one.message) for one in said] == [("sized", None), ("fixed", "unchanged")]
    world.calls.clear()
    await running.ended(await running.ask("reconcile"))
    assert world.calls == [("apply", "sized"), ("apply", "fixed")]


async def test_a_step_whose_condition_holds_no_more_is_taken_down(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    steps = (step(), step("spare", when="inputs.spare"))
    await running.apply(offering(actions=create(*steps)))
    await running.ended(await running.ask(inputs={"size": 1, "spare": True}))
    assert set(world.things) == {f"{ID}/only", f"{ID}/spare"}
    await running.ended(await running.ask("update", inputs={"spare": False}))
    assert set(world.things) == {f"{ID}/only"}


async def test_a_delete_is_done_when_nothing_is_found_any_more(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create()))
    await running.ended(await running.ask(inputs={"size": 1}))
    world.sticky = True
    failed = await running.ended(await running.ask("delete"))
    assert (failed.reason, failed.left) == ("it was taken down, and is still there", ["only"])
    orphaning = await running.ask("delete", orphan=True)
    await running.ended(orphaning)
    gone = next(one.data for one in await running.about(orphaning) if type(one.data).__name__ == "ResourceDeleted")
    assert [(one.step, one.reason) for one in gone.orphaned] == [("only", "it was taken down, and is still there")]


async def test_a_delete_waits_no_longer_than_the_step_says(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    world.lingering = True
    await running.apply(offering(actions=create(step(timeout="300ms"))))
    await running.ended(await running.ask(inputs={"size": 1}))
    failed = await running.ended(await running.ask("delete"))
    assert (failed.reason, failed.left) == ("not done within 0.3 s (it lingers)", ["only"])


async def test_a_failed_create_is_undone(running: Any, world: World, offering: Callable[..., Any]) -> None:
    steps = (step("base"), step("top", needs=["base"], with_={"fail": "no room"}))
    await running.apply(offering(actions=create(*steps, onFailure="compensate")))
    failed = await running.ended(await running.ask(inputs={"size": 1}))
    assert (failed.reason, failed.compensated, failed.left) == ("no room", ["top", "base"], None)
    assert world.things == {}


async def test_a_failed_update_is_put_back(running: Any, world: World, offering: Callable[..., Any]) -> None:
    late = step("top", needs=["base"], with_={"fail": "${inputs.size == 2 ? 'no room' : ''}"})
    await running.apply(offering(actions=create(step("base"), late, onFailure="compensate")))
    await running.ended(await running.ask(inputs={"size": 1}))
    failed = await running.ended(await running.ask("update", inputs={"size": 2}))
    assert failed.compensated == ["top", "base"]
    assert world.things[f"{ID}/base"] == 1
    world.calls.clear()
    await running.ended(await running.ask("update", inputs={"size": 1}))
    assert world.calls == []


async def test_what_a_step_gives_has_to_be_what_it_declares(running: Any, offering: Callable[..., Any]) -> None:
    declared = {"size": {"type": "integer"}}
    await running.apply(offering(actions=create(step(outputs=declared))))
    failed = await running.ended(await running.ask(inputs={"size": "many"}))
    assert failed.reason.startswith("its output /size is not what its offering declares")
    await running.apply(offering(version="2.0.0", actions=create(step(outputs={**declared, "host": True}))))
    failed = await running.ended(await running.ask(inputs={"size": 1}, offering_version="2.0.0"))
    assert failed.reason.startswith("it has not given the output host")


async def test_what_is_there_is_adopted_and_its_difference_told(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create()))
    failed = await running.ended(await running.ask("adopt", inputs={"size": 1}))
    assert "nothing to adopt" in failed.reason
    world.things[f"{ID}/only"] = 9
    await running.ended(await running.ask("adopt", inputs={"size": 1}))
    drifted = await told(running, "ResourceDrifted")
    assert [(one.step, one.path) for one in drifted.differences] == [("only", "#/size")]
    assert world.things[f"{ID}/only"] == 9
    await running.ended(await running.ask("reconcile"))
    assert world.things[f"{ID}/only"] == 1
    await told(running, "ResourceConverged")


async def told(running: Any, name: str) -> Any:
    async def look() -> Any:
        return next((one for one in await published(running.service) if type(one.data).__name__ == name), None)

    return (await eventually(look, seconds=30)).data


async def test_drift_is_seen_by_the_clock_and_is_over_when_it_is(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create(), drift={"every": "100ms"}))
    await running.ended(await running.ask(inputs={"size": 1}))
    world.things[f"{ID}/only"] = 9
    drifted = await told(running, "ResourceDrifted")
    assert (drifted.mode, drifted.owner, drifted.gone) == ("report", "user:ada", None)
    world.things[f"{ID}/only"] = 1
    await told(running, "ResourceConverged")
    del world.things[f"{ID}/only"]

    async def missed() -> bool:
        return any(getattr(one.data, "gone", None) == ["only"] for one in await published(running.service))

    await eventually(missed, seconds=30)


async def test_that_nobody_can_look_is_told_with_the_step_and_over_with_the_look_after_a_run(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create(), drift={"every": "100ms"}))
    world.blind = StepFailed("the token has expired")
    await running.ended(await running.ask(inputs={"size": 1}))
    lost = await told(running, "ResourceUnobserved")
    assert (lost.reason, lost.seen_at) == ("step only: the token has expired", None)
    world.blind = None
    await running.ended(await running.ask("reconcile"))
    assert (await told(running, "ResourceObserved")).since == lost.since


async def test_a_resource_that_is_paused_is_not_looked_at(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create(), drift={"every": "100ms"}))
    await running.ended(await running.ask(inputs={"size": 1}))
    await running.ended(await running.ask("pause", lifetime_seconds=3600, reason="by hand"))
    await asyncio.sleep(0.3)  # what was begun before
    world.calls.clear()
    await asyncio.sleep(0.5)
    assert world.calls == []
    world.things[f"{ID}/only"] = 9
    await running.ended(await running.ask("unpause"))
    await told(running, "ResourceDrifted")


async def test_a_suspended_step_goes_on_after_a_restart(
    world: World, connected: Settings, offering: Callable[..., Any]
) -> None:
    world.rounds["only"] = 50
    async with platform_on(app.create(connected)) as platform:
        await platform.apply(offering(actions=create()))
        request = await platform.ask(inputs={"size": 1})
        await platform.heard(request, "RunSuspended")
    world.rounds["only"] = 0
    async with platform_on(app.create(connected)) as platform:
        await platform.ended(request)
        assert (await platform.facts(request))[-1] == "RunSucceeded"


async def test_a_look_reads_the_request_that_made_the_step_not_a_later_one(
    running: Any, world: World, offering: Callable[..., Any]
) -> None:
    await running.apply(offering(actions=create(), drift={"every": "1h"}))
    made = await running.ask(inputs={"size": 1})
    await running.ended(made)
    await running.ended(await running.ask("pause", lifetime_seconds=3600, reason="by hand"))
    await running.ended(await running.ask("unpause"))
    assert await eventually(lambda: set(world.read), seconds=30) == {made}

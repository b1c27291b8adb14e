"""What every driver has to hold, run against those that need nothing but this process; and which drivers there are."""

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import Driver, StepFailed, StepResult, StepWork, Withdrawing
from entresol_provisioning.drivers.apart import apart
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings


class TestNoop(Conformance):
    @pytest.fixture(params=[Noop, lambda: apart(Noop())], ids=["", "apart"])
    def case(self, request: pytest.FixtureRequest) -> Case:
        return Case(
            driver=request.param(),
            work=make_work(),
            good=lambda size: {"outputs": {"size": size}},
            bad={"outputs": "none"},
            leaves=False,
        )


def test_a_third_partys_driver_is_found_by_its_entry_point(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Abacus(Noop):
        name = "abacus"

    class Found:
        def __init__(self, make: Callable[[Settings], Driver]) -> None:
            self.name, self._make = "found", make

        def load(self) -> Callable[[Settings], Driver]:
            return self._make

    def broken(_: Settings) -> Driver:
        raise RuntimeError("no beads")

    class Climbing(Noop):
        name = "a/../b"

    class Gone(Noop):
        name = "gone"

        def available(self) -> bool:
            sys.exit(3)

    makers: list[Any] = [lambda _: Abacus(), lambda _: Noop(), broken, lambda _: Climbing(), lambda _: Gone()]
    found = [Found(make) for make in makers]
    monkeypatch.setattr("entresol_provisioning.drivers.registry.entry_points", lambda group: found)
    assert list(assemble(settings))[-1] == "abacus"


@dataclass
class Odd(Noop):
    """A driver whose `apply` does as it is told; `destroy` is right."""

    does: Callable[[], Any] = lambda: None
    name = "odd"

    async def apply(self, work: StepWork) -> StepResult:
        given: StepResult = self.does()
        return given

    def plan(self, work: StepWork) -> Any:
        """Not a coroutine."""


def raises(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


UNEXPECTED = "the driver odd failed unexpectedly"


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (raises(SystemExit(3)), f"{UNEXPECTED} (SystemExit)"),
        (raises(KeyboardInterrupt()), f"{UNEXPECTED} (KeyboardInterrupt)"),
        (raises(asyncio.CancelledError()), f"{UNEXPECTED} (CancelledError)"),
        (raises(StepFailed("no beads")), "no beads"),
        (lambda: {"outputs": {}}, "the driver odd gave dict instead of what the protocol says"),
    ],
)
async def test_whatever_a_third_partys_driver_does_is_the_failure_of_its_step(
    does: Callable[[], Any], reason: str
) -> None:
    walled = apart(Odd(does))
    with pytest.raises(StepFailed) as failed:
        await walled.apply(make_work())
    assert failed.value.reason == reason
    with pytest.raises(StepFailed, match="TypeError"):
        await walled.plan(make_work())
    assert await walled.destroy(make_work()) == StepResult()
    await walled.close()


async def test_a_third_partys_driver_that_blocks_holds_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entresol_provisioning.drivers.apart.ENDING_SECONDS", 0.05)
    released = threading.Event()
    walled = apart(Odd(released.wait))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await walled.apply(make_work())
    released.set()
    assert await walled.destroy(make_work()) == StepResult()
    await walled.close()


async def test_a_third_partys_driver_can_take_back_what_it_has_begun() -> None:
    class Taking(Noop):
        async def withdraw(self, work: StepWork) -> StepResult | None:
            return None

    walled = apart(Taking())
    assert isinstance(walled, Withdrawing)
    assert await walled.withdraw(make_work()) is None
    assert not isinstance(apart(Noop()), Withdrawing)
    await walled.close()


def test_the_data_directory_holds_repositories_and_workspaces(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert settings.repositories == tmp_path / "repositories"
    assert Settings(data=tmp_path, workspaces_root=tmp_path / "w").workspaces == tmp_path / "w"

"""What every driver has to hold, run against those that need nothing but this process; and which drivers there are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import Driver
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings


class TestNoop(Conformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(
            driver=Noop(),
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

    found = [Found(lambda _: Abacus()), Found(lambda _: Noop()), Found(broken)]
    monkeypatch.setattr("entresol_provisioning.drivers.registry.entry_points", lambda group: found)
    assert list(assemble(settings))[-1] == "abacus"


def test_the_data_directory_holds_repositories_and_workspaces(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    assert settings.repositories == tmp_path / "repositories"
    assert Settings(data=tmp_path, workspaces_root=tmp_path / "w").workspaces == tmp_path / "w"

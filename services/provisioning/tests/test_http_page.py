"""The examples of docs/http.md are what the driver takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from entresol_manifests.checking import check
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers.contracts import read
from entresol_provisioning.drivers.http.spec import Spec
from entresol_provisioning.scopes import filled

PAGE = Path(__file__).parents[3] / "docs" / "http.md"
DESTINATION, *STEPS = (yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))


def test_the_destination_is_one() -> None:
    assert list(check(DESTINATION)) == []


@pytest.mark.parametrize("with_", STEPS, ids=lambda with_: with_["destination"])
def test_the_step_is_taken_when_it_is_applied_and_when_it_is_run(with_: dict[str, Any]) -> None:
    inputs = {"type": "object", "properties": {"plan": {"type": "string"}}}
    steps = [{"name": "call", "driver": "http", "with": with_}]
    offering = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "account", "version": "1.0.0"},
        "spec": {"inputs": inputs, "actions": {"create": {"steps": steps}}},
    }
    assert list(check(offering)) == []
    given = filled(with_, {"inputs": {"plan": "small"}, "request": {"name": "orders"}})
    assert read(Spec, make_work(with_=given)).apply.is_placed


def test_there_are_three_of_them() -> None:
    assert len(STEPS) == 3

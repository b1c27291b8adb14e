"""Resources that need others."""

from typing import Any, ClassVar

import pytest
from entresol_contracts.events import (
    RequirementRefused,
    RequirementRequested,
    ResourceProvisioned,
    RunSuspended,
)
from entresol_provisioning import claims, store

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import ID, names, wait


class TestRequirements:
    WANTED: ClassVar = {"resource_id": "shop/dev/postgres/orders-db", "project": "shop", "environment": "dev"}

    @pytest.fixture(autouse=True)
    def offered(self, desk: Desk) -> None:
        desk.apply(make_offering(requires=[{"name": "db", "offering": "postgres"}]))
        desk.apply(make_offering("postgres"))

    def require(self, desk: Desk, action: str = "create") -> str:
        wanted = {**self.WANTED, "offering": "postgres", "name": "orders-db", "inputs": {}}
        asked = f"asked-to-{action}"
        memory = {"request_id": asked, "action": action, "wanted": wanted}
        fields: dict[str, Any] = {}
        if action == "create":
            (intent,) = desk.ready()
            fields["undo"] = {**intent.undo({}, None), "needs_resource": wanted["resource_id"]}
        desk.done("requires/db", "suspended", wait=wait(desk, memory=memory), **fields)
        return asked

    def serve(self, desk: Desk, request_id: str, action: str = "create") -> None:
        needed_by = {"request_id": self.parent, "resource_id": ID, "name": "db"}
        attributes = {"offering": "postgres", "name": "orders-db", "requirement": needed_by}
        desk.submit(action, request_id=request_id, **attributes)

    def test_another_resource_is_asked_for_and_its_end_wakes_the_step(self, desk: Desk) -> None:
        self.parent = desk.ask()
        assert names(desk) == ["requires/db"]
        asked = self.require(desk)
        (wants,) = desk.said(RequirementRequested)
        assert (wants.name, wants.action, wants.for_request_id) == ("db", "create", asked)
        assert desk.last().requires == asked
        self.serve(desk, asked)
        desk.allow(asked)
        assert names(desk) == ["only"]
        desk.done("only")
        assert names(desk) == ["requires/db"]
        desk.done("requires/db", outputs={"host": "db"})
        (intent,) = desk.ready()
        assert intent.variables({})["requires"] == {"db": {"outputs": {"host": "db"}}}
        desk.done("only")
        provisioned = desk.said(ResourceProvisioned)
        assert provisioned[1].requires == {"db": self.WANTED["resource_id"]}

    def test_what_is_needed_is_not_deleted(self, desk: Desk) -> None:
        self.test_another_resource_is_asked_for_and_its_end_wakes_the_step(desk)
        desk.ask("delete", offering="postgres", name="orders-db")
        assert f"it is needed by {ID}" in desk.last().reason

    def test_a_refused_requirement_wakes_the_step_too(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        fact = {"request_id": self.parent, "resource_id": ID, "project": "shop", "name": "db"}
        desk.say(RequirementRefused(**fact, for_request_id=asked, reason="no such offering"))
        assert names(desk) == ["requires/db"]
        refused = store.find_request(desk.session.connection(), asked)
        assert refused is not None
        assert refused.stop == {"outcome": "refused", "reason": "no such offering"}

    def test_a_denied_requirement_wakes_the_step_too(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        self.serve(desk, asked)
        desk.deny(asked)
        assert names(desk) == ["requires/db"]
        denied = store.find_request(desk.session.connection(), asked)
        assert denied is not None
        assert denied.stop == {"outcome": "refused", "reason": "it was denied: no"}

    def test_what_two_need_at_once_is_made_once(self, desk: Desk) -> None:
        desk.ask(offering="postgres", name="orders-db")
        desk.done("only")
        self.parent = desk.ask()
        self.serve(desk, "late")
        desk.allow("late")
        assert desk.facts("late") == ["RunStarted", "RunSucceeded"]

    def settle(self, desk: Desk) -> None:
        """The step that stands for the other resource, and then the resource's own, find all as they want it."""
        (intent,) = desk.ready()
        desk.done("requires/db", undo={**intent.undo({}, None), "needs_resource": self.WANTED["resource_id"]})
        desk.done("only")

    def test_of_those_that_give_up_a_shared_one_at_once_the_last_looks_again(self, desk: Desk) -> None:
        self.parent = desk.ask(name="a")
        asked = self.require(desk)
        self.serve(desk, asked)
        desk.allow(asked)
        desk.done("only")
        self.settle(desk)
        desk.ask(name="b")
        self.settle(desk)
        for name in ("a", "b"):
            desk.ask("delete", name=name)
            desk.done("only")
        undo = {"driver": "resource", "needs_resource": self.WANTED["resource_id"]}
        first, last = (intent.request.id for intent in desk.ready())
        for _ in range(2):
            desk.done("requires/db", message="stays: it is needed", act=claims.DESTROY, undo=undo)
        assert desk.facts(first)[-1] == "RunSucceeded"
        assert "looked at once more" in desk.said(RunSuspended, last)[-1].reason

    def test_a_shared_one_that_goes_meanwhile_is_asked_for_again(self, desk: Desk) -> None:
        desk.ask(offering="postgres", name="orders-db")
        desk.done("only")
        parent = desk.ask()
        desk.ask("delete", offering="postgres", name="orders-db")
        intent = next(one for one in desk.ready() if one.key[1] == "requires/db")
        desk.done("requires/db", undo={**intent.undo({}, None), "needs_resource": self.WANTED["resource_id"]})
        assert "looked at once more" in desk.said(RunSuspended, parent)[-1].reason

    def test_what_nobody_needs_any_more_is_not_begun(self, desk: Desk) -> None:
        self.parent = desk.ask()
        asked = self.require(desk)
        self.serve(desk, asked)
        desk.cancel(self.parent)
        assert desk.facts(asked) == ["RunCancelled"]
        self.serve(desk, "late")
        desk.allow("late")
        assert f"{ID} needs it no more" in desk.last().reason

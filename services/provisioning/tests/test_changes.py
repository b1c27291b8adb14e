"""Updates, rollbacks and adoptions: what becomes of steps, inputs and what is left."""

from typing import Any

import pytest
from entresol_contracts.events import (
    Actor,
    ResourceChanged,
    ResourceDeleted,
    ResourceDrifted,
    ResourceProvisioned,
    RunFailed,
)
from entresol_provisioning import store
from entresol_provisioning.drivers import Difference

from services.provisioning.tests.conftest import Desk, make_offering
from services.provisioning.tests.lives import ID, THREE, names


class TestChanges:
    def test_a_step_that_the_next_version_does_not_have_is_taken_down_last(self, desk: Desk) -> None:
        desk.apply(make_offering(actions={"create": {"steps": THREE}}))
        desk.apply(make_offering(version="2.0.0", actions={"create": {"steps": THREE[:1]}}))
        desk.ask()
        for step in ("one", "two", "three"):
            desk.done(step)
        desk.ask("update", offering_version="2.0.0")
        order = []
        while desk.ready():
            (intent,) = desk.ready()
            order.append((intent.key[1], intent.act))
            desk.done(intent.key[1], act=intent.act)
        assert order == [("one", "apply"), ("three", "destroy"), ("two", "destroy")]
        assert [one.step for one in store.footprints_of(desk.session.connection(), ID)] == ["one"]

    @pytest.mark.parametrize(
        ("now", "asked", "becomes"),
        [
            ({"size": {"maximum": 9}, "colour": {"default": "red"}}, {}, {"size": 3, "colour": "red"}),
            ({"size": {"maximum": 9}, "colour": {"default": "red"}}, {"colour": "blue"}, {"size": 3, "colour": "blue"}),
            ({"colour": {"default": "red"}}, {}, {"colour": "red"}),
            ({"size": {"maximum": 2}}, {"size": 1}, {"size": 1}),
        ],
    )
    def test_an_update_brings_the_inputs_to_what_the_next_version_takes(
        self, desk: Desk, now: dict[str, Any], asked: dict[str, Any], becomes: dict[str, Any]
    ) -> None:
        self.grow(desk, now)
        desk.ask("update", offering_version="2.0.0", inputs=asked)
        (intent,) = desk.ready()
        assert intent.variables({})["inputs"] == becomes
        desk.done("only")
        changed = next(one.data for one in reversed(desk.emits()) if isinstance(one.data, ResourceChanged))
        assert changed.inputs == becomes

    @pytest.mark.parametrize(
        ("now", "named"),
        [
            ({"size": {"maximum": 2}}, "/size must be at most 2"),
            ({"size": {"type": "string"}}, "/size must be text; put it in quotes"),
            ({"must": {}}, "/must must is missing"),
        ],
    )
    def test_an_update_to_a_version_that_does_not_take_the_inputs_is_refused(
        self, desk: Desk, now: dict[str, Any], named: str
    ) -> None:
        self.grow(desk, now, required=[name for name in now if name == "must"])
        request = desk.ask("update", offering_version="2.0.0")
        assert desk.facts(request) == ["RunFailed"]
        reason = desk.last().reason
        assert f"its inputs are not what database 2.0.0 takes: {named}; give them with the update" in reason

    def test_an_update_with_inputs_of_its_own_is_not_held_to_those_of_the_offering(self, desk: Desk) -> None:
        update = {"inputs": {"type": "object"}, "steps": [{"name": "only", "driver": "noop"}]}
        create = {"steps": [{"name": "only", "driver": "noop"}]}
        desk.apply(make_offering(inputs={"additionalProperties": False}, actions={"create": create, "update": update}))
        desk.ask()
        desk.done("only")
        desk.ask("update", inputs={"why": "so"})
        assert [intent.variables({})["inputs"] for intent in desk.ready()] == [{"why": "so"}]

    def grow(self, desk: Desk, properties: dict[str, Any], **more: Any) -> None:
        """A resource of the size 3, and another version with these inputs."""
        desk.apply(make_offering(inputs={"additionalProperties": False, "properties": {"size": {}}}))
        inputs = {"additionalProperties": False, "properties": properties, **more}
        desk.apply(make_offering(version="2.0.0", inputs=inputs))
        desk.ask(inputs={"size": 3})
        desk.done("only")

    def test_a_rollback_replaces_the_inputs(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask(inputs={"size": "small"})
        desk.done("only")
        desk.ask("update", inputs={"size": "large", "spare": True})
        desk.done("only")
        desk.ask("rollback", inputs={"size": "small"}, snapshot={"revision": 1})
        (intent,) = desk.ready()
        assert intent.variables({})["inputs"] == {"size": "small"}
        desk.done("only")
        changed = desk.said(ResourceChanged)[-1]
        assert (changed.inputs, changed.revision) == ({"size": "small"}, 3)

    @pytest.mark.parametrize(
        ("revision", "inputs"), [(1, {"size": "huge"}), (1, {}), (1, {"size": "tiny"}), (3, {"size": "small"})]
    )
    def test_nobody_goes_back_to_what_never_was(self, desk: Desk, revision: int, inputs: dict[str, Any]) -> None:
        desk.apply(make_offering())
        desk.ask(inputs={"size": "small"})
        desk.done("only")
        desk.ask("update", inputs={"size": "large"})
        desk.done("only")
        desk.ask("update", inputs={"size": "tiny"}, dry_run=True)
        desk.planned()
        desk.ask("rollback", inputs=inputs, snapshot={"revision": revision})
        assert f"{ID} never was what the rollback calls revision {revision}" in desk.last().reason

    def test_an_implementation_is_chosen_once_and_kept(self, desk: Desk) -> None:
        ways = [{"name": "cheap", "match": {"environment": ["dev"]}, "actions": {"create": {"steps": THREE[:1]}}}]
        desk.apply(make_offering(implementations=ways))
        desk.ask()
        assert names(desk) == ["one"]
        desk.done("one")
        provisioned = desk.said(ResourceProvisioned)[0]
        assert provisioned.implementation == "cheap"
        desk.ask("update")
        assert names(desk) == ["one"]

    def test_steps_read_the_class_of_the_resource_whatever_a_later_request_says(self, desk: Desk) -> None:
        desk.apply(make_offering())
        for action, said in (("create", "big"), ("update", None), ("update", "small"), ("reconcile", None)):
            desk.ask(action, class_=said)
            (intent,) = desk.ready()
            assert intent.variables({})["request"]["class"] == "big"
            desk.done("only")

    def test_what_is_adopted_is_owned_and_its_differences_are_drift(self, desk: Desk) -> None:
        desk.apply(make_offering(drift={"every": "10m"}))
        request = desk.ask("adopt")
        assert [one.act for one in desk.ready()] == ["adopt"]
        desk.done("only", act="adopt", differences=(Difference("a.yaml#/size", "changed"),))
        facts = ["RunStarted", "RunProgressed", "ResourceProvisioned", "RunSucceeded"]
        assert desk.facts(request) == facts
        drifted = desk.said(ResourceDrifted)[0]
        assert [one.path for one in drifted.differences] == ["a.yaml#/size"]
        assert "drift:" + ID in desk.deadlines

    def test_what_a_delete_leaves_is_listed(self, desk: Desk) -> None:
        desk.apply(make_offering())
        desk.ask()
        desk.done("only")
        desk.ask("delete", orphan=True)
        desk.done("only", act="destroy", kept="the cloud is gone")
        deleted = desk.said(ResourceDeleted)[0]
        assert [(one.step, one.driver, one.reason) for one in deleted.orphaned or ()] == [
            ("only", "noop", "the cloud is gone")
        ]

    def test_an_extension_does_not_queue_behind_the_end_that_it_is_to_put_off(self, desk: Desk) -> None:
        desk.apply(make_offering(lifetime={"default": "1h", "max": "9h"}))
        desk.ask()
        desk.done("only")
        desk.ask("reconcile")
        desk.later(hours=2)
        end = desk.ask("delete", actor=Actor(id="system:expiry", groups=[]))
        extension = desk.ask("extend", lifetime_seconds=3600)
        assert desk.facts(extension) == ["RunStarted", "ResourceExtended", "RunSucceeded"]
        desk.done("only")
        assert desk.facts(end) == ["RunFailed"]
        assert "it lives on" in desk.last().reason
        assert names(desk) == []

    def test_what_is_being_deleted_is_not_extended(self, desk: Desk) -> None:
        desk.apply(make_offering(lifetime={"default": "1h", "max": "9h"}))
        desk.ask()
        desk.done("only")
        desk.ask("delete")
        extension = desk.ask("extend", lifetime_seconds=7200)
        assert desk.facts(extension) == []
        desk.done("only")
        assert "there is no" in desk.said(RunFailed, extension)[0].reason

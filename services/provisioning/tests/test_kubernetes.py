"""The kubernetes driver, on a stand-in that is a real HTTP server, and on a real API server where KUBECONFIG is set.

The stand-in (`kubernetes_api`) is not Kubernetes: it knows server-side apply, conflicts, dry runs and removal, no
controllers. Each test here runs on both, so that the one can't drift away from the other unseen.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing import failpoints
from entresol_provisioning.conformance import Case, Conformance, finished, later
from entresol_provisioning.drivers import Difference, StepFailed, StepSuspended, StepWork
from entresol_provisioning.drivers.kubernetes import Kubernetes
from entresol_provisioning.drivers.kubernetes.objects import Identity
from entresol_provisioning.settings import Settings

from services.provisioning.tests.kubernetes_places import (
    KUBECONFIG,
    PLACES,
    Place,
    config_map,
    deployment,
    place,
    pod,
    secret,
)


@pytest.fixture(params=PLACES)
async def here(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    async with place(request.param, settings, monkeypatch) as made:
        yield made


@pytest.mark.skipif(not KUBECONFIG, reason="KUBECONFIG is not set: no real API server was tried, only the stand-in")
async def test_a_real_api_server_was_tried_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place("cluster", settings, monkeypatch) as made:
        assert "gitVersion" in await made.cluster._ask("GET", "version")


class TestConformance(Conformance):
    @pytest.fixture
    def case(self, here: Place) -> Case:
        def good(size: str) -> dict[str, Any]:
            objects = [config_map("settings", size=size), secret("login", password="same")]
            outputs = {"size": {"kind": "ConfigMap", "name": "settings", "pointer": "/data/size"}}
            return dict(here.work(*objects, force=True, outputs=outputs).with_)

        async def meddle(work: StepWork) -> None:
            await here.edited(here.called("ConfigMap", "settings"), {"data": {"size": "other"}})

        bad = {**good("small"), "objects": [{"kind": "ConfigMap"}]}
        return Case(driver=here.driver, work=here.work(), good=good, bad=bad, meddle=meddle)


async def test_a_plan_tells_which_fields_change_and_holds_no_value(here: Place, tmp_path: Path) -> None:
    await finished(
        here.driver.apply, here.work(config_map("a", size="1"), secret("b", password="canary-1"), wait=False)
    )
    other = later(here.work(config_map("a", size="2"), secret("b", password="canary-2"), config_map("c")), 2)
    plan = await here.driver.plan(other)
    place = f"{here.namespace}/"
    assert plan.summary == (
        f"+ v1/ConfigMap/{place}c",
        f"~ v1/ConfigMap/{place}a: /data/size",
        f"~ v1/Secret/{place}b: /data/password",
    )
    assert "canary" not in repr(plan)
    elsewhere = Kubernetes(here.driver._settings.model_copy(update={"workspaces_root": tmp_path / "elsewhere"}))
    assert (await elsewhere.plan(other)).digest != plan.digest
    await elsewhere.close()


async def test_a_conflict_names_who_manages_the_field_and_changes_nothing(here: Place) -> None:
    work = here.work(config_map("a", size="1", colour="red"), config_map("b", x="1"))
    result = await finished(here.driver.apply, work)
    await here.edited(here.called("ConfigMap", "a"), {"data": {"size": "9"}})
    again = later(
        here.work(config_map("a", size="2", colour="blue"), config_map("b", x="2")), 2, previous=result.outputs
    )
    for act in (here.driver.plan, here.driver.apply):
        with pytest.raises(StepFailed, match=r"ConfigMap/.*/a: others manage .* \.data\.size is somebody's"):
            await act(again)
    live = await here.live("ConfigMap", "b")
    assert live is not None
    assert live["data"] == {"x": "1"}
    forced = replace(again, with_={**again.with_, "force": True})
    await finished(here.driver.apply, forced)
    live = await here.live("ConfigMap", "a")
    assert live is not None
    assert live["data"] == {"size": "2", "colour": "blue"}


async def test_what_others_add_is_no_drift_and_stays(here: Place) -> None:
    work = here.work(deployment("web", replicas=None), wait=False)
    result = await finished(here.driver.apply, work)
    web = here.called("Deployment", "web", "apps/v1")
    await here.edited(web, {"spec": {"replicas": 3}, "metadata": {"labels": {"theirs": "yes"}}})
    again = later(here.work(deployment("web", replicas=None, image="app:2"), wait=False), 2, previous=result.outputs)
    assert (await here.driver.observe(later(work, 2, previous=result.outputs))).differences == ()
    await finished(here.driver.apply, again)
    live = await here.cluster.get(web)
    assert live is not None
    assert live["spec"]["replicas"] == 3
    assert live["metadata"]["labels"]["theirs"] == "yes"
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"


async def test_drift_is_told_by_object_and_field(here: Place) -> None:
    work = here.work(deployment("web", replicas=2), config_map("gone"), wait=False)
    result = await finished(here.driver.apply, work)
    web = here.called("Deployment", "web", "apps/v1")
    await here.edited(web, {"spec": {"replicas": 5}})
    gone = await here.live("ConfigMap", "gone")
    assert gone is not None
    await here.cluster.delete(here.called("ConfigMap", "gone"), gone["metadata"]["uid"])
    seen = await here.driver.observe(later(work, 2, previous=result.outputs))
    assert seen.exists
    assert seen.outputs is None
    assert seen.differences == (
        Difference(f"v1/ConfigMap/{here.namespace}/gone", "removed"),
        Difference(f"apps/v1/Deployment/{here.namespace}/web#/spec/replicas", "changed"),
    )


async def test_what_is_no_longer_wanted_is_removed_if_it_is_still_ours(here: Place) -> None:
    first = await finished(here.driver.apply, here.work(*(config_map(name) for name in "abc")))
    await here.edited(here.called("ConfigMap", "c"), {"metadata": {"labels": None}})
    work = later(here.work(config_map("a")), 2, previous=first.outputs)
    plan = await here.driver.plan(work)
    assert [(one.address, one.change) for one in plan.resources] == [(f"v1/ConfigMap/{here.namespace}/b", "destroy")]
    second = await finished(here.driver.apply, replace(work, approved=plan.digest))
    assert [one["name"] for one in second.outputs["objects"]] == ["a"]
    assert await here.live("ConfigMap", "b") is None
    assert await here.live("ConfigMap", "c") is not None


async def test_what_is_not_pruned_is_removed_in_the_end(here: Place) -> None:
    first = await finished(here.driver.apply, here.work(config_map("a"), config_map("b")))
    work = later(here.work(config_map("a"), prune=False), 2, previous=first.outputs)
    assert (await here.driver.plan(work)).destroys == 0
    second = await finished(here.driver.apply, work)
    assert await here.live("ConfigMap", "b") is not None
    await finished(here.driver.destroy, later(work, 3, previous=second.outputs, destroys=True))
    assert await here.live("ConfigMap", "b") is None


async def test_what_was_there_before_is_neither_taken_nor_removed(here: Place) -> None:
    await here.made(config_map("a", size="theirs"))
    work = here.work(config_map("a", colour="red"))
    for act in (here.driver.plan, here.driver.apply):
        with pytest.raises(StepFailed, match="was there before; adopt"):
            await act(work)
    assert not (await here.driver.observe(work)).exists
    await finished(here.driver.destroy, replace(work, destroys=True))
    live = await here.live("ConfigMap", "a")
    assert live is not None
    assert live["data"] == {"size": "theirs"}


async def test_what_was_adopted_is_removed_in_the_end_though_it_bears_no_mark(here: Place) -> None:
    await here.made(config_map("a", size="1"))
    work = replace(here.work(config_map("a", size="1")), action="adopt")
    before = await here.live("ConfigMap", "a")
    seen = await here.driver.observe(replace(work, adopts=True))
    assert (seen.exists, seen.differences) == (True, ())
    assert await here.live("ConfigMap", "a") == before
    later_on = await here.driver.observe(later(work, 2, previous=seen.outputs))
    assert (later_on.exists, later_on.differences) == (True, ())
    await finished(here.driver.destroy, later(work, 3, previous=seen.outputs, destroys=True))
    assert await here.live("ConfigMap", "a") is None


async def test_what_belongs_to_another_step_is_refused_and_named(here: Place) -> None:
    work = here.work(config_map("a"), force=True)
    await finished(here.driver.apply, work)
    other = replace(work, resource_id="shop/dev/thing/two", step="also")
    with pytest.raises(StepFailed, match="belongs to step only of shop/dev/thing/one"):
        await here.driver.apply(other)
    with pytest.raises(StepFailed, match="it can't be adopted"):
        await here.driver.observe(replace(other, adopts=True))
    await finished(here.driver.destroy, replace(other, destroys=True))
    assert await here.live("ConfigMap", "a") is not None


async def test_what_has_lost_its_mark_is_left_and_told_as_kept(here: Place) -> None:
    result = await finished(here.driver.apply, here.work(config_map("a"), config_map("b")))
    await here.edited(here.called("ConfigMap", "a"), {"metadata": {"labels": None}})
    gone = later(here.work(config_map("a"), config_map("b")), 2, previous=result.outputs, destroys=True)
    ended = await finished(here.driver.destroy, gone)
    assert ended.kept == f"v1/ConfigMap/{here.namespace}/a: no longer marked as this step's"
    assert not (await here.driver.observe(gone)).exists
    assert await here.live("ConfigMap", "a") is not None


async def test_a_namespace_and_what_is_in_it_are_made_and_removed_in_one_step(here: Place) -> None:
    inner = f"{here.namespace}-inner"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}}
    work = here.work(config_map("a"), space, clusterScoped=True)
    work = replace(work, with_={**work.with_, "namespace": inner})
    plan = await here.driver.plan(work)
    assert [one.address for one in plan.resources] == [f"v1/Namespace/{inner}", f"v1/ConfigMap/{inner}/a"]
    result = await finished(here.driver.apply, replace(work, approved=plan.digest))
    gone = later(work, 2, previous=result.outputs, destroys=True)
    await finished(here.driver.destroy, gone)
    assert not (await here.driver.observe(gone)).exists


@pytest.mark.parametrize("scope", ["Namespaced", "Cluster"])
async def test_a_kind_and_an_object_of_it_come_in_one_step(here: Place, scope: str) -> None:
    group = f"{here.namespace}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"beads.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": "beads", "singular": "bead", "kind": "Bead", "listKind": "BeadList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    bead = {"apiVersion": f"{group}/v1", "kind": "Bead", "metadata": {"name": "one"}, "spec": {"colour": "red"}}
    work = here.work(bead, definition, clusterScoped=True)
    plan = await here.driver.plan(work)
    assert plan.adds == 2
    work = replace(work, approved=plan.digest)
    result = await finished(here.driver.apply, work)
    assert (await here.driver.plan(later(work, 2, previous=result.outputs))).resources == ()
    gone = later(work, 2, previous=result.outputs, destroys=True)
    gone = replace(gone, approved=(await here.driver.plan(gone)).digest)
    await finished(here.driver.destroy, gone)
    assert not (await here.driver.observe(gone)).exists


async def test_it_waits_until_it_is_healthy_and_says_what_for(here: Place) -> None:
    work = here.work(pod("p"), outputs={"ip": {"kind": "Pod", "name": "p", "pointer": "/status/podIP"}})
    with pytest.raises(StepSuspended, match=f"v1/Pod/{here.namespace}/p: it is") as waits:
        await here.driver.apply(work)
    assert 2 <= (waits.value.look_after_seconds or 0) <= 15
    again = replace(work, attempted=True, memory=waits.value.memory)
    ready = [{"type": "Ready", "status": "True"}]
    await here.edited(here.called("Pod", "p"), {"status": {"phase": "Running", "conditions": ready}}, status=True)
    with pytest.raises(StepSuspended, match="no value yet for the output ip"):
        await here.driver.apply(again)
    await here.edited(here.called("Pod", "p"), {"status": {"podIP": "10.1.2.3"}}, status=True)
    result = await here.driver.apply(again)
    assert result.outputs["ip"] == "10.1.2.3"
    assert result.message == "1 added, 0 changed, 0 removed"


async def test_a_rollout_is_waited_for_unless_it_is_not_wanted(here: Place) -> None:
    work = here.work(deployment("web", replicas=1))
    with pytest.raises(StepSuspended, match=f"apps/v1/Deployment/{here.namespace}/web: "):
        await here.driver.apply(work)
    result = await here.driver.apply(later(here.work(deployment("web", replicas=1), wait=False), 2))
    assert result.message == "0 added, 0 changed, 0 removed"


async def test_a_pod_without_its_image_is_given_time_and_then_up(here: Place) -> None:
    work = here.work(pod("p"))
    with pytest.raises(StepSuspended) as waits:
        await here.driver.apply(work)
    stuck = {"name": "app", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    stuck["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    await here.edited(here.called("Pod", "p"), {"status": {"containerStatuses": [stuck]}}, status=True)
    waited, memory = 0.0, waits.value.memory
    while waited < 300:
        with pytest.raises(StepSuspended, match="container app: ImagePullBackOff: no such image") as waits:
            await here.driver.apply(replace(work, attempted=True, memory=memory))
        memory = waits.value.memory
        waited = memory["waited_seconds"]
    with pytest.raises(StepFailed, match="container app: ImagePullBackOff: no such image"):
        await here.driver.apply(replace(work, attempted=True, memory=memory))


async def test_what_can_t_become_healthy_fails_at_once(here: Place) -> None:
    work = here.work(pod("p"))
    with pytest.raises(StepSuspended) as waits:
        await here.driver.apply(work)
    lost = {"status": {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}}
    await here.edited(here.called("Pod", "p"), lost, status=True)
    with pytest.raises(StepFailed, match="Evicted: the node was low on memory"):
        await here.driver.apply(replace(work, attempted=True, memory=waits.value.memory))


async def test_what_holds_a_removal_up_is_named(here: Place) -> None:
    work = here.work(config_map("a"))
    result = await finished(here.driver.apply, work)
    await here.edited(here.called("ConfigMap", "a"), {"metadata": {"finalizers": ["example.org/backup"]}})
    gone = later(work, 2, previous=result.outputs, destroys=True)
    for _ in range(2):
        with pytest.raises(StepSuspended, match=r"a is being removed; .* example\.org/backup"):
            await here.driver.destroy(gone)
    assert (await here.driver.observe(gone)).exists
    with pytest.raises(StepSuspended, match="made anew when it is gone"):
        await here.driver.apply(later(work, 3, previous=result.outputs))
    await here.edited(here.called("ConfigMap", "a"), {"metadata": {"finalizers": None}})
    await finished(here.driver.destroy, gone)
    assert not (await here.driver.observe(gone)).exists


async def test_a_secret_is_only_referred_to_and_a_key_that_left_is_gone(here: Place) -> None:
    outputs = {"login": {"kind": "Secret", "name": "login", "key": "password"}}
    work = here.work(secret("login", password="canary-1", user="canary-2"), outputs=outputs)
    result = await finished(here.driver.apply, work)
    assert result.outputs["login"] == {"secretRef": f"kubernetes:{here.namespace}/login#password"}
    assert "canary" not in repr(result)
    other = later(here.work(secret("login", password="canary-3"), outputs=outputs), 2, previous=result.outputs)
    await finished(here.driver.apply, other)
    live = await here.live("Secret", "login")
    assert live is not None
    assert live["data"] == {"password": "Y2FuYXJ5LTM="}


async def test_what_the_cluster_finds_invalid_is_named_and_nothing_is_half_done(here: Place) -> None:
    work = here.work(config_map("a"), deployment("web", replicas=-1), wait=False)
    for act in (here.driver.plan, here.driver.apply):
        with pytest.raises(StepFailed, match=r"Deployment/.*/web: .*invalid \(422\): spec.replicas: .* -1"):
            await act(work)
    assert await here.live("ConfigMap", "a") is None


async def test_a_field_that_can_t_change_back_is_observed_all_the_same(here: Place) -> None:
    work = here.work(config_map("a", size="1"))
    result = await finished(here.driver.apply, work)
    await here.edited(here.called("ConfigMap", "a"), {"data": {"size": "2"}, "immutable": True})
    seen = await here.driver.observe(later(work, 2, previous=result.outputs))
    assert seen.differences == (Difference(f"v1/ConfigMap/{here.namespace}/a#/data", "changed"),)


async def test_an_approved_plan_that_was_cut_off_half_way_is_carried_out_to_its_end(here: Place) -> None:
    first = await finished(
        here.driver.apply, here.work(config_map("a", x="1"), config_map("b", x="1"), config_map("c"))
    )
    work = later(here.work(config_map("a", x="2"), config_map("b", x="2")), 2, previous=first.outputs)
    work = replace(work, approved=(await here.driver.plan(work)).digest)
    for attempted in (False, True):
        failpoints.arm("effect.middle@2=fail")
        try:
            with pytest.raises(failpoints.Injected):
                await here.driver.apply(replace(work, attempted=attempted))
        finally:
            failpoints.arm("")
    result = await finished(here.driver.apply, replace(work, attempted=True))
    assert [one["name"] for one in result.outputs["objects"]] == ["a", "b"]
    assert await here.live("ConfigMap", "c") is None
    for name in "ab":
        live = await here.live("ConfigMap", name)
        assert live is not None
        assert live["data"] == {"x": "2"}


async def test_a_removal_that_was_cut_off_half_way_is_carried_out_to_its_end(here: Place) -> None:
    work = here.work(*(config_map(name) for name in "abc"))
    result = await finished(here.driver.apply, work)
    gone = later(work, 2, previous=result.outputs, destroys=True)
    gone = replace(gone, approved=(await here.driver.plan(gone)).digest)
    failpoints.arm("effect.middle@2=fail")
    try:
        with pytest.raises(failpoints.Injected):
            await here.driver.destroy(gone)
    finally:
        failpoints.arm("")
    await finished(here.driver.destroy, replace(gone, attempted=True))
    assert not (await here.driver.observe(gone)).exists


async def test_objects_of_templates_are_applied(here: Place) -> None:
    text = (
        "{% for name in inputs.names %}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ name | tojson }}}\n"
    )
    work = here.work()
    with_ = {key: value for key, value in work.with_.items() if key != "objects"}
    work = replace(work, with_={**with_, "files": {"all.yaml": text + "{% endfor %}\n"}})
    work = replace(work, scope={"inputs": {"names": ["one", "two"]}})
    result = await finished(here.driver.apply, work)
    assert [one["name"] for one in result.outputs["objects"]] == ["one", "two"]
    with pytest.raises(StepFailed) as failure:
        await here.driver.plan(replace(work, scope={}))
    assert failure.value.unknown
    # What the templates need is gone by now; what was applied is removed by the books.
    gone = later(work, 2, previous=result.outputs, destroys=True, scope={})
    await finished(here.driver.destroy, gone)
    assert not (await here.driver.observe(gone)).exists


async def test_only_what_is_allowed_may_be_touched(here: Place) -> None:
    elsewhere = config_map("a")
    elsewhere["metadata"] = {"name": "a", "namespace": "default"}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "entresol-test:a"},
    }
    with pytest.raises(StepFailed, match=r"in another namespace .* \(anyNamespace\)"):
        await here.driver.apply(here.work(elsewhere))
    with pytest.raises(StepFailed, match=r"belongs to the whole cluster; .* \(clusterScoped\)"):
        await here.driver.apply(here.work(role))
    scoped = {**role, "metadata": {"name": "a", "namespace": here.namespace}}
    with pytest.raises(StepFailed, match="of a kind without namespaces"):
        await here.driver.apply(here.work(scoped, clusterScoped=True))
    with pytest.raises(StepFailed, match=r"the cluster has no kind Bead in example\.org/v1"):
        await here.driver.apply(here.work({"apiVersion": "example.org/v1", "kind": "Bead", "metadata": {"name": "a"}}))
    bead = {"apiVersion": "example.org/v1", "kind": "Bead", "metadata": {"name": "a"}}
    seen = await here.driver.observe(here.work(bead))
    assert (seen.exists, seen.differences) == (
        False,
        (Difference(f"example.org/v1/Bead/{here.namespace}/a", "removed"),),
    )
    allowed = here.work(elsewhere, {**role, "rules": []}, anyNamespace=True, clusterScoped=True)
    result = await finished(here.driver.apply, allowed)
    await finished(here.driver.destroy, later(allowed, 2, previous=result.outputs, destroys=True))
    identity = Identity("rbac.authorization.k8s.io/v1", "ClusterRole", None, "entresol-test:a")
    assert await here.cluster.get(identity) is None

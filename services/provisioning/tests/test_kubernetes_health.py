"""What the statuses of objects mean, as Kubernetes' own controllers write them."""

from typing import Any

import pytest
from entresol_provisioning.drivers.kubernetes.health import judge, judge_pods

SEEN = {"observedGeneration": 3}


def condition(type_: str, status: str = "True", **more: str) -> dict[str, str]:
    return {"type": type_, "status": status, **more}


def live(kind: str, spec: dict[str, Any], status: dict[str, Any], version: str = "apps/v1") -> dict[str, Any]:
    metadata = {"name": "x", "generation": 3}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status}


ROLLED_OUT = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, **SEEN}
LATE = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="ReplicaSet x has timed out")
QUOTA = condition("ReplicaFailure", reason="FailedCreate", message="exceeded quota")
NODES = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3, **SEEN}
SPREAD = {"readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b", **SEEN}
CASES = [
    ("Deployment", "apps/v1", {"replicas": 2}, ROLLED_OUT, "healthy", ""),
    (
        "Deployment",
        "apps/v1",
        {"replicas": 2},
        {**ROLLED_OUT, "observedGeneration": 2},
        "waiting",
        "has not seen the change",
    ),
    ("Deployment", "apps/v1", {"replicas": 2}, {}, "waiting", "has not seen it yet"),
    (
        "Deployment",
        "apps/v1",
        {"replicas": 2},
        {**ROLLED_OUT, "updatedReplicas": 1},
        "waiting",
        "1 of 2 replicas are updated",
    ),
    ("Deployment", "apps/v1", {"replicas": 2}, {**ROLLED_OUT, "replicas": 3}, "waiting", "1 old replicas"),
    (
        "Deployment",
        "apps/v1",
        {"replicas": 2},
        {**ROLLED_OUT, "availableReplicas": 0},
        "waiting",
        "0 of 2 replicas are available",
    ),
    ("Deployment", "apps/v1", {}, {**SEEN, "conditions": [QUOTA]}, "waiting", "exceeded quota"),
    ("Deployment", "apps/v1", {}, {**SEEN, "conditions": [LATE]}, "hopeless", "ReplicaSet x has timed out"),
    ("Deployment", "apps/v1", {"replicas": 0}, SEEN, "healthy", ""),
    ("StatefulSet", "apps/v1", {"replicas": 2}, {**SEEN, "readyReplicas": 1}, "waiting", "1 of 2 replicas are ready"),
    ("StatefulSet", "apps/v1", {"replicas": 2}, SPREAD, "waiting", "1 of 2 replicas are updated"),
    ("StatefulSet", "apps/v1", {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, SPREAD, "healthy", ""),
    (
        "StatefulSet",
        "apps/v1",
        {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
        SPREAD,
        "healthy",
        "",
    ),
    ("DaemonSet", "apps/v1", {}, NODES, "healthy", ""),
    ("DaemonSet", "apps/v1", {}, {**NODES, "updatedNumberScheduled": 1}, "waiting", "1 of 3 pods are updated"),
    ("DaemonSet", "apps/v1", {}, {**NODES, "numberAvailable": 2}, "waiting", "2 of 3 pods are available"),
    ("ReplicaSet", "apps/v1", {"replicas": 1}, SEEN, "waiting", "0 of 1 replicas are available"),
    ("Job", "batch/v1", {"completions": 2}, {"succeeded": 1}, "waiting", "1 of 2 pods have succeeded"),
    ("Job", "batch/v1", {}, {"conditions": [condition("Complete")]}, "healthy", ""),
    (
        "Job",
        "batch/v1",
        {},
        {"conditions": [condition("Failed", reason="BackoffLimitExceeded")]},
        "hopeless",
        "BackoffLimitExceeded",
    ),
    ("Job", "batch/v1", {"suspend": True}, {}, "healthy", ""),
    ("Pod", "v1", {}, {"phase": "Pending"}, "waiting", "it is Pending"),
    (
        "Pod",
        "v1",
        {},
        {"phase": "Pending", "conditions": [condition("PodScheduled", "False", message="no node")]},
        "waiting",
        "no node",
    ),
    ("Pod", "v1", {}, {"phase": "Running", "conditions": [condition("Ready")]}, "healthy", ""),
    ("Pod", "v1", {}, {"phase": "Succeeded"}, "healthy", ""),
    ("Pod", "v1", {}, {"phase": "Failed", "reason": "Evicted"}, "hopeless", "Evicted"),
    ("PersistentVolumeClaim", "v1", {}, {"phase": "Bound"}, "healthy", ""),
    ("PersistentVolumeClaim", "v1", {}, {"phase": "Pending"}, "waiting", "it is Pending, not Bound"),
    ("PersistentVolumeClaim", "v1", {}, {"phase": "Lost"}, "hopeless", "lost"),
    ("Service", "v1", {"type": "ClusterIP"}, {"loadBalancer": {}}, "healthy", ""),
    ("Service", "v1", {"type": "LoadBalancer"}, {"loadBalancer": {}}, "waiting", "no address yet"),
    ("Service", "v1", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "healthy", ""),
    ("Ingress", "networking.k8s.io/v1", {}, {"loadBalancer": {}}, "healthy", ""),
    ("CustomResourceDefinition", "apiextensions.k8s.io/v1", {}, {}, "waiting", "not established"),
    (
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        {},
        {"conditions": [condition("Established")]},
        "healthy",
        "",
    ),
    (
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        {},
        {"conditions": [condition("NamesAccepted", "False")]},
        "hopeless",
        "NamesAccepted",
    ),
    (
        "Cluster",
        "postgresql.cnpg.io/v1",
        {},
        {"conditions": [condition("Ready", "False", message="1 of 3 up")]},
        "waiting",
        "1 of 3 up",
    ),
    ("Cluster", "postgresql.cnpg.io/v1", {}, {"conditions": [condition("Ready")]}, "healthy", ""),
    (
        "Cluster",
        "postgresql.cnpg.io/v1",
        {},
        {"conditions": [condition("Ready")], "observedGeneration": 2},
        "waiting",
        "has not seen",
    ),
    (
        "Release",
        "example.org/v1",
        {},
        {"conditions": [condition("Stalled", message="bad chart")]},
        "stuck",
        "bad chart",
    ),
    ("Cluster", "postgresql.cnpg.io/v1", {}, {}, "unnoticed", "nobody has written its status"),
    ("Odd", "example.org/v1", {}, {"conditions": "none", "observedGeneration": "x"}, "healthy", ""),
]


@pytest.mark.parametrize(("kind", "version", "spec", "status", "state", "reason"), CASES)
def test_a_status_is_judged(
    kind: str, version: str, spec: dict[str, Any], status: dict[str, Any], state: str, reason: str
) -> None:
    health = judge(live(kind, spec, status, version), has_status="." in version)
    assert health.state == state
    assert reason in health.reason


def test_what_is_being_removed_is_not_healthy() -> None:
    leaving = live("ConfigMap", {}, {}, "v1")
    leaving["metadata"]["deletionTimestamp"] = "2026-05-01T12:00:00Z"
    assert judge(leaving).state == "waiting"


def test_only_the_newest_pods_of_a_workload_tell_what_is_wrong_with_it() -> None:
    def pod(name: str, made_at: str, revision: str, reason: str | None) -> dict[str, Any]:
        metadata = {"name": name, "creationTimestamp": made_at, "labels": {"pod-template-hash": revision}}
        waits = [{"name": "app", "state": {"waiting": {"reason": reason}}}] if reason else []
        return {"metadata": metadata, "status": {"phase": "Pending", "containerStatuses": waits}}

    old = pod("old", "2026-05-01T10:00:00Z", "1", "ImagePullBackOff")
    fresh = pod("fresh", "2026-05-01T12:00:00Z", "2", None)
    broken = pod("broken", "2026-05-01T11:59:00Z", "2", "CrashLoopBackOff")
    assert judge_pods([old, fresh]).state == "healthy"
    health = judge_pods([old, fresh, broken])
    assert (health.state, health.reason) == ("stuck", "pod broken: container app: CrashLoopBackOff")
    assert judge_pods([]).state == "healthy"


def test_what_a_cluster_says_is_told_on_one_line_of_bounded_length() -> None:
    lost = live("Pod", {}, {"phase": "Failed", "message": "\x1b[31m\n" + "x" * 10_000}, "v1")
    reason = judge(lost).reason
    assert reason.isprintable()
    assert len(reason) <= 300

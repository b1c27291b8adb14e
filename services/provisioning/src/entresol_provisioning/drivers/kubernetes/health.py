"""Whether an object is what it is meant to be by now, judged from what its controllers say in its status.

A status of an earlier generation says nothing. A kind that nobody knows is judged by its conditions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_WORDS = 300
_TELLING = ("Ready", "Available", "Established")


@dataclass(frozen=True, slots=True)
class Health:
    state: Literal["healthy", "waiting", "stuck", "unnoticed", "hopeless"]
    """stuck: hopeless if it stays so for a while; unnoticed: healthy if it does."""
    reason: str = ""


HEALTHY = Health("healthy")


def judge(live: Mapping[str, Any], *, has_status: bool = False) -> Health:
    """`has_status`: whether its kind has a status that somebody may be about to write."""
    status = live.get("status") or {}
    spec = live.get("spec") or {}
    if live["metadata"].get("deletionTimestamp"):
        return Health("waiting", "it is being removed")
    seen, generation = status.get("observedGeneration"), live["metadata"].get("generation", 0)
    if isinstance(seen, int) and seen < generation:
        return Health("waiting", "its controller has not seen the change yet")
    rule = _RULES.get((str(live["apiVersion"]).rpartition("/")[0], str(live["kind"])))
    if rule is not None:
        return rule(spec, status)
    return _by_conditions(status, has_status=has_status)


def judge_pods(pods: Iterable[Mapping[str, Any]]) -> Health:
    """What keeps the newest generation of a workload's pods from starting; healthy if nothing does."""
    newest = sorted(pods, key=lambda one: str(one["metadata"].get("creationTimestamp")), reverse=True)
    for pod in newest:
        if _revision(pod) == _revision(newest[0]):
            health = _pod(pod.get("spec") or {}, pod.get("status") or {})
            if health.state in ("stuck", "hopeless"):
                return Health("stuck", f"pod {pod['metadata']['name']}: {health.reason}")
    return HEALTHY


def _revision(pod: Mapping[str, Any]) -> str | None:
    labels = pod["metadata"].get("labels") or {}
    return labels.get("pod-template-hash") or labels.get("controller-revision-hash")


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = status.get("conditions")
    found = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return {str(one.get("type")): one for one in found}


def _says(condition: Mapping[str, Any]) -> str:
    said = ": ".join(str(one) for one in (condition.get("reason"), condition.get("message")) if one)
    return shown(f"{condition.get('type')} is {condition.get('status')}" + (f", {said}" if said else ""))


def shown(text: str) -> str:
    """What a cluster said, on one line of bounded length."""
    return "".join(one if one.isprintable() else " " for one in text)[:_WORDS]


def _number(of: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = of.get(name)
    return value if isinstance(value, int) else default


def _by_conditions(status: Mapping[str, Any], *, has_status: bool) -> Health:
    conditions = _conditions(status)
    stalled = conditions.get("Stalled")
    if stalled is not None and stalled.get("status") == "True":
        return Health("stuck", _says(stalled))
    for name in _TELLING:
        if name in conditions and conditions[name].get("status") != "True":
            return Health("waiting", _says(conditions[name]))
    if has_status and not status:
        return Health("unnoticed", "nobody has written its status yet")
    return HEALTHY


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    conditions = _conditions(status)
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Health("hopeless", _says(progressing))
    if spec.get("paused") is True:
        return HEALTHY
    wanted = _number(spec, "replicas", 1)
    updated, available = _number(status, "updatedReplicas"), _number(status, "availableReplicas")
    if "observedGeneration" not in status:
        return Health("waiting", "its controller has not seen it yet")
    if updated < wanted:
        failing = conditions.get("ReplicaFailure", {})
        more = f"; {_says(failing)}" if failing.get("status") == "True" else ""
        return Health("waiting", f"{updated} of {wanted} replicas are updated{more}")
    if _number(status, "replicas") > updated:
        return Health("waiting", f"{_number(status, 'replicas') - updated} old replicas are still there")
    if available < updated:
        return Health("waiting", f"{available} of {updated} replicas are available")
    return HEALTHY


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    wanted, ready = _number(spec, "replicas", 1), _number(status, "readyReplicas")
    if "observedGeneration" not in status:
        return Health("waiting", "its controller has not seen it yet")
    if ready < wanted:
        return Health("waiting", f"{ready} of {wanted} replicas are ready")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") != "OnDelete":
        kept = _number(strategy.get("rollingUpdate") or {}, "partition")
        updated = _number(status, "updatedReplicas")
        differs = status.get("currentRevision") != status.get("updateRevision")
        if differs and updated < wanted - kept:
            return Health("waiting", f"{updated} of {wanted - kept} replicas are updated")
    return HEALTHY


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    wanted, available = _number(status, "desiredNumberScheduled"), _number(status, "numberAvailable")
    updated = _number(status, "updatedNumberScheduled")
    if "observedGeneration" not in status:
        return Health("waiting", "its controller has not seen it yet")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return Health("waiting", f"{updated} of {wanted} pods are updated")
    if available < wanted:
        return Health("waiting", f"{available} of {wanted} pods are available")
    return HEALTHY


def _replica_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    wanted, available = _number(spec, "replicas", 1), _number(status, "availableReplicas")
    if "observedGeneration" not in status:
        return Health("waiting", "its controller has not seen it yet")
    if available < wanted:
        return Health("waiting", f"{available} of {wanted} replicas are available")
    return HEALTHY


def _job(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    conditions = _conditions(status)
    if conditions.get("Failed", {}).get("status") == "True":
        return Health("hopeless", _says(conditions["Failed"]))
    if conditions.get("Complete", {}).get("status") == "True" or spec.get("suspend") is True:
        return HEALTHY
    done, wanted = _number(status, "succeeded"), _number(spec, "completions", 1)
    return Health("waiting", f"{done} of {wanted} pods have succeeded")


_STUCK = frozenset(
    {
        *("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    }
)


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    phase, conditions = status.get("phase"), _conditions(status)
    if phase == "Succeeded" or conditions.get("Ready", {}).get("status") == "True":
        return HEALTHY
    if phase == "Failed":
        said = ": ".join(str(status[one]) for one in ("reason", "message") if status.get(one))
        return Health("hopeless", shown(said or "its containers have failed"))
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waits = (container.get("state") or {}).get("waiting") or {}
        if waits.get("reason") in _STUCK:
            said = ": ".join(str(waits[one]) for one in ("reason", "message") if waits.get(one))
            return Health("stuck", shown(f"container {container.get('name')}: {said}"))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Health("waiting", _says(scheduled))
    return Health("waiting", f"it is {phase or 'not scheduled yet'}")


def _claim(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    phase = status.get("phase")
    if phase == "Lost":
        return Health("hopeless", "its volume is lost")
    return HEALTHY if phase == "Bound" else Health("waiting", f"it is {phase or 'not looked at yet'}, not Bound")


def _service(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    if spec.get("type") != "LoadBalancer" or (status.get("loadBalancer") or {}).get("ingress"):
        return HEALTHY
    return Health("waiting", "its load balancer has no address yet")


def _definition(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Health:
    conditions = _conditions(status)
    names = conditions.get("NamesAccepted", {})
    if names.get("status") == "False":
        return Health("hopeless", _says(names))
    if conditions.get("Established", {}).get("status") == "True":
        return HEALTHY
    return Health("waiting", "it is not established yet")


_RULES: Mapping[tuple[str, str], Callable[[Mapping[str, Any], Mapping[str, Any]], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})

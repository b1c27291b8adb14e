"""What a plan.json, an observation.json and a status.json say: checked, and in words that can be shown."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from entresol_manifests import durations
from entresol_manifests.digest import canonical

from entresol_provisioning.drivers import Difference, Observation, Plan, StepFailed, StepSuspended, Touched
from entresol_provisioning.drivers.remains import printable

LARGEST_MEMORY = 16 * 1024
MOST_ENTRIES = 10_000
_TOUCHED = {"add": (1, 0, 0), "change": (0, 1, 0), "destroy": (0, 0, 1), "replace": (1, 0, 1)}


def planned(document: Mapping[str, Any], digest: Callable[[Any], str]) -> Plan:
    """The plan in a plan.json. What it does not count is counted from its resources."""
    touched = [_touched(one, place) for place, one in enumerate(_list(document, "resources", "plan.json"))]
    sums = [sum(_TOUCHED[one.change][column] for one in touched) for column in range(3)]
    adds, changes, destroys = (
        _count(document, name, default) for name, default in zip(("adds", "changes", "destroys"), sums, strict=True)
    )
    summary = _list(document, "summary", "plan.json")
    if not all(isinstance(line, str) for line in summary):
        raise StepFailed("its plan.json has a summary that is no list of lines")
    return Plan(
        digest=digest(document),
        adds=adds,
        changes=changes,
        destroys=destroys,
        summary=tuple(printable(line) for line in summary),
        resources=tuple(touched),
    )


def observed(document: Mapping[str, Any]) -> Observation:
    """The observation in an observation.json."""
    exists, outputs = document.get("exists"), document.get("outputs")
    if not isinstance(exists, bool):
        raise StepFailed("its observation.json does not say exists: true or false")
    if outputs is not None and not isinstance(outputs, dict):
        raise StepFailed("its observation.json has outputs that are no object")
    found = set()
    for place, one in enumerate(_list(document, "differences", "observation.json")):
        known = isinstance(one, dict) and isinstance(one.get("path"), str)
        if not known or one.get("change") not in ("added", "removed", "changed"):
            raise StepFailed(
                f"its observation.json: /differences/{place} needs path, and change: added|removed|changed"
            )
        found.add(Difference(printable(one["path"]), one["change"]))
    return Observation(
        exists=exists, differences=tuple(sorted(found, key=lambda one: (one.path, one.change))), outputs=outputs
    )


def suspension(status: Mapping[str, Any], round_: int) -> StepSuspended | None:
    """What a status.json asks to wait for; None if it does not."""
    wanted = status.get("suspend")
    if wanted in (None, False):
        return None
    reason = status.get("message") if wanted is True else wanted
    if not isinstance(reason, str) or not reason:
        raise StepFailed("its status.json has suspend: true without a message; say what it waits for")
    after, memory, resumable = status.get("retryAfter"), status.get("memory", {}), status.get("resumable", False)
    if not isinstance(memory, dict) or not isinstance(resumable, bool):
        raise StepFailed("its status.json: memory must be an object, and resumable true or false")
    if len(canonical(memory)) > LARGEST_MEMORY:
        raise StepFailed(f"its status.json: memory exceeds {LARGEST_MEMORY // 1024} KiB")
    try:
        seconds = None if after is None else durations.seconds(str(after))
    except ValueError as error:
        raise StepFailed(f"its status.json: retryAfter: {printable(str(error))}") from None
    return StepSuspended(
        printable(reason),
        look_after_seconds=seconds,
        memory={"round": round_ + 1, "memory": memory},
        resumable=resumable,
    )


def said(status: Mapping[str, Any], name: str) -> str | None:
    """A text of a status.json, cut to one printable line."""
    text = status.get(name)
    return printable(text) if isinstance(text, str) and text.strip() else None


def _touched(one: Any, place: int) -> Touched:
    known = isinstance(one, dict) and isinstance(one.get("address"), str) and one["address"]
    if not known or one.get("change") not in _TOUCHED or not isinstance(one.get("type"), str | None):
        raise StepFailed(f"its plan.json: /resources/{place} needs address, and change: add|change|destroy|replace")
    change: Literal["add", "change", "destroy", "replace"] = one["change"]
    return Touched(printable(one["address"]), change, None if one.get("type") is None else printable(one["type"]))


def _count(document: Mapping[str, Any], name: str, default: int) -> int:
    number = document.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 1_000_000:
        raise StepFailed(f"its plan.json: {name} is no number of things")
    return number


def _list(document: Mapping[str, Any], name: str, file: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > MOST_ENTRIES:
        raise StepFailed(f"its {file}: {name} is no list of at most {MOST_ENTRIES} entries")
    return found

"""What is compared with what is desired, and what is put into or picked out of JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from entresol_manifests.pointers import child

from entresol_provisioning.drivers import Difference, StepFailed

MOST_DIFFERENCES = 200
_ABSENT = object()


def differences(desired: Mapping[str, Any], found: Any, address: str) -> tuple[tuple[Difference, ...], dict[str, Any]]:
    """Where the found value is not what is desired, and what is there in those places, by pointer.

    Of an object only the fields that are desired are looked at; lists and all else must be equal.
    """
    there: dict[str, Any] = {}
    different: list[Difference] = []
    for pointer, wanted, value in _compared(desired, found, ""):
        if value is _ABSENT:
            different.append(Difference(f"{address}{pointer}", "removed"))
            there[pointer] = None
        elif not _equal(wanted, value):
            different.append(Difference(f"{address}{pointer}", "changed"))
            there[pointer] = [value]
    return tuple(different[:MOST_DIFFERENCES]), there


def _compared(desired: Any, found: Any, pointer: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(desired, Mapping) and (isinstance(found, Mapping) or not pointer):
        for name, wanted in desired.items():
            value = found.get(name, _ABSENT) if isinstance(found, Mapping) else _ABSENT
            yield from _compared(wanted, value, child(pointer, name))
    else:
        yield pointer, desired, found


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def put(body: Any, pointer: str, text: str) -> Any:
    """The body with the text at the pointer; objects on the way are made. Raise StepFailed if a value is in the way."""
    keys = [one.replace("~1", "/").replace("~0", "~") for one in pointer[1:].split("/")]
    return _put(body, keys, text, pointer)


def _put(body: Any, keys: list[str], text: str, pointer: str) -> Any:
    if not keys:
        return text
    if body is None:
        body = {}
    if not isinstance(body, Mapping):
        raise StepFailed(f"the reference can't be put at {pointer} of the body: something that is no object is there")
    return {**body, keys[0]: _put(body.get(keys[0]), keys[1:], text, pointer)}


def picked(value: Any, name: str) -> Any:
    """The item that an expression gives; None if it is not there."""
    if isinstance(value, list):
        if len(value) > 1:
            raise StepFailed(f"/with/{name}/item finds {len(value)} things, so it can't be told which is meant")
        return value[0] if value else None
    return value

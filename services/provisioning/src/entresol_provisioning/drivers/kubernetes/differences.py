"""Compare an object with what server-side apply would make of it, and digest what that would change.

Both sides come from the server, so that its defaults and conversions are no differences.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from entresol_manifests.digest import canonical
from entresol_manifests.pointers import child

from entresol_provisioning.drivers.kubernetes.marks import PASSING
from entresol_provisioning.drivers.kubernetes.objects import PREFIX

Word = Literal["added", "removed", "changed"]
OWNERSHIP = "/metadata/managedFields"
_SERVERS = frozenset(
    {
        *("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"),
        *("deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field that applying would change."""

    pointer: str
    word: Word
    """What somebody else seems to have done."""
    before: Any = None
    after: Any = None


def between(live: Mapping[str, Any], desired: Mapping[str, Any]) -> list[Field]:
    return list(_walk("", _settled(live), _settled(desired)))


def owns_the_same(live: Mapping[str, Any], desired: Mapping[str, Any], manager: str) -> bool:
    """Whether applying would leave the manager with the fields that it has."""
    return bool(_owned(live, manager) == _owned(desired, manager))


def unmarked(one: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what only says whose it is."""
    metadata = dict(one["metadata"])
    for name in ("labels", "annotations"):
        kept = {key: value for key, value in (metadata.pop(name, None) or {}).items() if not key.startswith(PREFIX)}
        metadata |= {name: kept} if kept else {}
    return {**one, "metadata": metadata}


def digest(key: bytes, server: str, changes: Iterable[tuple[str, Any]], removed: Iterable[str]) -> str:
    """Of what would be done to which objects. Keyed, because values of Secrets are among what would change."""
    document = {"server": server, "changes": sorted(changes, key=lambda one: one[0]), "removed": sorted(removed)}
    return f"sha256:{hmac.new(key, canonical(document), hashlib.sha256).hexdigest()}"


def _settled(one: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in one["metadata"].items() if key not in _SERVERS}
    if "annotations" in metadata:
        kept = {key: value for key, value in metadata.pop("annotations").items() if key not in PASSING}
        metadata |= {"annotations": kept} if kept else {}
    return {key: value for key, value in one.items() if key not in ("metadata", "status")} | {"metadata": metadata}


def _walk(pointer: str, live: Any, desired: Any) -> Iterator[Field]:
    if isinstance(live, Mapping) and isinstance(desired, Mapping):
        for key in sorted(live.keys() | desired.keys()):
            place = child(pointer, key)
            if key not in live:
                yield Field(place, "removed", None, desired[key])
            elif key not in desired:
                yield Field(place, "added", live[key], None)
            else:
                yield from _walk(place, live[key], desired[key])
    elif isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        for number, (one, other) in enumerate(zip(live, desired, strict=True)):
            yield from _walk(child(pointer, number), one, other)
    elif live != desired or isinstance(live, bool) != isinstance(desired, bool):
        yield Field(pointer, "changed", live, desired)


def _owned(one: Mapping[str, Any], manager: str) -> Any:
    for entry in one["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: dict[str, Any] = dict(entry.get("fieldsV1") or {})
            metadata = dict(fields.get("f:metadata") or {})
            annotations = dict(metadata.get("f:annotations") or {})
            for name in PASSING:
                annotations.pop(f"f:{name}", None)
            metadata["f:annotations"] = annotations
            return fields | {"f:metadata": metadata}
    return None

"""The objects that a step wants: read, checked and put into order, before anything is asked of a cluster.

All that can be refused without a cluster is refused here.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from entresol_manifests.digest import canonical
from entresol_manifests.positions import TextError
from entresol_manifests.schemas import differences, validator
from entresol_manifests.yaml_text import parse_all
from pydantic.config import JsonDict

from entresol_provisioning.drivers import StepFailed

MOST_OBJECTS = 500
LARGEST_BYTES = 1024 * 1024
PREFIX = "entresol.dev/"
"""Labels and annotations with it are marks of this driver; no manifest may set them."""

NAMESPACE = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NO_NAMESPACE = "is not a name that a namespace can have"
_SERVERS = ("uid", "resourceVersion", "managedFields", "generation", "deletionTimestamp", "ownerReferences")
_TEXTS: JsonDict = {
    "type": ["object", "null"],
    "propertyNames": {"not": {"pattern": f"^{PREFIX}"}, "errorMessage": "is Entresol's"},
    "additionalProperties": {"type": "string"},
}
_SHAPE: JsonDict = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata"],
    "properties": {
        "apiVersion": {
            "type": "string",
            "pattern": "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,30}$",
            "errorMessage": "must be written like apps/v1",
        },
        "kind": {
            "type": "string",
            "pattern": "^[A-Z][A-Za-z0-9]{0,62}$",
            "errorMessage": "must be written like Deployment",
        },
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$",
                    "not": {"type": "string", "pattern": "[.][.]"},
                    "errorMessage": "is not a name that Kubernetes takes",
                },
                "namespace": {"type": ["string", "null"], "pattern": NAMESPACE, "errorMessage": NO_NAMESPACE},
                "labels": _TEXTS,
                "annotations": _TEXTS,
                **{name: {"const": None, "errorMessage": "is the server's; leave it out"} for name in _SERVERS},
            },
        },
    },
}
MANIFEST: JsonDict = {
    "if": {"required": ["kind", "items"], "properties": {"kind": {"const": "List"}}},
    "then": {"properties": {"items": {"items": _SHAPE}}},
    "else": _SHAPE,
}
"""What an object has to be like, or each in a List."""
_SHAPED = validator(_SHAPE)
_RANKS = {
    **dict.fromkeys(("Namespace", "CustomResourceDefinition"), 0),
    **dict.fromkeys(("PriorityClass", "StorageClass", "ResourceQuota", "LimitRange", "NetworkPolicy"), 1),
    **dict.fromkeys(("ServiceAccount", "Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim"), 2),
    **dict.fromkeys(("Role", "ClusterRole"), 3),
    **dict.fromkeys(("RoleBinding", "ClusterRoleBinding", "Service"), 4),
    **dict.fromkeys(("HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress"), 6),
    **dict.fromkeys(("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService"), 7),
}
_OTHERS = 5


@dataclass(frozen=True, slots=True)
class Identity:
    """What names an object in its cluster."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    @property
    def address(self) -> str:
        return "/".join(one for one in (self.api_version, self.kind, self.namespace, self.name) if one)

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def rank(self) -> int:
        """What has a lower one is applied earlier and removed later."""
        return _RANKS.get(self.kind, _OTHERS)

    @property
    def lasting(self) -> tuple[str, str, str | None, str]:
        """The same for every version of its API."""
        return self.group, self.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as a step wants it."""

    identity: Identity
    manifest: Mapping[str, Any]

    def within(self, namespace: str | None) -> "Wanted":
        metadata = {**self.manifest["metadata"], **({"namespace": namespace} if namespace else {})}
        identity = replace(self.identity, namespace=namespace)
        return Wanted(identity, {**self.manifest, "metadata": metadata})


def from_files(files: Mapping[str, str]) -> list[Wanted]:
    """The objects of rendered files, in the order of the files' names."""
    documents: list[tuple[str, Any]] = []
    for name in sorted(files):
        try:
            documents.extend((name, one.value) for one in parse_all(files[name]))
        except TextError as error:
            raise StepFailed(f"{name[:200]} line {error.line}: {error.message}") from None
        except RecursionError:
            raise StepFailed(f"{name[:200]}: it nests too deep") from None
        if len(documents) > MOST_OBJECTS:
            raise StepFailed(_too_many())
    return _all(documents)


def from_list(listed: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The objects that the step lists."""
    return _all([(f"/with/objects/{number}", one) for number, one in enumerate(listed[: MOST_OBJECTS + 1])])


def in_order(wanted: Iterable[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda one: one.identity.rank)


def _all(documents: Iterable[tuple[str, Any]]) -> list[Wanted]:
    flat: list[tuple[str, Any]] = []
    for place, one in documents:
        items = one.get("items") if isinstance(one, Mapping) and one.get("kind") == "List" else None
        flat.extend((f"{place} item {number}", item) for number, item in enumerate(items)) if isinstance(
            items, list
        ) else flat.append((place, one))
        if len(flat) > MOST_OBJECTS:
            raise StepFailed(_too_many())
    if not flat:
        raise StepFailed("the step has no object; it needs files or objects")
    return [_checked(place, one) for place, one in flat]


def _too_many() -> str:
    return f"the step has more than {MOST_OBJECTS} objects; split it"


def _checked(place: str, one: Any) -> Wanted:
    place = place[:200]
    if not isinstance(one, Mapping):
        raise StepFailed(f"{place}: a manifest must be an object")
    try:
        for found in differences(one, _SHAPE, _SHAPED):
            raise StepFailed(f"{place}{found.pointer[:200]}: {found.message}")
    except ValueError:
        raise StepFailed(f"{place}: it can't be written as JSON") from None
    metadata = one["metadata"]
    identity = Identity(one["apiVersion"], one["kind"], metadata.get("namespace"), metadata["name"])
    address = identity.address
    manifest = _clean(identity, one)
    try:
        size = len(canonical(manifest))
    except (ValueError, TypeError, RecursionError):
        raise StepFailed(f"{place}: {address} can't be written as JSON") from None
    if size > LARGEST_BYTES:
        raise StepFailed(f"{place}: {address} exceeds {LARGEST_BYTES // 1024} KiB")
    return Wanted(identity, manifest)


def _clean(identity: Identity, one: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what generators leave in it: a status, empty metadata; a Secret's texts as its data.

    The server would merge `stringData` into `data`, and keep what is no longer in it.
    """
    metadata = {key: value for key, value in one["metadata"].items() if value is not None}
    manifest = {key: value for key, value in one.items() if key not in ("status", "metadata")}
    manifest["metadata"] = metadata
    if identity.kind == "Secret" and not identity.group:
        data, texts = manifest.get("data") or {}, manifest.pop("stringData", None) or {}
        for field, values in (("data", data), ("stringData", texts)):
            if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
                raise StepFailed(f"{field} of the Secret {identity.name} must be texts by name")
        try:
            for value in data.values():
                base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise StepFailed(f"data of the Secret {identity.name} must be base64; use stringData for texts") from None
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}
        if data or encoded:
            manifest["data"] = {**data, **encoded}
    return manifest


def secrets_of(wanted: Iterable[Wanted]) -> list[str]:
    """Every value of a Secret, as it is sent and as it is meant, the longest first: no message may show them."""
    found: set[str] = set()
    for one in wanted:
        if one.identity.kind == "Secret" and not one.identity.group:
            for value in (one.manifest.get("data") or {}).values():
                plain = base64.b64decode(value).decode(errors="replace")
                found.update((value, plain, json.dumps(plain)[1:-1], *plain.splitlines()))
    return sorted((one for one in found if len(one) >= 3), key=len, reverse=True)

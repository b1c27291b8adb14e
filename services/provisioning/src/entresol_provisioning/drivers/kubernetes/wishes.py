"""What a step's `with` asks for, checked before a cluster is asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field

from entresol_provisioning.drivers import StepFailed, StepWork, contracts
from entresol_provisioning.drivers.contracts import DestinationName, Files, Pointer, Strict, shaped
from entresol_provisioning.drivers.kubernetes.objects import MANIFEST, NAMESPACE, NO_NAMESPACE, Identity, Wanted

_OF_A_SECRET = "of a Secret, name a key; it is given as a reference, never as a value"
Namespace: TypeAlias = Annotated[str, shaped(NAMESPACE, NO_NAMESPACE)]


class Value(Strict):
    """Where an output is read from."""

    exactly_one = ("pointer", "key")
    rules = (
        {
            "if": {"properties": {"kind": {"const": "Secret"}}},
            "then": {"required": ["key"], "errorMessage": _OF_A_SECRET},
            "else": {"not": {"required": ["key"]}, "errorMessage": "only of a Secret, a key can be named"},
        },
    )

    kind: str = Field(min_length=1)
    """Kind of one of the step's objects."""
    name: str = Field(min_length=1)
    """The object's name."""
    namespace: Namespace | None = None
    """Its namespace, if the step may write to any."""
    pointer: Pointer | None = None
    """The field: a JSON pointer such as /status/loadBalancer/ingress/0/ip."""
    key: str | None = None
    """Key of a Secret; it is given as a reference, never as a value."""


class Spec(Strict):
    """Applies objects to a cluster, prunes what is no longer wanted, and waits until they are healthy."""

    model_config = ConfigDict(json_schema_extra={"required": ["destination"]})
    exactly_one = ("objects", "files")
    rules = (
        {
            "properties": {
                "outputs": {
                    "propertyNames": {
                        "not": {"const": "objects"},
                        "errorMessage": "is taken by the list of objects",
                    }
                }
            }
        },
        {
            "if": {"required": ["anyNamespace"], "properties": {"anyNamespace": {"const": True}}},
            "else": {
                "properties": {
                    "outputs": {
                        "additionalProperties": {
                            "properties": {
                                "namespace": {
                                    "const": None,
                                    "errorMessage": "is for offerings that write to any (anyNamespace)",
                                }
                            }
                        }
                    }
                }
            },
        },
    )

    destination: DestinationName | None = None
    """Name of a Destination with a cluster."""
    objects: list[Annotated[dict[str, Any], Field(json_schema_extra=MANIFEST)]] | None = Field(
        default=None, min_length=1
    )
    """Manifests of the objects."""
    files: Files | None = None
    """Jinja templates of manifests by path. Instead, template may name a folder beside the manifest, whose
    files are put here when it is applied."""
    namespace: Namespace | None = None
    """Where objects go that name none; left out: the Destination's, or default."""
    any_namespace: bool = Field(default=False, alias="anyNamespace")
    """Whether objects may name another namespace."""
    cluster_scoped: bool = Field(default=False, alias="clusterScoped")
    """Whether objects may belong to the whole cluster."""
    wait: bool = True
    """Whether to wait until all of them are healthy."""
    prune: bool = True
    """Whether to remove what the step no longer renders."""
    force: bool = False
    """Whether to take over fields that somebody else manages, and objects that were there before."""
    outputs: dict[str, Value] | None = None
    """Outputs by name, besides objects, the list of what was applied."""


@dataclass(frozen=True, slots=True)
class Output:
    """A value that the step gives: of an object's field, or a reference to a Secret's."""

    name: str
    kind: str
    object_name: str
    namespace: str | None
    pointer: str | None
    key: str | None

    def of(self, lives: Mapping[Identity, Mapping[str, Any]], namespace: str) -> tuple[bool, Any]:
        """Whether it is there yet, and the value."""
        if self.key is not None:
            place = self.namespace or namespace
            return True, {"secretRef": f"kubernetes:{place}/{self.object_name}#{self.key}"}
        found = [
            live
            for identity, live in lives.items()
            if (identity.kind, identity.name) == (self.kind, self.object_name)
            and self.namespace in (None, identity.namespace)
        ]
        if len(found) != 1:
            told = f"the output {self.name}: the step has {len(found)} objects {self.kind}/{self.object_name}"
            raise StepFailed(f"{told}; it must name one of them")
        value: Any = found[0]
        assert self.pointer is not None
        for part in self.pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, Mapping) and key in value:
                value = value[key]
            else:
                return False, None
        return True, value


@dataclass(frozen=True, slots=True)
class Wishes:
    """The step's `with`, but for its objects."""

    namespace: str
    """Of objects that name none, and the only one, unless any is allowed."""
    any_namespace: bool
    cluster_scoped: bool
    wait: bool
    prune: bool
    force: bool
    outputs: Sequence[Output]
    objects: Sequence[Mapping[str, Any]] | None
    files: Mapping[str, str] | None

    def check(self, wanted: Sequence[Wanted]) -> None:
        """Raise StepFailed if an object is one that the step may not touch, or is there twice."""
        seen: set[tuple[str, str, str | None, str]] = set()
        for one in wanted:
            identity = one.identity
            if identity.namespace not in (None, self.namespace) and not self.any_namespace:
                raise StepFailed(
                    f"{identity.address} is in another namespace than {self.namespace}; "
                    "the offering does not allow that (anyNamespace)"
                )
            key = (identity.group, identity.kind, identity.namespace or self.namespace, identity.name)
            if key in seen:
                raise StepFailed(f"{identity.address} is there twice")
            seen.add(key)

    def placed(self, one: Wanted, *, namespaced: bool) -> Wanted:
        """The object in its namespace; raise StepFailed if it has none and may not be touched."""
        if namespaced:
            return one.within(one.identity.namespace or self.namespace)
        if one.identity.namespace is not None:
            raise StepFailed(f"{one.identity.address} is of a kind without namespaces; leave metadata.namespace out")
        if not self.cluster_scoped:
            raise StepFailed(
                f"{one.identity.address} belongs to the whole cluster; the offering does not allow that (clusterScoped)"
            )
        return one


def read(work: StepWork) -> Wishes:
    """Raises StepFailed for what is no wish."""
    cluster = (work.destination or {}).get("cluster")
    if not isinstance(cluster, Mapping):
        raise StepFailed("/with/destination: a kubernetes step needs a Destination that has a cluster")
    asked = contracts.read(Spec, work)
    namespace = asked.namespace or cluster.get("namespace") or "default"
    if not re.fullmatch(NAMESPACE, str(namespace)):
        raise StepFailed(f"/with/destination: the namespace of its cluster {NO_NAMESPACE}")
    named = (asked.outputs or {}).items()
    return Wishes(
        namespace=namespace,
        any_namespace=asked.any_namespace,
        cluster_scoped=asked.cluster_scoped,
        wait=asked.wait,
        prune=asked.prune,
        force=asked.force,
        outputs=[Output(name, one.kind, one.name, one.namespace, one.pointer, one.key) for name, one in named],
        objects=asked.objects,
        files=asked.files,
    )

"""What a step's `with` asks for, checked before a cluster is asked.

`with`: `destination` (a Destination with `cluster`), and either `files` (templates of YAML, as for gitops) or `objects`
(a list of manifests). `namespace` is where objects go that name none; an object that names another is refused unless
`anyNamespace`, and one of no namespace at all unless `clusterScoped`. `wait` (default true): until they are healthy.
`prune` (default true): remove what the step no longer renders. `force`: take fields over that somebody else manages,
and objects that were there before. `outputs`: by name, `{kind, name, pointer}` of an object, or `key` of a Secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.kubernetes.objects import Identity, Wanted, checked_namespace

_KEYS = frozenset(
    {
        *("destination", "files", "template", "objects", "namespace", "anyNamespace", "clusterScoped"),
        *("wait", "prune", "force", "outputs"),
    }
)


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

    def check(self, wanted: Sequence[Wanted]) -> None:
        """Raise StepFailed if an object is one that the step may not touch, or is there twice."""
        seen: set[tuple[str, str, str | None, str]] = set()
        for one in wanted:
            identity = one.identity
            if identity.namespace not in (None, self.namespace) and not self.any_namespace:
                raise StepFailed(
                    f"{identity.address} is in another namespace than {self.namespace}; "
                    "the offering does not allow that (with.anyNamespace)"
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
                f"{one.identity.address} belongs to the whole cluster; "
                "the offering does not allow that (with.clusterScoped)"
            )
        return one


def read(work: StepWork) -> Wishes:
    """Raises StepFailed for what is no wish."""
    with_, cluster = work.with_, (work.destination or {}).get("cluster")
    if not isinstance(cluster, Mapping):
        raise StepFailed("a kubernetes step needs with.destination, a Destination that has a cluster")
    if unknown := sorted(str(key) for key in with_.keys() - _KEYS):
        raise StepFailed(f"with.{unknown[0][:100]} is not known; a kubernetes step has {', '.join(sorted(_KEYS))}")
    namespace = with_.get("namespace") or cluster.get("namespace") or "default"
    return Wishes(
        namespace=checked_namespace(namespace, "with.namespace"),
        any_namespace=_flag(with_, "anyNamespace", default=False),
        cluster_scoped=_flag(with_, "clusterScoped", default=False),
        wait=_flag(with_, "wait", default=True),
        prune=_flag(with_, "prune", default=True),
        force=_flag(with_, "force", default=False),
        outputs=_outputs(with_),
    )


def _flag(with_: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = with_.get(name, default)
    if not isinstance(value, bool):
        raise StepFailed(f"with.{name} must be true or false")
    return value


def _outputs(with_: Mapping[str, Any]) -> list[Output]:
    named = with_.get("outputs") or {}
    if not isinstance(named, Mapping):
        raise StepFailed("with.outputs must be an object of outputs by name")
    return [_output(with_, str(name), one) for name, one in named.items()]


def _output(with_: Mapping[str, Any], name: str, one: Any) -> Output:
    place = f"with.outputs.{name[:100]}"
    if name == "objects":
        raise StepFailed(f"{place}: this name is taken by the list of objects")
    texts = (
        {key: one.get(key) for key in ("kind", "name", "namespace", "pointer", "key")} if isinstance(one, dict) else {}
    )
    wrong = not texts or one.keys() - texts.keys() or not all(isinstance(text, str | None) for text in texts.values())
    if wrong or not texts["kind"] or not texts["name"] or (texts["pointer"] is None) == (texts["key"] is None):
        raise StepFailed(f"{place} must have kind and name of an object, and pointer (or, for a Secret, key)")
    if (texts["kind"] == "Secret") != (texts["key"] is not None):
        raise StepFailed(f"{place}: of a Secret, name a key; it is given as a reference, never as a value")
    if texts["pointer"] is not None and not texts["pointer"].startswith("/"):
        raise StepFailed(f"{place}.pointer must be a JSON pointer like /status/loadBalancer/ingress/0/ip")
    if texts["namespace"] is not None and not with_.get("anyNamespace"):
        raise StepFailed(f"{place} names a namespace; the offering does not allow that (with.anyNamespace)")
    return Output(name, texts["kind"], texts["name"], texts["namespace"], texts["pointer"], texts["key"])

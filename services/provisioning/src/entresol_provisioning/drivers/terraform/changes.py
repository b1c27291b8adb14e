"""What a plan of terraform says, from the document that `terraform show -json` prints.

The document holds secrets in clear text. Of values, only a keyed digest gets out of here: without the key, a password
that is easy to guess can't be found by trying.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from entresol_manifests.digest import canonical

from entresol_provisioning.drivers import Plan, Touched

_CHANGE = {("create",): "add", ("update",): "change", ("delete",): "destroy"}
_REPLACED = frozenset({"create", "delete"})


def outline(document: Mapping[str, Any], with_: Mapping[str, Any], key: bytes) -> Plan:
    """The plan of a module and its variables; an empty document is a plan that does nothing."""
    resources = [one for one in document.get("resource_changes", ()) if _does_something(one)]
    outputs = {name: one for name, one in document.get("output_changes", {}).items() if one["actions"] != ["no-op"]}
    adds = changes = destroys = 0
    summary, touched = [], []
    for one in resources:
        actions = one["change"]["actions"]
        adds += "create" in actions
        changes += "update" in actions
        destroys += "delete" in actions
        if actions not in (["no-op"], ["read"]):
            summary.append(f"{' and '.join(actions)} {one['address']}")
        change: Any = "replace" if set(actions) == _REPLACED else _CHANGE.get(tuple(actions))
        if change is not None:
            touched.append(Touched(one["address"], change, one["type"]))
    code = hmac.new(key, digestmod=hashlib.sha256)
    # The module and its variables themselves too, because not all that they do is a change of a resource: provisioners.
    others = [document.get(name) for name in ("deferred_changes", "action_invocations")]
    for part in (with_.get("files"), with_.get("variables") or {}, outputs, others, *resources):
        code.update(canonical(part) + b"\n")
    return Plan(
        digest=f"sha256:{code.hexdigest()}",
        adds=adds,
        changes=changes,
        destroys=destroys,
        summary=tuple(summary),
        resources=tuple(touched),
    )


def _does_something(one: Mapping[str, Any]) -> bool:
    """A resource that only gets another address, or comes into the state from outside, has no action of its own."""
    return one["change"]["actions"] != ["no-op"] or "previous_address" in one or "importing" in one["change"]

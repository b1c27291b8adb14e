"""What a cluster answers: an object, or why not, put into words for the person who asked."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.kubernetes.health import shown
from entresol_provisioning.drivers.kubernetes.objects import Identity

_MOST_CAUSES = 5
_MANAGER = re.compile(r'conflict with "([^"]{1,200})"')


@dataclass(frozen=True, slots=True)
class Cause:
    reason: str
    field: str
    message: str


class Refused(Exception):
    """An answer that is an error. Its texts may hold values of Secrets until they are `told`."""

    def __init__(self, status: int, reason: str, message: str, causes: Sequence[Cause] = ()) -> None:
        super().__init__(status, reason)
        self.status, self.reason, self.message, self.causes = status, reason, message, tuple(causes)
        self.identity: Identity | None = None

    @property
    def fields(self) -> list[str]:
        """JSON pointers of what is wrong, where the cluster names them."""
        return [_pointer(one.field) for one in self.causes if one.field]

    def told(self, secrets: Sequence[str]) -> StepFailed:
        """The failure of a step, with every secret in it left out."""
        what = f"{self.identity.address}: " if self.identity is not None else ""
        reason, retryable = self._reason(secrets)
        return StepFailed(f"{what}{reason}"[:2000], retryable=retryable)

    def _reason(self, secrets: Sequence[str]) -> tuple[str, bool]:
        message = _without(self.message, secrets)
        causes = [Cause(one.reason, shown(one.field), _without(one.message, secrets)) for one in self.causes]
        match self.status:
            case 401:
                return "the cluster does not accept the kubeconfig's login (401); renew it", False
            case 403:
                return f"the cluster does not allow it (403): {message}", False
            case 404:
                return f"the cluster has not what it needs (404): {message}", False
            case 409 if taken := [one for one in causes if one.reason == "FieldManagerConflict"]:
                return f"others manage fields that it sets: {_listed(taken)}; leave these out, or set with.force", False
            case 409:
                return f"it was changed at the same time (409): {message}", True
            case 413:
                return "the cluster finds it too large (413)", False
            case 422:
                return f"the cluster finds it invalid (422): {_listed(causes) if causes else message}", False
            case 429:
                return "the cluster is asked too often (429)", True
            case status if status >= 500:
                return f"the cluster failed ({status}): {message}", True
            case status:
                return f"the cluster refused it ({status}): {message}", False


def refused(status: int, body: bytes) -> dict[str, Any]:
    """The object of an answer; raise Refused for an error, and StepFailed for what no API server says."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status < 300:
        if not isinstance(answer, dict):
            raise StepFailed("the cluster's answer is no JSON object; is it a Kubernetes API?", retryable=True)
        return answer
    if not isinstance(answer, dict):
        raise Refused(status, "", "it gave no reason")
    details = answer.get("details")
    listed = details.get("causes") if isinstance(details, dict) else None
    causes = [
        Cause(*(str(one.get(name) or "") for name in ("reason", "field", "message")))
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    ]
    raise Refused(status, str(answer.get("reason") or ""), str(answer.get("message") or "it gave no reason"), causes)


def _without(message: str, secrets: Sequence[str]) -> str:
    """The message without them, cut only then: a part of a secret is one too."""
    for secret in secrets:
        message = message.replace(secret, "…")
    return shown(message)


def _listed(causes: Sequence[Cause]) -> str:
    told = []
    for one in causes[:_MOST_CAUSES]:
        manager = _MANAGER.search(one.message)
        if manager is not None:
            name = manager[1]
            whose = "another step of Entresol" if name.startswith("entresol-") else name
            told.append(f"{one.field} is {whose}'s")
        else:
            told.append(f"{one.field}: {one.message}" if one.field else one.message)
    more = len(causes) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _pointer(field: str) -> str:
    """`spec.ports[0].name` as `/spec/ports/0/name`."""
    parts = [one for one in re.split(r"[.\[\]]", field) if one]
    return "".join(f"/{one.replace('~', '~0').replace('/', '~1')}" for one in parts)

"""From what people type to the id that is meant: a whole id, a unique beginning of one, or a resource by its end."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused

if TYPE_CHECKING:
    from entresol.doors.client import Client

Document = Mapping[str, Any]

EXISTING = ("provisioned", "expiring", "expired")
"""States of resources that are not deleted."""

_WHOLE = 36
_PARTS = 4
_SEARCHED = 2000
"""How many of the newest requests an abbreviated id is looked for among; and resources."""


def request_id(client: "Client", given: str) -> str:
    """The id of the request that is meant: by its id, the beginning of it, or the resource it was the latest for."""
    if "/" in given:
        resource = resource_id(client, given)
        latest = list(client.every("/v1/requests", resource=resource, most=1))
        if not latest:
            raise Failure(f"no request for resource {resource}", Code.NOT_FOUND)
        return str(latest[0]["id"])
    return _unabbreviated(given, "request", lambda: client.every("/v1/requests", most=_SEARCHED))


def waiting_request_id(client: "Client", given: str) -> str:
    """The same, but of a resource the request that has a step which somebody may let go on, if there is one."""
    if "/" in given:
        for one in client.every("/v1/requests", resource=resource_id(client, given), state="running", most=1):
            if any(wait.get("resumable") for wait in one.get("suspended") or ()):
                return str(one["id"])
    return request_id(client, given)


def resource_id(client: "Client", given: str) -> str:
    """The id of the resource that is meant: by its id, or by an end of it (`deployment/cart`, `cart`) that one has.

    An id in full is not looked up. Deleted resources have to be named in full.
    """
    parts = given.split("/")
    if len(parts) > _PARTS or not all(parts):
        raise Failure(f"{given}: write PROJECT/ENVIRONMENT/OFFERING/NAME, or an end of that", Code.INVALID)
    if len(parts) == _PARTS:
        return given
    filters = dict(zip(("offering", "environment"), reversed(parts[:-1]), strict=False))
    there = client.every("/v1/resources", state=EXISTING, most=_SEARCHED, **filters)
    found = sorted(str(one["id"]) for one in there if str(one["id"]).split("/")[-len(parts) :] == parts)
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"{given} could mean {len(found)} resources", Code.INVALID, hints=found[:10])
    hint = "Write it in full: PROJECT/ENVIRONMENT/OFFERING/NAME. `entresol status` shows the latest requests."
    raise Failure(f"no resource whose id ends in {given}", Code.NOT_FOUND, hints=(hint,))


def approval_id(client: "Client", given: str, *, review: bool = False) -> str:
    """The id of the approval, or review, that is meant: by its id or its request's, or the beginning of either, or by
    the resource that is asked for.

    A request that waits for several approvals is ambiguous, and refused with the choices.
    """
    noun = "review" if review else "approval"
    given = request_id(client, given) if "/" in given else given

    def look() -> list[Any]:
        waiting = client.every("/v1/approvals", state="pending", review=str(review).lower(), most=_SEARCHED)
        return [one for one in waiting if any(str(one[name]).startswith(given) for name in ("id", "request"))]

    found = look()
    asked = not found and len(given) == _WHOLE and _is_request(client, given)
    if asked:
        client.settled(given)
        found = look()
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        choices = tuple(f"{item['id']}  {item['resource']}  {item['policy']}" for item in found)
        raise Failure(f"{given} could mean {len(found)} {noun}s", Code.INVALID, hints=choices)
    if asked:
        raise Failure(f"request {given} does not wait for {'a' if review else 'an'} {noun}", Code.NOT_FOUND)
    if len(given) == _WHOLE:
        return given
    raise Failure(f"no {noun} is pending whose id, or whose request's id, begins with {given}", Code.NOT_FOUND)


def of_list(client: "Client", path: str, given: str, noun: str, **filters: str) -> str:
    """The id of one of a list's items, by the whole id or a unique beginning."""
    return _unabbreviated(given, noun, lambda: client.every(path, most=_SEARCHED, **filters))


def _is_request(client: "Client", given: str) -> bool:
    try:
        client.read(f"/v1/requests/{segment(given)}")
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            return False
        raise
    return True


def _unabbreviated(given: str, noun: str, every: Callable[[], Any]) -> str:
    if len(given) >= _WHOLE:
        return given
    found = sorted({str(item["id"]) for item in every() if str(item["id"]).startswith(given)})
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"{given} is the beginning of {len(found)} {noun}s", Code.INVALID, hints=found[:10])
    raise Failure(f"no {noun} whose id begins with {given}", Code.NOT_FOUND)


def read_or_none(client: "Client", path: str, **query: Any) -> Document | None:
    """What is there, unless it is not, or not for these eyes."""
    try:
        found: Document = client.read(path, **query)
    except Refused as refusal:
        if refusal.code is Code.NOT_FOUND:
            return None
        raise
    return found

"""The chains of events that the demonstration sets off: plain functions over a client, usable by any test.

Each asks for one thing, waits for its end and returns what it saw; none judges. What should have been is for checks.
"""

import copy
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from entresol.demo.payloads import signed
from entresol.doors.client import Client
from entresol.failures import Code, Failure, Refused
from entresol.telling.facts import fact

Document = dict[str, Any]
TIMEOUT_SECONDS = 30.0


@dataclass
class Chain:
    """One thing that was asked for, and what came of it."""

    title: str
    expected: str
    outcome: str = ""
    resource: str = ""
    request: Document = field(default_factory=dict)
    events: list[Document] = field(default_factory=list)
    milliseconds: float = 0.0
    remark: str = ""
    notes: Document = field(default_factory=dict)
    """What only this chain has, for its checks."""

    @property
    def facts(self) -> list[str]:
        return [fact(event) for event in self.events]


def ask(client: Client, title: str, body: Mapping[str, Any], *, expected: str = "succeeded") -> Chain:
    """Ask for something and wait for its end."""
    chain = Chain(title, expected)
    began = time.monotonic()
    accepted = client.submit(body, idempotency_key=str(uuid.uuid4()))
    _finish(chain, client, str(accepted["id"]), began)
    return chain


def new_service(client: Client, *, project: str = "shop", name: str = "cart-service", system: str = "Cart") -> Chain:
    """A developer asks for a microservice: a repository of its own appears, and a component in the catalog."""
    body = _body("service", project, "dev", name, {"system": system, "description": "Keeps carts"})
    chain = ask(client, "a new service", body)
    chain.remark = f"repository {(chain.request.get('outputs') or {}).get('repository', '')}"
    return chain


def denied_database(client: Client, *, project: str = "shop", name: str = "orders") -> Chain:
    """A large database outside of production is against a rule, whoever wants it."""
    body = _body("database", project, "dev", name, {"size": "large"})
    chain = ask(client, "a large database in dev", body, expected="denied")
    chain.remark = "; ".join(chain.request.get("because") or [])
    return chain


def approved_deployment(
    asker: Client, approver: Client, *, project: str = "shop", name: str = "checkout", answers: bool = True
) -> Chain:
    """Production waits for a second pair of eyes; the asker's own do not count."""
    chain = Chain("a deployment to production", "succeeded")
    began = time.monotonic()
    inputs = {"image": f"{project}/{name}", "revision": "1.4.0", "component": name}
    accepted = asker.submit(_body("deployment", project, "prod", name, inputs))
    request_id = str(accepted["id"])
    approval = _until(lambda: _pending(approver, request_id), f"an approval for {request_id}")
    approval_id = str(approval["id"])
    asker.answer(approval_id, "granted", "looks good to me")
    word = "word that the asker's own answer does not count"
    refused = _until(lambda: approver.approval(approval_id)["refused"], word)
    chain.notes |= {"approval": approval, "refused": refused}
    if answers:
        approver.answer(approval_id, "granted", "load test was fine")
    _finish(chain, asker, request_id, began)
    answered = [f"{answer['by']} {answer['answer']}" for one in chain.request["approvals"] for answer in one["answers"]]
    chain.remark = f"{', '.join(answered)}; {len(refused)} answer refused"
    return chain


def merged_change(client: Client, payload: Document, secret: str, *, resource: str, source: str = "github") -> Chain:
    """GitHub says that a change was merged, twice, as it does after a time-out; it is deployed once."""
    chain = Chain("a merge on GitHub", "succeeded")
    began = time.monotonic()
    body, headers = signed(payload, secret, delivery=str(uuid.uuid4()))
    first = client.hook(source, body, headers)
    again = client.hook(source, body, headers)
    chain.notes |= {"first": first, "again": again, "forged": _forged(client, source, body, headers)}
    request = _until(lambda: _latest(client, resource), f"a request for {resource}")
    _finish(chain, client, str(request["id"]), began)
    chain.remark = f"revision {chain.request['inputs'].get('revision', '')[:10]}; sent twice, deployed once"
    return chain


def published_artifact(client: Client, event: Document, *, resource: str) -> Chain:
    """CI says by a CDEvent that it published something, twice; it is deployed once."""
    chain = Chain("a CDEvent from CI", "succeeded")
    began = time.monotonic()
    chain.notes |= {"first": client.publish(event), "again": client.publish(copy.deepcopy(event))}
    request = _until(lambda: _latest(client, resource), f"a request for {resource}")
    _finish(chain, client, str(request["id"]), began)
    chain.remark = f"{chain.request['inputs'].get('image', '')}"
    return chain


def passing_environment(client: Client, *, project: str = "shop", name: str = "try-out", lifetime: str = "2s") -> Chain:
    """An environment for a short while: it goes by itself, through a request that nobody made."""
    chain = Chain(f"an environment for {lifetime}", "deleted")
    began = time.monotonic()
    created = client.submit(_body("environment", project, "dev", name, {}) | {"lifetime": lifetime})
    chain.resource = str(created["resource"])
    made = client.wait(str(created["id"]), TIMEOUT_SECONDS)
    if made["state"] != "succeeded":
        raise Failure(f"{chain.resource} was not made: {'; '.join(made['because'])}", Code.ENDED_BADLY)
    ending = _until(lambda: _latest(client, chain.resource, action="delete"), f"the end of {chain.resource}")
    _finish(chain, client, str(ending["id"]), began)
    _until(lambda: client.read(f"/v1/resources/{chain.resource}")["state"] == "deleted", "word of the deletion")
    chain.outcome = "deleted"
    chain.remark = f"deleted for {chain.request['actor']}"
    return chain


def wrong_inputs(client: Client, *, project: str = "shop", name: str = "typo") -> Chain:
    """Inputs that do not fit are refused at the door, each told by its place; nothing is stored."""
    chain = Chain("wrong inputs", "refused")
    before = _submitted(client)
    began = time.monotonic()
    inputs = {"image": "shop/cart", "replicas": 99, "colour": "red"}
    try:
        client.submit(_body("deployment", project, "dev", name, inputs))
        chain.outcome = "accepted"
    except Refused as refusal:
        chain.outcome = "refused" if refusal.code is Code.INVALID else f"HTTP {refusal.status}"
        chain.notes["violations"] = refusal.violations
        chain.remark = "; ".join(f"{pointer} {detail}" for pointer, detail in refusal.violations)
    chain.milliseconds = (time.monotonic() - began) * 1000
    chain.notes |= {"before": before, "after": _submitted(client)}
    return chain


def _body(offering: str, project: str, environment: str, name: str, inputs: Mapping[str, Any]) -> Document:
    return {
        "offering": offering,
        "project": project,
        "environment": environment,
        "name": name,
        "inputs": dict(inputs),
    }


def _finish(chain: Chain, client: Client, request_id: str, began: float) -> None:
    chain.request = client.wait(request_id, TIMEOUT_SECONDS)
    chain.milliseconds = (time.monotonic() - began) * 1000
    chain.outcome = chain.outcome or str(chain.request["state"])
    chain.resource = str(chain.request["resource"])
    chain.events = client.chain(request_id)


def _until(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Failure(f"waited in vain for {what}", Code.TIMED_OUT)
        time.sleep(0.03)
    return found


def _pending(client: Client, request_id: str) -> Document | None:
    approvals = client.every("/v1/approvals", state="pending")
    return next((one for one in approvals if one["request"] == request_id), None)


def _latest(client: Client, resource: str, action: str | None = None) -> Document | None:
    requests = client.every("/v1/requests", resource=resource)
    return next((one for one in requests if action in (None, one["action"])), None)


def _forged(client: Client, source: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer to a delivery whose body is not what was signed."""
    forged = {**headers, "x-github-delivery": str(uuid.uuid4())}
    try:
        client.hook(source, body.replace(b"closed", b"Closed", 1), forged)
    except Refused as refusal:
        return refusal.status
    return 202


def _submitted(client: Client) -> int:
    return sum(1 for _ in client.history(type="dev.entresol.request.submitted.v1"))

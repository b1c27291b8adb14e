"""One attempt at a step: what is known of its effect, and what its expressions are about."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entresol_manifests.digest import canonical
from entresol_manifests.expressions import Scope

from entresol_provisioning.drivers import Difference, StepFailed, StepWork
from entresol_provisioning.drivers.http.answers import LONGEST_MESSAGE, Response, blanked
from entresol_provisioning.drivers.http.api import Api
from entresol_provisioning.drivers.http.expressions import Evaluator, Missing
from entresol_provisioning.drivers.http.places import printable, without_query
from entresol_provisioning.drivers.http.spec import FINGERPRINT, HOLDING, Call, Look, Place, Poll, Spec
from entresol_provisioning.drivers.http.values import differences, picked, put

LARGEST_REMEMBERED = 16 * 1024
_NOTHING = Response(0, {}, {})
"""So that what names a field of an answer says that the field is missing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What `read` has found."""

    url: str
    response: Response | None
    """None: nothing is there."""
    differences: tuple[Difference, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """What is there of what is desired."""


@dataclass(slots=True)
class Session:
    work: StepWork
    spec: Spec
    api: Api
    evaluator: Evaluator
    marked: bool
    """Whether a call was made for the resource that was not recorded as done."""
    key: bytes
    """Of digests: what is sent may be secret."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Each from the last answer that has it."""
    missing: dict[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    """What a person has said who ended the waiting."""
    stage: dict[str, Any] = field(default_factory=dict)
    """How far it has come, for the next look."""

    def __post_init__(self) -> None:
        self.stage = {name: value for name, value in self.work.memory.items() if name not in ("outputs", "answer")}
        known = {**(self.work.previous or {}), **dict(self.work.memory.get("outputs", {}))}
        self.outputs = {name: known[name] for name in self.spec.outputs if name in known}
        self.answer = self.work.memory.get("answer", {})

    @property
    def reference(self) -> str:
        """What the step puts into what it makes, to find it again."""
        return self.work.idempotency_key.replace("/", ".")

    @property
    def before(self) -> Mapping[str, Any]:
        """What an earlier run has left; empty if none has, or it failed."""
        return self.work.previous or {}

    @property
    def owned(self) -> bool:
        """Whether what is there was made, or adopted, by the resource."""
        return self.marked or FINGERPRINT in self.before

    def scope(self, response: Response | None = None) -> Scope:
        own = {"reference": self.reference, "outputs": self.outputs, "answer": dict(self.answer)}
        if response is not None:
            own["response"] = response.variable()
        return Scope(**{**self.work.scope, **own})

    async def url(self, name: str, place: Place, response: Response | None = None) -> str:
        """Raise Missing if it depends on what is not known."""
        if place.at is None:
            return self.api.base.url(place.path, place.query)
        value = await self.evaluator.value(f"/with/{name}/at", place.at, self.scope(response or _NOTHING))
        return self.api.base.named(value, place.query)

    async def find(self, name: str, look: Look, url: str) -> Response | None:
        """What the look finds, with the item in the place of the body; None if it is not there."""
        response = await self.api.look(look, url)
        if response is None:
            return None
        if look.item is not None:
            item = picked(await self.evaluator.value(f"/with/{name}/item", look.item, self.scope(response)), name)
            if item is None:
                return None
            response = response.of(item)
        if look.exists is not None:
            there = await self.evaluator.holds(f"/with/{name}/exists", look.exists, self.scope(response))
            return response if there else None
        return response

    async def read(self) -> Seen | None:
        """None if the step says no way to read it, or what that depends on is not known yet."""
        look = self.spec.read
        if look is None:
            return None
        try:
            url = await self.url("read", look)
        except Missing as missing:
            if not missing.field.startswith("outputs."):
                raise
            return None
        response = await self.find("read", look, url)
        if response is None:
            return Seen(without_query(url), None)
        await self.gather(response)
        found, values = differences(self.spec.desired, response.body, f"{without_query(url)}#")
        return Seen(without_query(url), response, found, values)

    async def gather(self, response: Response) -> None:
        """Take the outputs that the answer has."""
        scope = self.scope(response)
        for name, source in self.spec.outputs.items():
            try:
                self.outputs[name] = await self.evaluator.value(f"/with/outputs/{name}", source, scope)
            except StepFailed as failure:
                self.missing[name] = failure.reason

    def body(self, call: Call) -> Any:
        return call.body if call.reference is None else put(call.body, call.reference, self.reference)

    def fingerprint(self) -> str:
        """Of all that would be sent, from whichever state."""
        sent = [
            None if call is None else [call.method, call.path, call.at, call.query, call.headers, call.body]
            for call in (self.spec.apply, self.spec.update)
        ]
        return self.digest({"base": f"{self.api.base.origin}{self.api.base.path}", "sent": sent})

    def digest(self, document: Any) -> str:
        return "sha256:" + hmac.new(self.key, b"http\n" + canonical(document), hashlib.sha256).hexdigest()

    async def results(self, seen: Seen | None) -> dict[str, Any]:
        """The complete outputs; raise StepFailed if one is missing, or holds what must not be kept."""
        for name in self.spec.outputs:
            if name not in self.outputs:
                raise StepFailed(self.missing.get(name) or f"no answer has had the output {name}")
        secrets, kept = list(self.api.credential().secrets), {}
        for name, source in self.spec.secrets.items():
            if seen is None or seen.response is None:
                raise StepFailed(f"/with/secrets/{name}: what it is read from is not there")
            value = await self.evaluator.value(f"/with/secrets/{name}", source, self.scope(seen.response))
            if not isinstance(value, str) or not value:
                raise StepFailed(f"/with/secrets/{name} must be a text")
            secrets.append(value)
            kept[name] = {"secretRef": f"http:{seen.url}#{name}"}
        for name, value in self.outputs.items():
            written = json.dumps(value, ensure_ascii=False)
            if any(len(secret) >= 3 and json.dumps(secret, ensure_ascii=False)[1:-1] in written for secret in secrets):
                raise StepFailed(f"the output {name} holds a secret; take it out, or declare it in /with/secrets")
        holding = await self.holding()
        held = {} if holding is None else {HOLDING: holding}
        return {**self.outputs, **kept, FINGERPRINT: self.fingerprint(), **held}

    async def holding(self) -> str | None:
        """Of the thing, by the place where it is read; None where several may be read there, or that is not known."""
        look = self.spec.read
        if look is None or look.item is not None or look.exists is not None:
            return None
        try:
            return self.digest({"at": await self.url("read", look)})
        except Missing:
            return None

    def remembered(self) -> dict[str, Any]:
        """The memory of a step that waits."""
        memory = {**self.stage, "outputs": self.outputs, "answer": dict(self.answer)}
        if len(json.dumps(memory)) > LARGEST_REMEMBERED:
            raise StepFailed(f"its outputs exceed {LARGEST_REMEMBERED // 1024} KiB; take less of the answer")
        return memory

    async def polled(self, name: str, poll: Poll, url: str) -> tuple[bool, str, Response | None]:
        """Whether it is done, and what the API says of it. Raise StepFailed if it failed there."""
        response = await self.api.look(poll, url)
        if response is None:
            return False, "the API does not know of it yet", None
        scope = self.scope(response)
        words = ""
        if poll.message is not None:
            value = await self.evaluator.value(f"/with/{name}/message", poll.message, scope)
            words = self.shown(value)
        if poll.failed is not None and await self.evaluator.holds(f"/with/{name}/failed", poll.failed, scope):
            raise StepFailed(f"the API says that it failed{f': {words}' if words else ''}")
        return await self.evaluator.holds(f"/with/{name}/done", poll.done, scope), words, response

    def shown(self, value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return printable(blanked(text, self.api.credential().secrets), LONGEST_MESSAGE)

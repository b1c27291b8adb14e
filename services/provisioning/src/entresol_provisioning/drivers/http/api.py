"""One API, as a step calls it: its URL, its credential, and what becomes of an answer.

- A call that changes something carries `Idempotency-Key: <run>/<step>`, the same for every attempt.
- A failure says whether the call may have been received. 429, 503 and what was never sent were not; a connection that
  broke, a 5xx and a cut-off answer leave it open.
- The credential is resolved for each call and kept nowhere; what is repeated of answers does not hold it.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entresol_eventing.egress import Answer, Egress, Unanswered
from entresol_eventing.failpoints import failpoint
from entresol_manifests.secrets import SecretMissing, resolve

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.http.answers import Response, read, said
from entresol_provisioning.drivers.http.places import Base, checked_base, is_header, without_query
from entresol_provisioning.drivers.http.spec import GONE_STATUSES, Call, Place, Spec

LONGEST_WAIT_SECONDS = 3600.0
_NOT_YET = frozenset({408, 425, 429, 503})


class TryLater(StepFailed):
    """The API did nothing, and wants to be asked again."""

    def __init__(self, reason: str, seconds: float | None) -> None:
        super().__init__(reason, retryable=True)
        self.seconds = None if seconds is None else min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)


class Unsent(StepFailed):
    """The call has not reached the API."""


class Rejected(StepFailed):
    """The API has said no."""


class Uncertain(StepFailed):
    """The call may have been received."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retryable=True)


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes along with each request."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that must not be repeated."""


@dataclass(frozen=True, slots=True)
class Api:
    base: Base
    egress: Egress
    largest_bytes: int
    secret_ref: str | None = None
    scheme: str = "bearer"
    header: str | None = None

    def credential(self) -> Credential:
        """Raise StepFailed if there is none where it is said to be, or it can't be sent."""
        if self.secret_ref is None:
            return Credential()
        try:
            secret = resolve(self.secret_ref)
        except SecretMissing as error:
            raise StepFailed(str(error)) from None
        if not secret.isascii() or not secret.isprintable():
            raise StepFailed(f"what {self.secret_ref} holds can't be sent in a header: it must be one line of ASCII")
        if self.scheme == "header":
            return Credential({(self.header or "").lower(): secret}, (secret,))
        if self.scheme == "basic":
            coded = base64.b64encode(secret.encode()).decode()
            parts = tuple(one for one in (secret.partition(":")[2],) if len(one) >= 3)
            return Credential({"authorization": f"Basic {coded}"}, (secret, coded, *parts))
        return Credential({"authorization": f"Bearer {secret}"}, (secret,))

    async def look(self, place: Place, url: str) -> Response | None:
        """What is there; None if the API says that nothing is. Raise StepFailed if it can't be told."""
        credential = self.credential()
        what = f"GET {without_query(url)}"
        try:
            answer = await self._exchange("GET", url, b"", place.headers, credential, place.answer)
        except Unanswered as failure:
            raise StepFailed(f"{what}: {failure.reason}", retryable=not failure.final) from None
        if answer.status in GONE_STATUSES:
            return None
        self._refuse(what, answer, credential, good=answer.is_success)
        response = read(answer, place.answer)
        if response.fault is not None:
            raise StepFailed(f"{what}: {response.fault}", retryable=True)
        return response

    async def send(self, call: Call, url: str, body: Any, idempotency_key: str) -> Response:
        """The answer to a call. Raise TryLater or Unsent if it had no effect, Uncertain if that can't be told."""
        credential = self.credential()
        what = f"{call.method} {without_query(url)}"
        headers = {**call.headers, "idempotency-key": idempotency_key}
        raw = b""
        if body is not None:
            raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            headers["content-type"] = "application/json"
        failpoint("effect.middle")
        try:
            answer = await self._exchange(call.method, url, raw, headers, credential, call.answer)
        except Unanswered as failure:
            if failure.sent:
                raise Uncertain(f"{what}: {failure.reason}") from None
            raise Unsent(f"{what}: {failure.reason}", retryable=not failure.final) from None
        if answer.status in call.already:
            return read(answer, "json" if call.answer == "json" else "none")
        if answer.status >= 500 and answer.status not in _NOT_YET:
            raise Uncertain(self._answered(what, answer, credential))
        self._refuse(what, answer, credential, good=answer.status in call.expect)
        response = read(answer, call.answer)
        if response.fault is not None:
            raise Uncertain(f"{what}: {response.fault}")
        return response

    async def _exchange(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], credential: Credential, kind: str
    ) -> Answer:
        whole = {"accept": "application/json"} if kind == "json" else {}
        whole |= {name.lower(): value for name, value in headers.items()} | dict(credential.headers)
        return await self.egress.exchange(method, url, body, whole, largest_bytes=self.largest_bytes)

    def _refuse(self, what: str, answer: Answer, credential: Credential, *, good: bool) -> None:
        if good:
            return
        reason = self._answered(what, answer, credential)
        if answer.status in _NOT_YET:
            raise TryLater(reason, answer.retry_after_seconds)
        if answer.is_redirect:
            raise StepFailed(f"{reason}, a redirect, which is not followed")
        if answer.is_success:
            raise StepFailed(f"{reason}, which is not among the statuses that it expects")
        if answer.status < 500:
            raise Rejected(reason)
        raise StepFailed(reason, retryable=True)

    def _answered(self, what: str, answer: Answer, credential: Credential) -> str:
        words = said(answer, credential.secrets)
        return f"{what} was answered with {answer.status}{f': {words}' if words else ''}"


def api_of(spec: Spec, work: StepWork, egress: Egress, largest_bytes: int) -> Api:
    """The API that the step names; raise StepFailed if it names none."""
    if spec.destination is None:
        return Api(checked_base(spec.url or ""), egress, largest_bytes)
    api = (work.destination or {}).get("api")
    if not isinstance(api, Mapping):
        raise StepFailed(f"the destination {spec.destination[:63]} is no API; give it spec.api with a url")
    scheme, header = api.get("scheme") or "bearer", api.get("header")
    if scheme == "header" and not (isinstance(header, str) and is_header(header)):
        raise StepFailed(f"the destination {spec.destination[:63]} names no usable header for its secret")
    return Api(checked_base(str(api["url"])), egress, largest_bytes, api.get("secretRef"), scheme, header)

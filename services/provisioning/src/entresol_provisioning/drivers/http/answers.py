"""What an API has answered, as expressions see it: `response.status`, `response.headers` and `response.body`.

Nothing of it is believed: it is bounded, strictly read, and what is repeated of it to people is one printable line in
which secrets are blanked.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from entresol_eventing.egress import Answer
from entresol_eventing.http import Problem, strict_json

from entresol_provisioning.drivers.http.places import printable

LONGEST_HEADER = 8192
LONGEST_MESSAGE = 300
_WORDS = ("message", "error_description", "detail", "error", "title", "errors", "reason")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: Any
    fault: str | None = None
    """Why the body is not what was told to be there; it is null then."""

    def variable(self) -> dict[str, Any]:
        return {"status": self.status, "headers": dict(self.headers), "body": self.body}

    def of(self, item: Any) -> "Response":
        """The same with a part of its body in the place of all."""
        return replace(self, body=item)


def read(answer: Answer, kind: str) -> Response:
    """`kind` is json, text or none."""
    headers = {name: value for name, value in answer.headers.items() if len(value) <= LONGEST_HEADER}
    body, fault = None, answer.cut
    if fault is None and answer.body and kind == "json":
        try:
            body = strict_json(answer.body)
        except Problem as problem:
            fault = f"the answer is no usable JSON: {printable(problem.detail)}"
    elif fault is None and kind == "text":
        body = answer.body.decode("utf-8", "replace").replace("\0", "\ufffd")
    return Response(answer.status, headers, body, None if kind == "none" else fault)


def said(answer: Answer, secrets: Iterable[str]) -> str:
    """What the answer says to people; empty if nothing."""
    text = answer.body[:65536].decode("utf-8", "replace")
    try:
        text = _words(json.loads(text)) or ""
    except (ValueError, RecursionError):
        if "html" in answer.headers.get("content-type", ""):
            text = ""
    return printable(blanked(text, secrets), LONGEST_MESSAGE)


def blanked(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _words(body: Any, depth: int = 0) -> str | None:
    """What APIs call their message, wherever they put it."""
    if isinstance(body, str):
        return body
    if depth > 3:
        return None
    if isinstance(body, list):
        found = [words for one in body[:3] if (words := _words(one, depth + 1))]
        return "; ".join(found) or None
    if isinstance(body, dict):
        for name in _WORDS:
            if name in body and (words := _words(body[name], depth + 1)):
                return words
    return None

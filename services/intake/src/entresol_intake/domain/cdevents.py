"""CDEvents 0.3 to 0.5: reading them, and saying the common ones in Entresol's words.

Types are compared without their patch version, which CDEvents carry in the name. What has no word here stays as it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from entresol_intake.domain.faults import Fault, Invalid, prefixed
from entresol_intake.domain.outside import CDEVENTS_PREFIX, Fact, is_time

_VERSION = re.compile(r"0\.[345](\.[0-9]+)?(-[a-z0-9.]+)?").fullmatch
_TYPE = re.compile(r"dev\.cdevents\.([a-z]+)\.([a-z]+)\.[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.]+)?").fullmatch

OUTCOMES: Final[Mapping[str, str]] = {
    "success": "success",
    "pass": "success",
    "failure": "failure",
    "fail": "failure",
    "error": "failure",
    "cancel": "cancelled",
    "cancelled": "cancelled",
    "skip": "skipped",
    "skipped": "skipped",
}


def is_bare(document: object) -> bool:
    """Whether a JSON body is a CDEvent without a CloudEvent around it."""
    return isinstance(document, dict) and "context" in document and "specversion" not in document


def wrap(document: Mapping[str, Any]) -> dict[str, Any]:
    """A bare CDEvent as the CloudEvent that the CDEvents binding makes of it; raise Invalid if it is none."""
    check(document)
    context, subject = document["context"], document["subject"]
    return {
        "specversion": "1.0",
        "id": context.get("id"),
        "source": context["source"],
        "type": context["type"],
        "subject": subject["id"],
        "time": context["timestamp"],
        "datacontenttype": "application/json",
        "data": dict(document),
    }


def check(document: object) -> None:
    """Raise Invalid unless this is a CDEvent of 0.3 to 0.5."""
    if not isinstance(document, dict):
        raise Invalid([Fault("", "must be a CDEvent, a JSON object")])
    faults: list[Fault] = []
    context, subject = document.get("context"), document.get("subject")
    if not isinstance(context, dict):
        faults.append(Fault("/context", "is missing"))
    else:
        version = context.get("specversion", context.get("version"))
        if not isinstance(version, str) or _VERSION(version) is None:
            faults.append(Fault("/context/specversion", "must be a CDEvents version from 0.3 to 0.5"))
        for name in ("id", "source"):
            if not isinstance(context.get(name), str) or not context[name]:
                faults.append(Fault(f"/context/{name}", "is missing"))
        if not isinstance(context.get("type"), str) or _TYPE(context["type"]) is None:
            faults.append(Fault("/context/type", f"must be {CDEVENTS_PREFIX}<subject>.<predicate>.<version>"))
        if not isinstance(context.get("timestamp"), str) or not is_time(context["timestamp"]):
            faults.append(Fault("/context/timestamp", "must be an RFC 3339 time with a zone"))
    if not isinstance(subject, dict):
        faults.append(Fault("/subject", "is missing"))
    else:
        if not isinstance(subject.get("id"), str) or not subject["id"]:
            faults.append(Fault("/subject/id", "is missing"))
        if not isinstance(subject.get("content", {}), dict):
            faults.append(Fault("/subject/content", "must be a JSON object"))
    if faults:
        raise Invalid(faults)


def translate(event_type: str, document: Any) -> Fact | None:
    """The fact that a CDEvent states, or None if Entresol has no word for it; raise Invalid if it is no CDEvent."""
    try:
        check(document)
    except Invalid as invalid:
        raise Invalid(prefixed("/data", invalid.faults)) from None
    if document["context"]["type"] != event_type:
        raise Invalid([Fault("/data/context/type", "differs from the CloudEvent's type")])
    match = _TYPE(event_type)
    if match is None or (say := _WORDS.get(f"{match[1]}.{match[2]}")) is None:
        return None
    subject = document["subject"]
    name, data = say(subject["id"], subject.get("content", {}), _object(document, "customData"))
    return Fact(name, {key: value for key, value in data.items() if value is not None})


Said = tuple[str, dict[str, Any]]


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _text(holder: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        if isinstance(value := holder.get(name), str) and value:
            return value
    return None


def _reference(holder: Mapping[str, Any], name: str) -> str | None:
    return _text(_object(holder, name), "id")


def _repository(content: Mapping[str, Any]) -> dict[str, Any] | None:
    repository = _object(content, "repository")
    full_name = _text(repository, "id", "name")
    if full_name is None:
        return None
    url = _text(repository, "viewUrl", "url") or _text(_object(repository, "content"), "viewUrl", "url")
    return {"name": full_name.rstrip("/").rsplit("/", 1)[-1] or full_name, "full_name": full_name} | (
        {"url": url} if url else {}
    )


def _artifact(subject_id: str, content: Mapping[str, Any], _custom: Mapping[str, Any]) -> Said:
    return "artifact.published", {"artifact": subject_id, "by": _text(content, "user")}


def _merged(subject_id: str, content: Mapping[str, Any], custom: Mapping[str, Any]) -> Said:
    """CDEvents name neither branch nor commit: senders may, in `customData`; else the change's id is the revision."""
    return "change.merged", {
        "repository": _repository(content) or {"name": "unknown", "full_name": "unknown"},
        "branch": _text(custom, "branch") or "unknown",
        "revision": _text(custom, "revision", "commit") or subject_id,
        "title": _text(content, "description"),
    }


def _pipeline(subject_id: str, content: Mapping[str, Any], _custom: Mapping[str, Any]) -> Said:
    return "pipeline.finished", {
        "pipeline": _text(content, "pipelineName") or subject_id,
        "outcome": OUTCOMES.get(str(content.get("outcome")), "unknown"),
        "url": _text(content, "uri", "url"),
    }


def _deployed(subject_id: str, content: Mapping[str, Any], _custom: Mapping[str, Any]) -> Said:
    return "deployment.reported", {
        "service": subject_id,
        "environment": _reference(content, "environment"),
        "artifact": _text(content, "artifactId"),
        "outcome": "success",
    }


def _alert(name: str) -> Callable[[str, Mapping[str, Any], Mapping[str, Any]], Said]:
    def say(subject_id: str, content: Mapping[str, Any], _custom: Mapping[str, Any]) -> Said:
        return name, {
            "alert": subject_id,
            "summary": _text(content, "description"),
            "service": _reference(content, "service"),
            "environment": _reference(content, "environment"),
        }

    return say


_WORDS: Final[Mapping[str, Callable[[str, Mapping[str, Any], Mapping[str, Any]], Said]]] = {
    "artifact.published": _artifact,
    "change.merged": _merged,
    "pipelinerun.finished": _pipeline,
    "service.deployed": _deployed,
    "service.upgraded": _deployed,
    "incident.detected": _alert("alert.fired"),
    "incident.resolved": _alert("alert.resolved"),
}

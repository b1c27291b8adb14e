"""GitHub's webhooks.

The signature is checked over the raw bytes before anything is parsed. The delivery id stands in a header that is not
signed, so the door also folds repeated bodies.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from entresol_eventing.http import strict_json

from entresol_intake.domain.outside import Fact
from entresol_intake.hooks.delivery import Delivery, Posted, Refused

MAX_COMMITS: Final = 100
MAX_MESSAGE: Final = 1000
NO_COMMIT: Final = "0" * 40

OUTCOMES: Final[Mapping[str, str]] = {
    "success": "success",
    "failure": "failure",
    "error": "failure",
    "timed_out": "failure",
    "startup_failure": "failure",
    "cancelled": "cancelled",
    "skipped": "skipped",
}
PACKAGE_TYPES: Final[Mapping[str, str]] = {"container": "docker", "rubygems": "gem"}


def read(posted: Posted) -> Delivery:
    """Check a delivery and say what it means; raise Refused."""
    verify(posted.body, posted.headers.get("x-hub-signature-256", ""), posted.secrets)
    delivery_id = posted.headers.get("x-github-delivery", "")
    event = posted.headers.get("x-github-event", "")
    if not 0 < len(delivery_id) <= 128 or not event.isascii() or not 0 < len(event) <= 64:
        raise Refused("X-GitHub-Delivery or X-GitHub-Event is missing", 400)
    if not posted.headers.get("content-type", "").lower().startswith("application/json"):
        raise Refused("the webhook's content type must be application/json", 415)
    payload = strict_json(posted.body)
    if not isinstance(payload, dict):
        raise Refused("the body is no JSON object", 400)
    action = _text(payload, "action")
    full_name = _text(payload, "repository", "full_name") or _text(payload, "organization", "login") or posted.source
    return Delivery(
        id=delivery_id,
        source=_text(payload, "repository", "html_url") or f"https://github.com/{full_name}",
        actor=f"ci:github/{full_name}",
        type=".".join(filter(None, ("com.github", event, action))),
        fact=translate(event, payload),
        payload=payload,
        silent=event == "ping",
    )


def verify(body: bytes, signature: str, secrets: tuple[bytes, ...] | list[bytes] | Any) -> None:
    """Raise Refused unless `sha256=…` is the HMAC of the body under one of the secrets."""
    if not signature:
        raise Refused("the delivery is not signed")
    given = signature.encode("utf-8", "surrogateescape")
    good = False
    for secret in secrets:
        expected = b"sha256=" + hmac.new(secret, body, "sha256").hexdigest().encode()
        good |= hmac.compare_digest(expected, given)
    if not good:
        raise Refused("the signature does not match")


def translate(event: str, payload: Mapping[str, Any]) -> Fact | None:
    """The fact that a payload states, or None if Entresol has no word for it or a part that it needs is missing."""
    key = event if event == "push" else f"{event}.{payload.get('action')}"
    if (say := _WORDS.get(key)) is None or (said := say(payload)) is None:
        return None
    name, data = said
    return Fact(name, {key: value for key, value in data.items() if value is not None})


Said = tuple[str, dict[str, Any]]


def _at(payload: Any, *path: str) -> Any:
    for part in path:
        payload = payload.get(part) if isinstance(payload, dict) else None
    return payload


def _text(payload: Mapping[str, Any], *path: str) -> str | None:
    value = _at(payload, *path)
    return value if isinstance(value, str) and value else None


def _repository(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    name, full_name = _text(payload, "repository", "name"), _text(payload, "repository", "full_name")
    if name is None or full_name is None:
        return None
    url = _text(payload, "repository", "html_url")
    return {"name": name, "full_name": full_name} | ({"url": url} if url else {})


def _push(payload: Mapping[str, Any]) -> Said | None:
    repository, ref, after = _repository(payload), _text(payload, "ref"), _text(payload, "after")
    if repository is None or ref is None or after is None:
        return None
    commits = payload.get("commits")
    return "change.pushed", {
        "repository": repository,
        "ref": ref,
        "branch": ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None,
        "tag": ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else None,
        "revision": after,
        "before": _text(payload, "before"),
        "by": _text(payload, "pusher", "name") or _text(payload, "sender", "login"),
        "created": payload.get("created") is True,
        "deleted": payload.get("deleted") is True or after == NO_COMMIT,
        "commits": [
            {"id": commit["id"], "message": str(commit.get("message") or "")[:MAX_MESSAGE]}
            | ({"author": author} if (author := _text(commit, "author", "username")) else {})
            for commit in (commits[:MAX_COMMITS] if isinstance(commits, list) else [])
            if isinstance(commit, dict) and isinstance(commit.get("id"), str)
        ],
    }


def _proposed(payload: Mapping[str, Any]) -> Said | None:
    repository, branch = _repository(payload), _text(payload, "pull_request", "base", "ref")
    number = _at(payload, "pull_request", "number")
    if repository is None or branch is None or not isinstance(number, int):
        return None
    return "change.proposed", {
        "repository": repository,
        "branch": branch,
        "revision": _text(payload, "pull_request", "head", "sha"),
        "number": number,
        "title": _text(payload, "pull_request", "title"),
        "by": _text(payload, "pull_request", "user", "login"),
        "url": _text(payload, "pull_request", "html_url"),
    }


def _closed(payload: Mapping[str, Any]) -> Said | None:
    """A change that was closed without being merged is not merged: Entresol has no word for that."""
    proposed = _proposed(payload)
    merged = _text(payload, "pull_request", "merge_commit_sha")
    if proposed is None or merged is None or _at(payload, "pull_request", "merged") is not True:
        return None
    by = _text(payload, "pull_request", "merged_by", "login")
    return "change.merged", proposed[1] | {"revision": merged, "by": by or proposed[1]["by"]}


def _package(payload: Mapping[str, Any]) -> Said | None:
    package = payload.get("package") or payload.get("registry_package")
    if not isinstance(package, dict):
        return None
    name, version = _text(package, "name"), _text(package, "package_version", "version")
    kind = (_text(package, "package_type") or _text(package, "ecosystem") or "generic").lower()
    if name is None or version is None:
        return None
    return "artifact.published", {
        "artifact": f"pkg:{PACKAGE_TYPES.get(kind, kind)}/{quote(name, safe='/')}@{quote(version, safe='')}",
        "name": name,
        "version": version,
        "repository": _repository(payload),
        "revision": _text(package, "package_version", "target_oid"),
        "url": _text(package, "html_url"),
        "by": _text(payload, "sender", "login"),
    }


def _release(payload: Mapping[str, Any]) -> Said | None:
    repository, tag = _repository(payload), _text(payload, "release", "tag_name")
    if repository is None or tag is None:
        return None
    return "artifact.published", {
        "artifact": f"pkg:github/{quote(repository['full_name'].lower(), safe='/')}@{quote(tag, safe='')}",
        "name": repository["name"],
        "version": tag,
        "repository": repository,
        "url": _text(payload, "release", "html_url"),
        "by": _text(payload, "release", "author", "login"),
    }


def _pipeline(part: str, *name: str) -> Callable[[Mapping[str, Any]], Said | None]:
    def say(payload: Mapping[str, Any]) -> Said | None:
        pipeline = _text(payload, part, *name)
        if pipeline is None:
            return None
        return "pipeline.finished", {
            "pipeline": pipeline,
            "outcome": OUTCOMES.get(_text(payload, part, "conclusion") or "", "unknown"),
            "repository": _repository(payload),
            "branch": _text(payload, part, "head_branch"),
            "revision": _text(payload, part, "head_sha"),
            "url": _text(payload, part, "html_url"),
            "by": _text(payload, "sender", "login"),
        }

    return say


def _deployment(payload: Mapping[str, Any]) -> Said | None:
    repository = _repository(payload)
    if repository is None:
        return None
    return "deployment.reported", {
        "service": repository["name"],
        "environment": _text(payload, "deployment_status", "environment"),
        "outcome": OUTCOMES.get(_text(payload, "deployment_status", "state") or ""),
        "revision": _text(payload, "deployment", "sha"),
        "url": _text(payload, "deployment_status", "target_url"),
        "repository": repository,
    }


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], Said | None]]] = {
    "push": _push,
    "pull_request.opened": _proposed,
    "pull_request.synchronize": _proposed,
    "pull_request.reopened": _proposed,
    "pull_request.closed": _closed,
    "package.published": _package,
    "registry_package.published": _package,
    "release.published": _release,
    "workflow_run.completed": _pipeline("workflow_run", "name"),
    "check_suite.completed": _pipeline("check_suite", "app", "name"),
    "deployment_status.created": _deployment,
}

"""What comes from outside: real payloads where they lie beside the checkout, small ones of our own elsewhere."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Document = dict[str, Any]
_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Payloads:
    """The demonstration's input, with where each part came from."""

    catalog: tuple[Path, ...]
    merged: Document
    artifact: Document
    origins: Mapping[str, str]


def find() -> Payloads:
    """The shared data above the working directory or above this package, else what the package brings along."""
    shared = _shared()
    merged, merged_from = _read(shared, "github/pull_request.closed.json", _MERGED)
    artifact, artifact_from = _read(shared, "cdevents/artifact_published.json", _ARTIFACT)
    catalog: tuple[Path, ...] = (_PACKAGE / "examples" / "catalog-example.yaml",)
    if shared is not None:
        catalog = (shared / "portal" / "blueprints.json", shared / "portal" / "entities.json")
    brought = " and ".join(path.name for path in catalog)
    origins = {"the catalog": brought, "a webhook": merged_from, "a CI event": artifact_from}
    return Payloads(catalog, _as_merged(merged), artifact, origins)


def signed(payload: Document, secret: str, delivery: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a pull request's delivery, as GitHub sends them."""
    body = json.dumps(payload).encode()
    return body, {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/demo",
        "x-github-event": "pull_request",
        "x-github-delivery": delivery,
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def _shared() -> Path | None:
    starts = (Path.cwd(), Path(__file__).resolve().parent)
    folders = (above / "shared" / "data" for start in starts for above in (start, *start.parents))
    return next((folder for folder in folders if (folder / "portal").is_dir()), None)


def _read(shared: Path | None, name: str, own: Document) -> tuple[Document, str]:
    if shared is not None and (shared / name).is_file():
        document: Document = json.loads((shared / name).read_text())
        return document, name
    return own, "our own example"


def _as_merged(payload: Document) -> Document:
    """The recorded pull request was closed without a merge; say that it was merged."""
    request = payload["pull_request"] | {"merged": True, "merged_at": "2019-05-15T15:21:18Z"}
    return payload | {"action": "closed", "pull_request": request}


_MERGED: Document = {
    "action": "closed",
    "number": 2,
    "pull_request": {
        "number": 2,
        "title": "Say hello",
        "html_url": "https://github.example/samples/Hello-World/pull/2",
        "user": {"login": "ada"},
        "head": {"ref": "hello", "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821"},
        "base": {"ref": "master"},
        "merge_commit_sha": "c4295bd74fb0f4fda03689c3df3f2803b658fd85",
    },
    "repository": {
        "name": "Hello-World",
        "full_name": "samples/Hello-World",
        "html_url": "https://github.example/samples/Hello-World",
    },
}
_ARTIFACT: Document = {
    "context": {
        "specversion": "0.5.1",
        "id": "7a3c1d52-0f0e-4f2b-9a4e-3f0f5e9f7b11",
        "source": "/ci/build/17",
        "type": "dev.cdevents.artifact.published.0.3.0",
        "timestamp": "2026-01-20T14:27:05Z",
    },
    "subject": {
        "id": "pkg:golang/git.example/samples/myapp@234fd47e07d1004f0aed9c",
        "source": "/ci/build/17",
        "content": {"user": "build-bot"},
    },
}

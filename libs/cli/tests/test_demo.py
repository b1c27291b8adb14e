"""The demonstration's own parts: what it sends, and the receiver that judges what it is sent."""

import base64
import hashlib
import hmac
import time
from pathlib import Path

import httpx
import pytest
from entresol.demo import payloads
from entresol.demo.receiver import receiving, verified

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def signature(body: bytes, delivery_id: str, timestamp: int, key: bytes = b"k" * 32) -> str:
    digest = hmac.digest(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def test_a_signature_counts_only_for_its_own_body_id_and_time() -> None:
    now = int(time.time())
    good = signature(b"body", "d1", now)
    assert verified(SECRET, "d1", str(now), good, b"body")
    assert verified(SECRET, "d1", str(now), f"v1,other {good}", b"body")
    assert not verified(SECRET, "d1", str(now), good, b"Body")
    assert not verified(SECRET, "d2", str(now), good, b"body")
    assert not verified(SECRET, "d1", str(now), signature(b"body", "d1", now, b"x" * 32), b"body")
    assert not verified(SECRET, "d1", str(now - 900), signature(b"body", "d1", now - 900), b"body")
    assert not verified(SECRET, "d1", "soon", good, b"body")


def test_the_receiver_keeps_what_is_signed_once_and_counts_the_rest() -> None:
    now = int(time.time())
    body = b'{"type": "t"}'
    headers = {"webhook-id": "d1", "webhook-timestamp": str(now), "webhook-signature": signature(body, "d1", now)}
    with receiving(SECRET) as receiver:
        answers = [
            httpx.post(receiver.url, content=body, headers=headers).status_code,
            httpx.post(receiver.url, content=body, headers=headers).status_code,
            httpx.post(receiver.url, content=body).status_code,
        ]
    assert answers == [204, 204, 401]
    assert ([one.event["type"] for one in receiver.taken], receiver.repeated, receiver.refused) == (["t"], 1, 1)


def test_without_shared_data_the_package_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_shared", lambda: None)
    found = payloads.find()
    assert [path.name for path in found.catalog] == ["catalog-example.yaml"]
    assert found.merged["pull_request"]["merged"] is True
    assert found.artifact["context"]["type"] == "dev.cdevents.artifact.published.0.3.0"


def test_shared_data_beside_the_checkout_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    portal = tmp_path / "shared" / "data" / "portal"
    portal.mkdir(parents=True)
    (tmp_path / "checkout" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkout" / "deep")
    assert payloads.find().catalog == (portal / "blueprints.json", portal / "entities.json")


def test_a_delivery_is_signed_as_github_does() -> None:
    body, headers = payloads.signed({"action": "closed"}, "secret", "d1")
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(b"secret", body, "sha256").hexdigest()

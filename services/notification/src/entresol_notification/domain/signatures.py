"""Sign webhooks as https://www.standardwebhooks.com (1.0) says: id, time and body, HMAC-SHA256."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
SHORTEST_BYTES: Final = 24
LONGEST_BYTES: Final = 64


class UnusableSecret(ValueError):
    """A secret that the specification does not allow; the text does not hold it."""


def sign(secrets: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header; one signature for each of the secrets, which blanks separate.

    Two secrets are for rotation: a receiver takes the delivery if either fits.
    """
    signed = b"%s.%d.%s" % (delivery_id.encode(), timestamp, body)
    keys = [_key(secret) for secret in secrets.split()]
    if not keys:
        raise UnusableSecret("the webhook's secret is empty")
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii") for key in keys)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise UnusableSecret(f"the webhook's secret is not written as {PREFIX} and base64") from None
    if not SHORTEST_BYTES <= len(key) <= LONGEST_BYTES:
        raise UnusableSecret(f"the webhook's secret must have {SHORTEST_BYTES} to {LONGEST_BYTES} bytes")
    return key

"""Signatures."""

import base64

import pytest
from entresol_notification.domain.signatures import UnusableSecret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_the_signature_is_that_of_the_reference_implementations() -> None:
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_twice_while_rotating() -> None:
    other = "whsec_" + base64.b64encode(b"n" * 32).decode()
    first, second = sign(f"{SECRET} {other}", "id", 1, BODY).split(" ")
    assert (first, second) == (sign(SECRET, "id", 1, BODY), sign(other, "id", 1, BODY))


@pytest.mark.parametrize("secret", ["", "whsec_", "plain text", "whsec_ä", "whsec_c2hvcnQ=", "whsec_" + "A" * 400])
def test_an_unusable_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(UnusableSecret) as refused:
        sign(secret, "id", 1, BODY)
    assert len(secret) < 7 or secret.removeprefix("whsec_") not in str(refused.value)

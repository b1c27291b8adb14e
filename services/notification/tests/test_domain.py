"""Signatures and addresses."""

import base64

import pytest
from entresol_notification.domain.addresses import is_loopback, refusal
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


PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104 a thing to be refused
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]


@pytest.mark.parametrize(
    ("addresses", "loopback", "private", "refused"),
    [
        (PUBLIC, False, False, False),
        (PRIVATE, True, False, True),
        (PRIVATE, False, True, False),
        (LOOPBACK, False, True, True),
        (LOOPBACK, True, False, False),
        (NEVER, True, True, True),
        (["2002:0a00:0001::1", "2002:7f00:0001::1"], False, False, True),
    ],
)
def test_which_addresses_may_be_reached(addresses: list[str], loopback: bool, private: bool, refused: bool) -> None:
    for address in addresses:
        reason = refusal(address, allow_loopback=loopback, allow_private=private)
        assert (reason is not None) == refused, (address, reason)


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, LOOPBACK))
    assert not any(map(is_loopback, PUBLIC + PRIVATE))

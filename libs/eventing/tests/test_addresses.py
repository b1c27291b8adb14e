"""Which addresses are told apart, in every way in which they can be written."""

import pytest
from entresol_eventing.addresses import is_loopback, refusal

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

"""Which network addresses a request may be sent to.

A receiver's name is chosen by whoever writes a manifest; without this check it could point into the platform's own
network. IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) are judged by that address too.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA: Final = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
)
"""Where clouds give credentials to whoever asks from inside."""
PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def refusal(text: str, *, allow_loopback: bool, allow_private: bool) -> str | None:
    """Why nothing may be sent to the address; None if it may."""
    for address in _meant(ipaddress.ip_address(text)):
        if reason := _refusal(address, allow_loopback, allow_private):
            return reason
    return None


def is_loopback(text: str) -> bool:
    return all(address.is_loopback for address in _meant(ipaddress.ip_address(text)))


def _refusal(address: Address, allow_loopback: bool, allow_private: bool) -> str | None:
    if address in METADATA or address.is_link_local:
        return "link-local and metadata addresses are never allowed"
    if address.is_loopback:
        return None if allow_loopback else "loopback addresses are not allowed here"
    if address.is_multicast or address.is_unspecified:
        return "it is no address of one receiver"
    if not address.is_global and not (allow_private and any(address in network for network in PRIVATE)):
        return "private and reserved addresses are not allowed here"
    return None


def _meant(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 addresses that it stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
            return
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
            return
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
    yield address

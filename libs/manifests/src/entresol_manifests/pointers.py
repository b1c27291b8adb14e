"""JSON pointers (RFC 6901): the one way to name a place in a manifest."""

from collections.abc import Iterable


def child(pointer: str, key: str | int) -> str:
    """The pointer of a member or item beneath `pointer`."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def parent(pointer: str) -> str:
    """The pointer of what holds this; the whole document's for itself."""
    return pointer.rpartition("/")[0]


def join(keys: Iterable[str | int]) -> str:
    """The pointer of a path of keys and indexes."""
    return "".join(child("", key) for key in keys)

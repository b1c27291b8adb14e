"""Whether the branches of a `oneOf` exclude each other, so that what fits one of them fits no other."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from entresol_manifests.compatibility.references import Spot, Tree, resolve
from entresol_manifests.compatibility.values import JSON_TYPES, allowed, types

MOST_BRANCHES: Final = 100
DEEPEST: Final = 10


def apart(tree: Tree, branches: Sequence[Spot], kinds: frozenset[str]) -> bool:
    """Whether nothing of these types can fit two of the branches; False where that is not sure."""
    if len(branches) > MOST_BRANCHES:
        return False
    return all(_exclude(tree, one, other, kinds, 0) for one, other in combinations(branches, 2))


def _exclude(tree: Tree, one: Spot, other: Spot, kinds: frozenset[str], depth: int) -> bool:
    left, right = resolve(tree, *one), resolve(tree, *other)
    if left is None or right is None or depth > DEEPEST:
        return False
    if left[0] is False or right[0] is False:
        return True
    kinds = kinds & types(left[0]) & types(right[0])
    if not kinds or _differ(allowed(left[0]), allowed(right[0])):
        return True
    pairs = _required_by_both((left[0], left[1]), (right[0], right[1]))
    return kinds == {"object"} and any(_exclude(tree, *pair, JSON_TYPES, depth + 1) for pair in pairs)


def _differ(some: frozenset[str] | None, others: frozenset[str] | None) -> bool:
    return some is not None and others is not None and not some & others


def _required_by_both(one: Spot, other: Spot) -> Iterator[tuple[Spot, Spot]]:
    """The fields that both require, each as both describe it."""

    def described(spot: Spot) -> dict[str, Any]:
        required, fields = spot[0].get("required", ()), spot[0].get("properties", {})
        return {name: fields[name] for name in required if name in fields}

    left, right = described(one), described(other)
    for name in left.keys() & right.keys():
        yield (left[name], one[1] / "properties" / name), (right[name], other[1] / "properties" / name)

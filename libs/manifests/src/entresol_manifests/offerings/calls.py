"""The expressions in the `with` of a step of the `http` driver, which are about what an API will answer.

They are written without `${}`: a placeholder in one would make somebody's input a part of the expression.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_manifests.findings import Finding
from entresol_manifests.naming import Fields, check_expression
from entresol_manifests.pointers import child

OWN: Final[Fields] = {
    "response": frozenset({"status", "headers", "body"}),
    "outputs": None,
    "reference": None,
    "answer": None,
}
"""What they may name besides what every expression of an offering may."""
_CALLS: Final = ("apply", "update", "destroy")
_IN_REQUEST: Final = ("at", "item", "exists", "done", "failed", "message")


def answered(with_: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pointer in the `with`, and source, of each expression."""
    yield from ((place, source) for place, source in _written(with_) if isinstance(source, str))


def check_calls(with_: Mapping[str, Any], pointer: str, fields: Fields) -> Iterator[Finding]:
    """What is wrong with them."""
    for place, source in _written(with_):
        if not isinstance(source, str):
            yield Finding(pointer + place, "must be an expression, written as a text")
        elif "${" in source:
            message = "is an expression already: write it without ${}, and an input as inputs.name"
            yield Finding(pointer + place, message)
        else:
            yield from check_expression(source, pointer + place, {**fields, **OWN})


def _within(request: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(request, Mapping):
        yield from ((f"/{name}", request.get(name)) for name in ("find", "poll"))


def _written(with_: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in (*_CALLS, "read"):
        request = with_.get(name)
        for pointer, one in (("", request), *_within(request)):
            if isinstance(one, Mapping):
                yield from ((f"/{name}{pointer}/{key}", one[key]) for key in _IN_REQUEST if key in one)
    for group in ("outputs", "secrets"):
        named = with_.get(group)
        if isinstance(named, Mapping):
            yield from ((child(f"/{group}", name), source) for name, source in named.items())

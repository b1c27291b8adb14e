"""`${…}` in the texts of manifests: where they are, and the texts with what they give written into them."""

import json
import math
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from entresol_manifests.durations import text as duration_text
from entresol_manifests.engine import cel
from entresol_manifests.expressions import ExpressionError, Scope, evaluate
from entresol_manifests.pointers import child
from entresol_manifests.sources import UnclosedError, code

Evaluate: TypeAlias = Callable[[str, Scope], Any]


def interpolate(value: Any, scope: Scope, *, verbatim: Collection[str] = (), evaluate: Evaluate = evaluate) -> Any:
    """The value with every `${…}` in its texts evaluated; keys stay as they are.

    A text that is exactly one `${…}` becomes the value with its type; in a longer text values are written into it.
    `$${` is a literal `${`. What lies at the pointers in `verbatim` is copied unread: give `/files` there for the
    `with` of a step, because inlined files have `${…}` of their own. `evaluate` is for who evaluates in another way.
    Raises ExpressionError whose pointer says where.
    """
    return _interpolate(value, lambda source: evaluate(source, scope), "", verbatim)


def placeholders(value: Any, *, verbatim: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Every `${…}` in the texts of the value: pointer and source. Raise ExpressionError if one does not end."""
    yield from _placeholders(value, "", verbatim)


def only_placeholder(text: str) -> str | None:
    """The source of the `${…}` that is the whole text, so that its value keeps its type; None if there is more."""
    parts = _parts(text)
    return parts[0][0] if len(parts) == 1 and parts[0][1] else None


def _interpolate(value: Any, evaluated: Callable[[str], Any], pointer: str, verbatim: Collection[str]) -> Any:
    if pointer in verbatim:
        return value
    if isinstance(value, str):
        try:
            return _fill(value, evaluated) if "${" in value else value
        except ExpressionError as error:
            raise ExpressionError(error.message, pointer, error.missing) from None
    if isinstance(value, dict):
        return {key: _interpolate(item, evaluated, child(pointer, key), verbatim) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolate(item, evaluated, child(pointer, index), verbatim) for index, item in enumerate(value)]
    return value


def _placeholders(value: Any, pointer: str, verbatim: Collection[str]) -> Iterator[tuple[str, str]]:
    if pointer in verbatim:
        return
    if isinstance(value, str):
        try:
            yield from ((pointer, source) for source, is_code in _parts(value) if is_code)
        except ExpressionError as error:
            raise ExpressionError(error.message, pointer) from None
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _placeholders(item, child(pointer, key), verbatim)


@lru_cache(maxsize=4096)
def _parts(text: str) -> tuple[tuple[str, bool], ...]:
    """The text cut into literal pieces (False) and sources of expressions (True)."""
    parts: list[tuple[str, bool]] = []
    literal, place = "", 0
    while (found := text.find("${", place)) >= 0:
        if found > place and text[found - 1] == "$":
            literal += text[place : found - 1] + "${"
            place = found + 2
            continue
        literal += text[place:found]
        if literal:
            parts.append((literal, False))
        end = _end(text, found + 2)
        parts.append((text[found + 2 : end].strip(), True))
        literal, place = "", end + 1
    literal += text[place:]
    if literal:
        parts.append((literal, False))
    return tuple(parts)


def _end(text: str, start: int) -> int:
    """Where the `}` is that closes a placeholder: braces of maps and in string literals don't count."""
    depth = 0
    try:
        for place, character in code(text[start:]):
            if character == "{":
                depth += 1
            elif character == "}":
                if depth == 0:
                    return start + place
                depth -= 1
    except UnclosedError as error:
        raise ExpressionError(f"in a ${{…}}, {error}") from None
    raise ExpressionError("a ${ has no closing }; write $${ for a literal ${")


def _fill(text: str, evaluated: Callable[[str], Any]) -> Any:
    parts = _parts(text)
    if len(parts) == 1 and parts[0][1]:
        return _json(evaluated(parts[0][0]), parts[0][0])
    return "".join(_written(piece, evaluated) if is_code else piece for piece, is_code in parts)


def _written(source: str, evaluated: Callable[[str], Any]) -> str:
    value = _json(evaluated(source), source)
    if value is None:
        raise ExpressionError(f"`{source}` is null, which can't be written into a text")
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _json(value: Any, source: str) -> Any:
    """The value as JSON has it: times as RFC 3339, lengths of time as manifests write them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return duration_text(value.total_seconds())
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError(f"`{source}` is no finite number")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ExpressionError(f"`{source}` has a map key that is no text")
        return {key: _json(item, source) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item, source) for item in value]
    if isinstance(value, bytes | cel.OptionalValue):
        raise ExpressionError(f"`{source}` holds bytes or an optional, which manifests have no use for")
    return value

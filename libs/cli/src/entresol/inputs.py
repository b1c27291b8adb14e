"""Inputs as they are typed: `-i size=small -i replicas=3 -i tags:='["a","b"]' --inputs values.yaml`.

A value that is JSON is taken as JSON (3, true, {"a": 1}), all else as text. `key:=` insists on JSON, `key=` with
quotes inside ('"3"') makes a text of what would be a number. A number that JSON would write otherwise (1.10, 4e10)
stays text: it is a version or a revision, and would lose digits.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entresol.failures import Code, Failure

_PAIR = re.compile(r"(?P<name>[^=:]+(?::[^=:]+)*)(?P<sign>:?=)(?P<value>.*)\Z", re.DOTALL)


def parse(pairs: Sequence[str], option: str = "-i") -> dict[str, Any]:
    """The inputs of `-i` options; a dotted name (`database.size=small`) reaches into an object.

    `option` is what errors call it.
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        match = _PAIR.match(pair)
        if match is None:
            raise Failure(f"{option} {pair}: write key=value, or key:=JSON", Code.INVALID)
        value = _value(f"{option} {pair}", match["value"], strict=match["sign"] == ":=")
        _put(inputs, match["name"].split("."), value, f"{option} {pair}")
    return inputs


def load(path: Path) -> dict[str, Any]:
    """The inputs of a YAML or JSON file."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", Code.INVALID) from None
    except UnicodeDecodeError:
        raise Failure(f"{path}: not text in UTF-8", Code.INVALID) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{mark.line + 1}:" if mark else ""
        raise Failure(f"{path}:{line} {getattr(error, 'problem', None) or error}", Code.INVALID) from None
    if not isinstance(document, dict):
        raise Failure(f"{path}: expected a mapping of inputs", Code.INVALID)
    return document


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, objects merged key by key; what is above wins."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _value(pair: str, text: str, *, strict: bool) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if strict:
            raise Failure(f"{pair}: not JSON ({error})", Code.INVALID) from None
        return text
    rewritten = isinstance(value, int | float) and json.dumps(value) != text.strip()
    return text if rewritten and not strict else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _put(inputs: dict[str, Any], names: Sequence[str], value: Any, pair: str) -> None:
    *path, last = names
    for name in path:
        inner = inputs.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Failure(f"{pair}: {name} already has a value that is not an object", Code.INVALID)
        inputs = inner
    inputs[last] = value

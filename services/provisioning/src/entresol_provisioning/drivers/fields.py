"""Where two documents differ, as JSON pointers; never what they hold, because that may be secret."""

from collections.abc import Iterator, Mapping
from typing import Any

from entresol_manifests import json_text, yaml_text
from entresol_manifests.pointers import child
from entresol_manifests.positions import TextError

from entresol_provisioning.drivers import Difference

LARGEST_BYTES = 256 * 1024
"""Of a file whose fields are compared; a larger one differs as a whole."""
LONGEST_POINTER = 500


def within_file(path: str, there: bytes, wanted: bytes) -> Iterator[Difference]:
    """Where a file differs from what it should be: its fields if it is YAML or JSON, else the file."""
    if there == wanted:
        return
    fields = []
    if (here := _parsed(path, there)) is not None and (should := _parsed(path, wanted)) is not None:
        fields = list(compare(should, here))
    if not fields:
        yield Difference(path, "changed")
    for pointer, change in fields:
        yield Difference(f"{path}#{pointer}" if pointer else path, change)


def compare(before: Any, after: Any, secret: Any = None, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Each pointer at which the second value differs from the first, and whether it was added, removed or changed.

    `secret` has true at every place whose structure must not be told either, as terraform's marks do.
    """
    if secret is not True and isinstance(before, Mapping) and isinstance(after, Mapping):
        marks: Mapping[Any, Any] = secret if isinstance(secret, Mapping) else {}
        keys: list[Any] = sorted({*before, *after})
        one: Mapping[Any, Any] = before
        other: Mapping[Any, Any] = after
        marked = {key: marks.get(key) for key in keys}
    elif secret is not True and isinstance(before, list) and isinstance(after, list):
        listed = secret if isinstance(secret, list) else []
        keys = list(range(max(len(before), len(after))))
        marked = dict(zip(keys, listed, strict=False))
        one, other = dict(enumerate(before)), dict(enumerate(after))
    else:
        if not _same(before, after):
            yield pointer, "changed"
        return
    if any(len(str(key)) + len(pointer) > LONGEST_POINTER for key in keys):
        if before != after:
            yield pointer, "changed"
        return
    for key in keys:
        place = child(pointer, key)
        if key not in one:
            yield place, "added"
        elif key not in other:
            yield place, "removed"
        else:
            yield from compare(one[key], other[key], marked.get(key), place)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _parsed(path: str, content: bytes) -> Any:
    """The document; a list of them where a file holds several; None for what can't be compared by fields."""
    name = path.lower()
    if len(content) > LARGEST_BYTES or not name.endswith((".yaml", ".yml", ".json")):
        return None
    try:
        text = content.decode()
        if name.endswith(".json"):
            return json_text.parse(text).value
        documents = [one.value for one in yaml_text.parse_all(text)]
    except (UnicodeDecodeError, TextError):
        return None
    return documents[0] if len(documents) == 1 else documents or None

"""Read YAML safely, with the line of every member.

Values are built from the parser's events, not by its constructors: no tags make objects, aliases are counted so
that they can't explode, and duplicate keys are errors. Plain words mean what YAML 1.2 says: `on`, `yes` and `no`
are texts (a trigger has a key `on`), and so are dates.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import yaml

from entresol_manifests.pointers import child
from entresol_manifests.positions import DEEPEST, MOST_NODES, Parsed, TextError, unusable

_REMEDIES: Final = {
    "did not find expected key": "is it indented as the lines it belongs with? does text follow a closing quote?",
    "did not find expected '-' indicator": "is it indented as the items above it?",
    "mapping values are not allowed in this context": "is it indented too far, or does a text with `: ` need quotes?",
    "did not find expected ',' or ']'": "is a ] missing, or a comma?",
    "did not find expected ',' or '}'": "is a } missing, or a comma?",
    "could not find expected ':'": "is the : after the key missing?",
    "found character that cannot start any token": "quote a text that begins with it",
    "found unexpected end of stream": "is a closing quote missing?",
}
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,10})?")
_UNBOUNDED = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def parse_all(text: str) -> Iterator[Parsed]:
    """The documents of the text, without empty ones; raise TextError."""
    try:
        builder = _Builder(yaml.parse(text, Loader=_LOADER))
        yield from builder.documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = str(error.problem or error.context or "not YAML")
        faulty = text.split("\n")[line - 1 : line]
        tabs = faulty and "\t" in faulty[0]
        remedy = "indent with blanks, never with tabs" if tabs else _REMEDIES.get(problem, "")
        raise TextError(f"not YAML: {problem}", line, column, remedy) from None
    except yaml.reader.ReaderError as error:
        place = error.position if isinstance(error.position, int) else 0
        before = text[:place]
        line, column = before.count("\n") + 1, place - before.rfind("\n")
        raise TextError("not YAML: a character that is not allowed", line, column, "remove it") from None
    except yaml.YAMLError:
        raise TextError("not YAML", 1, 1) from None


class _Builder:
    """Builds values from events. One instance per file, so that the cap on values holds for the whole file."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.nodes = 0
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.lines: dict[str, int] = {}

    def documents(self) -> Iterator[Parsed]:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors, self.lines = {}, {}
                first = self.next()
                self.lines[""] = line_of(first)
                value = self.value(first, "", 0)
                if value is not None:
                    yield Parsed(value, self.lines)

    def next(self) -> Any:
        return next(self.events)

    def value(self, event: Any, pointer: str, depth: int) -> Any:
        before = self.nodes
        self.count(event, 1)
        if depth > DEEPEST:
            fail(event, f"it nests deeper than {DEEPEST}")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            require_tag(event, "map")
            value = self.mapping(pointer, depth)
        else:
            require_tag(event, "seq")
            value = self.sequence(pointer, depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            fail(event, f"the alias *{event.anchor} names no earlier anchor")
        value, size = self.anchors[event.anchor]
        self.count(event, size)
        return copy(value)

    def mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(key_event := self.next(), yaml.MappingEndEvent):
            if not isinstance(key_event, yaml.ScalarEvent):
                fail(key_event, "a key that is no plain text", "quote a text that begins with { or [")
            self.count(key_event, 1)
            key = str(key_event.value)
            if reason := unusable(key):
                fail(key_event, reason)
            if key in members:
                fail(key_event, f"the key {key!r} is there twice", "keep one of the two")
            member = child(pointer, key)
            self.lines[member] = line_of(key_event)
            value = self.value(self.next(), member, depth + 1)
            if key == "<<" and key_event.implicit[0]:
                for source in reversed(value) if isinstance(value, list) else [value]:
                    if not isinstance(source, dict):
                        fail(key_event, "<< merges maps only")
                    merged.update(source)
            else:
                members[key] = value
        return {**merged, **members}

    def sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            item = child(pointer, len(items))
            self.lines[item] = line_of(event)
            items.append(self.value(event, item, depth + 1))
        return items

    def count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            fail(
                event,
                f"it holds more than {MOST_NODES} values, aliases counted",
                "split the file, or use fewer aliases",
            )


def line_of(event: Any) -> int:
    return int(event.start_mark.line) + 1


def scalar(event: Any) -> Any:
    """The value of a scalar as the core schema of YAML 1.2 has it."""
    text = str(event.value)
    if reason := unusable(text):
        fail(event, reason)
    plain, _ = event.implicit
    if event.tag and event.tag != "!":
        wanted = event.tag.removeprefix(_CORE)
        if wanted == "str" or event.tag == "!":
            return text
        value = plain_value(event, text)
        if wanted != {type(None): "null", bool: "bool", int: "int", float: "float"}.get(type(value)):
            fail(event, f"the tag {event.tag[:60]} is not allowed here", "remove it")
        return value
    return plain_value(event, text) if plain and event.tag is None else text


def plain_value(event: Any, text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    elif not _UNBOUNDED.fullmatch(text):
        return text
    return fail(event, f"{text[:40]} is no finite number", "put it in quotes if it is a text")


def copy(value: Any) -> Any:
    """A copy of what an anchor named, so that no two places of a document share a value."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


def require_tag(event: Any, tag: str) -> None:
    if event.tag not in (None, "!", _CORE + tag):
        fail(event, f"the tag {event.tag[:60]} is not allowed here", "remove it")


def fail(event: Any, message: str, remedy: str = "") -> NoReturn:
    raise TextError(message, line_of(event), event.start_mark.column + 1, remedy)

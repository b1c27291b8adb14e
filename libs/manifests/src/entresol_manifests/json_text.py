"""Read JSON strictly, with the line of every member.

The standard library's parser accepts NaN, duplicate keys and lone surrogates, overflows the stack on deep nesting,
and tells no positions; manifests are files that people edit, so each of these is an error with a place.
"""

import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn

from entresol_manifests.pointers import child
from entresol_manifests.positions import DEEPEST, MOST_NODES, Parsed, TextError, place_of, unusable

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_WORDS: Final = {"true": True, "false": False, "null": None}
_TYPOGRAPHIC: Final = "“”„‟‘’‚‛«»"


def parse(text: str) -> Parsed:
    """The document; raise TextError."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.line, self.counted = 1, 0
        self.nodes = 0
        self.lines: dict[str, int] = {}

    def document(self) -> Parsed:
        self.blank()
        self.lines[""] = self.current_line()
        value = self.value("", 0)
        self.blank()
        if self.place < len(self.text):
            self.fail("there is more text after the end of the document")
        return Parsed(value, self.lines)

    def value(self, pointer: str, depth: int) -> Any:
        self.nodes += 1
        if depth > DEEPEST:
            self.fail(f"it nests deeper than {DEEPEST}")
        if self.nodes > MOST_NODES:
            self.fail(f"it holds more than {MOST_NODES} values", "split the file")
        character = self.text[self.place : self.place + 1]
        if character == "{":
            return self.mapping(pointer, depth)
        if character == "[":
            return self.sequence(pointer, depth)
        if character == '"':
            return self.string()
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.place):
                self.place += len(word)
                return value
        return self.number()

    def mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self.place += 1
        self.blank()
        if self.took("}"):
            return members
        while True:
            start = self.place
            key = self.string()
            if key in members:
                self.place = start
                self.fail(f"the key {key!r} is there twice", "keep one of the two")
            member = child(pointer, key)
            self.lines[member] = self.current_line()
            self.blank()
            if not self.took(":"):
                self.fail("a colon is missing after the key")
            self.blank()
            members[key] = self.value(member, depth + 1)
            self.blank()
            if self.took("}"):
                return members
            if not self.took(","):
                self.fail("a comma or } is missing")
            self.blank()

    def sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        self.place += 1
        self.blank()
        if self.took("]"):
            return items
        while True:
            item = child(pointer, len(items))
            self.lines[item] = self.current_line()
            items.append(self.value(item, depth + 1))
            self.blank()
            if self.took("]"):
                return items
            if not self.took(","):
                self.fail("a comma or ] is missing")
            self.blank()

    def string(self) -> str:
        if not self.text.startswith('"', self.place):
            self.fail("a text in double quotes is missing here")
        try:
            value, end = scanstring(self.text, self.place + 1, True)
        except json.JSONDecodeError as error:
            self.place = min(error.pos, len(self.text))
            self.fail(error.msg[:1].lower() + error.msg[1:])
        if reason := unusable(value):
            self.fail(reason)
        self.place = end
        return str(value)

    def number(self) -> int | float:
        found = _NUMBER.match(self.text, self.place)
        if found is None or len(found[0]) > 400:
            self.fail("a value is missing here" if found is None else "a number is too long")
        value = float(found[0]) if found[1] or found[2] else int(found[0])
        if isinstance(value, float) and not math.isfinite(value):
            self.fail("a number is too large")
        self.place = found.end()
        return value

    def blank(self) -> None:
        found = _BLANK.match(self.text, self.place)
        self.place = found.end() if found else self.place

    def took(self, character: str) -> bool:
        if self.text.startswith(character, self.place):
            self.place += 1
            return True
        return False

    def current_line(self) -> int:
        self.line += self.text.count("\n", self.counted, self.place)
        self.counted = self.place
        return self.line

    def fail(self, message: str, remedy: str = "") -> NoReturn:
        here = self.text[self.place : self.place + 1]
        if here and here in _TYPOGRAPHIC:
            message = f"a typographic quote {here} (U+{ord(here):04X}) where JSON has a straight one"
            remedy = 'replace the typographic quotes by "; a word processor or web page put them in'
        line, column = place_of(self.text, self.place)
        raise TextError(message, line, column, remedy)

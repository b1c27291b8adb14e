"""Look at the text of an expression before the engine sees it.

The engine crashes on deep nesting, and nested comprehensions over long lists run for minutes while they hold the
interpreter lock. Both are refused here by looking at the text alone.
"""

import re
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 4096
DEEPEST: Final = 32
DEEPEST_LOOPS: Final = 2
LONGEST_LOOPED_LIST: Final = 64
"""Commas in an expression that nests comprehensions: bounds the product of literal lists."""

_LITERAL = re.compile(
    r"""(?P<raw>[bB]?[rR][bB]?)?(?:(?P<long>\"\"\"|''')|(?P<quote>["']))""",
)
_LOOP = re.compile(r"\.(?:map|filter|all|exists|exists_one)\Z")
_BOUND = re.compile(r"\.\s*(?:map|filter|all|exists|exists_one)\s*\(\s*([A-Za-z_]\w*)\s*,")


class UnclosedError(ValueError):
    """A text or bracket that begins and does not end."""


def literal_end(text: str, start: int) -> int | None:
    """Where the string literal that begins at `start` ends; None if none begins there. Raise UnclosedError."""
    begin = _LITERAL.match(text, start)
    if begin is None:
        return None
    fence, escapes = begin["long"] or begin["quote"], begin["raw"] is None
    place = begin.end()
    while place < len(text):
        if text.startswith(fence, place):
            return place + len(fence)
        place += 2 if escapes and text[place] == "\\" else 1
    raise UnclosedError(f"a text that begins with {fence} does not end")


def code(source: str) -> Iterator[tuple[int, str]]:
    """The characters of an expression that are in no string literal and no comment, with their places.

    Raises UnclosedError. A quote in a comment begins no literal: what follows the comment would be taken for one.
    """
    place = 0
    while place < len(source):
        if source.startswith("//", place):
            end_of_line = source.find("\n", place)
            place = len(source) if end_of_line < 0 else end_of_line
            continue
        in_word = place > 0 and (source[place - 1].isalnum() or source[place - 1] == "_")
        end = literal_end(source, place) if not in_word or source[place] in "\"'" else None
        if end is None:
            yield place, source[place]
            place += 1
        else:
            place = end


def refusal(source: str) -> str | None:
    """Why the engine must not see this source; None if it may."""
    if len(source) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if "\0" in source:
        return "it holds a NUL character"
    try:
        depth, loops, commas = _nesting(source)
    except UnclosedError as error:
        return str(error)
    if depth > DEEPEST:
        return f"its brackets nest deeper than {DEEPEST}"
    if loops > DEEPEST_LOOPS or (loops == DEEPEST_LOOPS and commas > LONGEST_LOOPED_LIST):
        return "its comprehensions (map, filter, all, exists) nest too deep, or over too long a list"
    return None


def deepest_loops(source: str) -> int:
    """How deep its comprehensions nest; 0 if there are none. Raise UnclosedError."""
    return _nesting(source)[1]


def _nesting(source: str) -> tuple[int, int, int]:
    """How deep its brackets nest, how deep its comprehensions do, and how many commas there are."""
    depth, commas, deepest_loops = 0, 0, 0
    loops: list[bool] = []
    before = ""
    for _, character in code(source):
        if character in "([{":
            loops.append(character == "(" and _LOOP.search(before) is not None)
            depth, deepest_loops = max(depth, len(loops)), max(deepest_loops, sum(loops))
        elif character in ")]}" and loops:
            loops.pop()
        elif character == ",":
            commas += 1
        if not character.isspace():  # blanks between a name and its bracket mean nothing
            before = (before + character)[-16:]
    return depth, deepest_loops, commas


def bound_names(source: str) -> frozenset[str]:
    """The names that comprehensions in it bind, such as `x` in `list.all(x, x > 0)`."""
    return frozenset(_BOUND.findall(source))

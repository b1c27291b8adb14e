"""How long an expression may take at most, known before it is evaluated.

The engine can't be interrupted and lets nothing else run meanwhile, so what may take long has to be evaluated where it
can be ended. The bound comes from the text of the expression and the size of the variables it reads. It is far above
what is usual, but must never lie below what is possible.

- Reading a field copies what the field before it holds, so every name may cost as much as all variables together.
- `+` makes texts and lists longer; a comprehension does all that is in it for each item.
- What makes large values out of small ones, or takes time that the text does not tell, has no bound here at all.

The figures are microseconds, some twice the most that was measured with common-expression-language 0.10.
"""

import math
import re
from collections.abc import Iterable, Set
from typing import Any, Final, NamedTuple

from entresol_manifests.functions import CATALOG, OWN
from entresol_manifests.sources import code, deepest_loops, literal_end

STEP: Final = 0.4
"""An operator or a name."""
UNIT: Final = 0.2
"""Copying or comparing one unit: a number, an item, a key, or 16 characters of a text."""
OWN_CALL: Final = 10.0
"""Calling a function of ours; OWN_UNIT more for each unit of the text it gets."""
OWN_UNIT: Final = 2.0
PATTERN: Final = 20.0
"""Preparing a regular expression; PATTERN_CHARACTER more for each of its characters, and MATCHED for each of them and
each unit of the text it is held against."""
PATTERN_CHARACTER: Final = 5.0
MATCHED: Final = 1.0
ENTITY_UNITS: Final = 500
"""What is assumed of an entity of the catalog. A larger one costs more, but no more than reading it did."""
LARGEST: Final = 50_000
"""Units that are counted at most: what is larger has no bound."""
ITEM_CHARACTERS: Final = 16

_UNBOUNDED_CALLS: Final = frozenset({"map", "filter", "replace", "split", "join"})
_CALL = re.compile(r"[A-Za-z_]\w*(?=\s*\()")
_OPERATION = re.compile(r"\w+|[-+*/%<>=!&|?\[{\"]")
_CONSTANT_LIST = re.compile(r"(?<![\w)\]])\[[\d.,\"\s-]*\]")
_IN_LIST = re.compile(r"\bin\[")
_LIST_OR_MAP = re.compile(r"(?<![\w)\]])\[|\{")
_MATCHES = re.compile(r"\.\s*matches\s*\(\s*")
_PLAIN_PATTERN = re.compile(r"(?:[^\\{]|\\{1,2}[^\w\\{]){0,200}")
"""No counted repetition and no class such as `\\w`, both of which stand for a lot; as it is written in the source."""


class Size(NamedTuple):
    """How large values are: all their units, and the items of the longest list or map among them."""

    units: float = 0
    items: float = 0


class Weight(NamedTuple):
    """Microseconds as a polynomial: by nesting of comprehensions, per unit and fixed. Weights can be added up."""

    per_unit: tuple[float, float, float]
    fixed: tuple[float, float, float]
    items: int = 0
    """Of the longest list in the text itself."""

    @property
    def bounded(self) -> bool:
        """Whether there is a bound at all."""
        return not math.isinf(sum(self.fixed))

    def microseconds(self, size: Size) -> float:
        """The bound for variables of this size; infinite if there is none."""
        if math.isinf(size.units):
            return math.inf
        units, rounds = size.units, size.items + self.items
        once, looped, nested = self.per_unit
        first, second, third = self.fixed
        return once * units + first + rounds * (looped * units + second + rounds * (nested * units + third))


_TEXTS: Final = (str, bytes)
_HOLDERS: Final = (dict, list, tuple)
UNBOUNDED: Final = Weight((0, 0, 0), (math.inf, 0, 0))


def weigh(source: str, calls: Set[str]) -> Weight:
    """The weight of an expression that compiles and calls these functions."""
    bare = _bare(source)
    called = _CALL.findall(bare)
    if not _UNBOUNDED_CALLS.isdisjoint(called):
        return UNBOUNDED
    loops = deepest_loops(source)
    pluses = bare.count("+")
    if calls & CATALOG and (loops or pluses):
        return UNBOUNDED
    constant = _CONSTANT_LIST.sub("0", _IN_LIST.sub("in [", bare))
    if loops and _LIST_OR_MAP.search(constant):
        return UNBOUNDED
    pattern_lengths = _patterns(source)
    if pattern_lengths is None or len(pattern_lengths) != called.count("matches"):
        return UNBOUNDED
    own = sum(name in OWN for name in called)
    operations = len(_OPERATION.findall(bare))
    per_unit = operations * UNIT + own * OWN_UNIT + sum(pattern_lengths) * MATCHED
    fixed = operations * STEP + own * OWN_CALL + sum(PATTERN + each * PATTERN_CHARACTER for each in pattern_lengths)
    growth = (pluses + 1) ** (loops + 1)
    units = len(source) / ITEM_CHARACTERS + (ENTITY_UNITS if calls & CATALOG else 0)
    rounds = (pluses + 1) ** (loops * loops)
    costs = [0.0] * 3
    fixes = [0.0] * 3
    costs[loops] = rounds * growth * per_unit
    fixes[loops] = rounds * (growth * per_unit * units + fixed)
    return Weight((costs[0], costs[1], costs[2]), (fixes[0], fixes[1], fixes[2]), bare.count(",") + 1)


def together(weights: Iterable[Weight]) -> Weight:
    """The weight of all of them, one after the other, over variables that are as large as those of all."""
    per_unit, fixed, items = [0.0] * 3, [0.0] * 3, 0
    for weight in weights:
        for place in range(3):
            per_unit[place] += weight.per_unit[place]
            fixed[place] += weight.fixed[place]
        items = max(items, weight.items)
    return Weight((per_unit[0], per_unit[1], per_unit[2]), (fixed[0], fixed[1], fixed[2]), items)


def measure(value: Any) -> Size:
    """The size of a value; infinite if it is LARGEST or more."""
    units, longest = 0, 0
    waiting: list[Any] = [(value,)]
    while waiting:
        several = waiting.pop()
        if isinstance(several, dict):
            several = (*several, *several.values())
        if units + len(several) >= LARGEST:
            return Size(math.inf, math.inf)
        for each in several:
            units += 1
            if isinstance(each, _TEXTS):
                units += len(each) // ITEM_CHARACTERS
            elif isinstance(each, _HOLDERS):
                longest = max(longest, len(each))
                waiting.append(each)
    return Size(units, longest) if units < LARGEST else Size(math.inf, math.inf)


def _bare(source: str) -> str:
    """The code, with `"` for each literal and each comment."""
    parts: list[str] = []
    end = 0
    for place, character in code(source):
        if place > end:
            parts.append('"')
        parts.append(" " if character.isspace() else character)
        end = place + 1
    return "".join(parts) + ('"' if end < len(source) else "")


def _patterns(source: str) -> list[int] | None:
    """The lengths of the patterns given to `matches`; None if one is not plain, or no literal."""
    lengths: list[int] = []
    places = {place for place, _ in code(source)}
    for found in _MATCHES.finditer(source):
        if found.start() not in places:
            continue
        begin = found.end()
        end = literal_end(source, begin)
        if end is None or source[end:].lstrip()[:1] != ")":
            return None
        pattern = source[begin:end].lstrip("rR").strip("\"'")
        if not _PLAIN_PATTERN.fullmatch(pattern):
            return None
        lengths.append(len(pattern))
    return lengths

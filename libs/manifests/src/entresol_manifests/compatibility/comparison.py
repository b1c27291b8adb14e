"""Two versions of a schema, side by side.

Both sides may come from outside: references are followed only within the schemas given, and what can't be followed, or
is too large to be walked through, counts as narrower if it differs at all. What is not sure counts as narrower, too:
a document that fitted before and is refused now was always told of, but for fields that are new in what took any.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import jsonschema_rs

from entresol_manifests.compatibility.exclusion import apart
from entresol_manifests.compatibility.references import ANNOTATIONS, IDENTITY, Place, Schema, Spot, Tree, resolve
from entresol_manifests.compatibility.values import (
    Change,
    keyword_changes,
    type_changes,
    types,
    value_changes,
)

SUBSCHEMAS: Final = ("additionalProperties", "items", "propertyNames", "unevaluatedItems", "unevaluatedProperties")
BRANCHES: Final = ("allOf", "anyOf", "oneOf")
CONDITION: Final = ("if", "then", "else")
EXTENSION: Final = "x-"
"""What begins so says nothing about documents."""
WALKED: Final = {"type", "enum", "const", "required", "properties", "patternProperties", "prefixItems", "contains"}
COMPARED: Final = {*WALKED, "dependentRequired", "dependentSchemas", "not", *SUBSCHEMAS, *BRANCHES, *CONDITION}

MOST_PAIRS: Final = 20_000
DEEPEST: Final = 100


class Comparison:
    """Walks two versions of one schema side by side, through references, each pair of spots once.

    `notes` are keywords that say nothing about documents to those who read them here.
    """

    def __init__(self, before: Tree, after: Tree, notes: Iterable[str] = ()) -> None:
        self._before = before
        self._after = after
        self._notes = frozenset(notes)
        self._seen: dict[tuple[str, str], None] = {}
        self._walked = 0

    def changes(self, file: str) -> list[Change]:
        found = list(self._walk((self._before[file], Place(file)), (self._after[file], Place(file)), 0))
        return [*found, Change("narrows", Place(file), "it is too large to be compared")] if self._gave_up else found

    @property
    def _gave_up(self) -> bool:
        return self._walked > MOST_PAIRS

    def _walk(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        old_one, new_one = resolve(self._before, *before), resolve(self._after, *after)
        if old_one is None or new_one is None:
            if self._before != self._after:
                yield Change("narrows", after[1], "a reference that can't be followed stands in something that changed")
            return
        (old, was, old_key), (new, now, new_key) = old_one, new_one
        if (old_key, new_key) in self._seen or self._gave_up:
            return
        self._seen[old_key, new_key] = None
        self._walked = self._walked + 1 if depth <= DEEPEST else MOST_PAIRS + 1
        if self._gave_up:
            return
        if old is False or new is False:
            if old is not new:
                yield (
                    Change("narrows", now, "nothing fits any more") if new is False else Change("widens", now, "opened")
                )
        else:
            yield from self._rules((old, was), (new, now), depth)

    def _rules(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, _), (new, now) = before, after
        yield from type_changes(old, new, now / "type")
        yield from value_changes(old, new, now)
        for keyword in sorted((old.keys() | new.keys()) - COMPARED - ANNOTATIONS - IDENTITY - self._notes):
            if not keyword.startswith(EXTENSION):
                yield from keyword_changes(keyword, old, new, now)
        yield from _required(old, new, now)
        yield from self._properties(before, after, depth)
        yield from self._patterns(before, after, depth)
        yield from self._items(before, after, depth)
        yield from self._contains(before, after, depth)
        for keyword in SUBSCHEMAS:
            if keyword in old or keyword in new:
                yield from self._subschema(keyword, before, after, depth)
        yield from self._dependent(before, after, depth)
        yield from self._negation(before, after, depth)
        yield from self._condition(before, after, depth)
        yield from self._all(before, after, depth)
        for keyword in ("anyOf", "oneOf"):
            yield from self._any(keyword, before, after, depth)

    def _tried(self, before: Spot, after: Spot, depth: int) -> list[Change] | None:
        """What changed between the two, if that narrows nothing; as if it had not been looked at otherwise.

        Pairs that are being walked count as if they narrowed nothing: if they do, that is told where they are walked.
        """
        self._walked += 1
        seen = len(self._seen)
        found = list(self._walk(before, after, depth + 1))
        if self._gave_up or any(each.effect == "narrows" for each in found):
            while len(self._seen) > seen:
                self._seen.popitem()
            return None
        return found

    def _apart_from(self, before: Spot, after: Spot, depth: int, *, turned: bool = False) -> list[Change]:
        """What changed between the two, looked at anew; `turned`: from the later to the earlier."""
        trees = (self._after, self._before) if turned else (self._before, self._after)
        alone = Comparison(*trees, self._notes)
        alone._walked = self._walked
        found = list(alone._walk(after, before, depth + 1) if turned else alone._walk(before, after, depth + 1))
        self._walked = alone._walked
        return found

    def _properties(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        had, has = old.get("properties", {}), new.get("properties", {})
        for name in sorted(had.keys() | has.keys()):
            place = now / "properties" / name
            if name not in has:
                told = Change("narrows", place, f"property `{name}` was removed or renamed")
                yield Change("widens", place, told.what) if had[name] is False else told
            elif name in had:
                yield from self._walk((had[name], was / "properties" / name), (has[name], place), depth + 1)
            else:
                yield Change("adds", place, f"property `{name}` was added")
                # What took any field is not held to have meant this one; what said how such a field is, did.
                if isinstance(rest := old.get("additionalProperties"), dict) and rest:
                    yield from self._walk((rest, was / "additionalProperties"), (has[name], place), depth + 1)

    def _patterns(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        had, has = old.get("patternProperties", {}), new.get("patternProperties", {})
        for pattern in sorted(had.keys() | has.keys()):
            place, spot = now / "patternProperties" / pattern, (was / "patternProperties" / pattern)
            if pattern in had and pattern in has:
                yield from self._walk((had[pattern], spot), (has[pattern], place), depth + 1)
            elif pattern in had:
                rest = (new.get("additionalProperties", True), now / "additionalProperties")
                yield from self._walk((had[pattern], spot), rest, depth + 1)
            elif any(_matches(pattern, name) for name in old.get("properties", {})) or had:
                yield Change("narrows", place, f"fields that match `{pattern}` are limited now")
            else:
                rest = (old.get("additionalProperties", True), was / "additionalProperties")
                yield from self._walk(rest, (has[pattern], place), depth + 1)

    def _items(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        def at(spot: Spot, index: int) -> Spot:
            listed = spot[0].get("prefixItems", ())
            if index < len(listed):
                return listed[index], spot[1] / "prefixItems" / index
            return spot[0].get("items", True), spot[1] / "items"

        for index in range(max(len(each[0].get("prefixItems", ())) for each in (before, after))):
            yield from self._walk(at(before, index), at(after, index), depth + 1)

    def _contains(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        if "contains" not in old and "contains" in new:
            if new.get("minContains") != 0:
                yield Change("narrows", now / "contains", "`contains` was added")
        elif "contains" not in new and "contains" in old:
            yield Change("widens", now / "contains", "`contains` was removed")
        elif "contains" in old:
            pair = (old["contains"], was / "contains"), (new["contains"], now / "contains")
            if "maxContains" in new and old["contains"] != new["contains"]:
                yield Change("narrows", now / "contains", "`contains` changed, and limits how many there may be")
            yield from self._walk(*pair, depth + 1)

    def _subschema(self, keyword: str, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        old, new, place = before[0].get(keyword, True), after[0].get(keyword, True), after[1] / keyword
        if new is False and old is not False:
            yield Change("narrows", place, f"`{keyword}: false` was added")
        elif old is False and new is not False:
            yield Change("widens", place, f"`{keyword}: false` was taken away")
        else:
            yield from self._walk((old, before[1] / keyword), (new, place), depth + 1)

    def _dependent(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        had, has = old.get("dependentRequired", {}), new.get("dependentRequired", {})
        for name in sorted(has):
            more = set(has[name]) - set(had.get(name, ())) - set(old.get("required", ()))
            for other in sorted(more):
                yield Change("narrows", now / "dependentRequired" / name, f"`{other}` is newly required with `{name}`")
        if any(set(had[name]) - set(has.get(name, ())) for name in had):
            yield Change("widens", now / "dependentRequired", "less is required with others")
        had, has = old.get("dependentSchemas", {}), new.get("dependentSchemas", {})
        for name in sorted(has):
            spot = had.get(name, True), was / "dependentSchemas" / name
            yield from self._walk(spot, (has[name], now / "dependentSchemas" / name), depth + 1)
        if had.keys() - has.keys():
            yield Change("widens", now / "dependentSchemas", "a dependent schema was removed")

    def _negation(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        place = now / "not"
        if "not" not in new:
            if "not" in old:
                yield Change("widens", place, "`not` was removed")
        elif "not" not in old:
            yield Change("narrows", place, "`not` was added")
        else:
            found = self._apart_from((old["not"], was / "not"), (new["not"], place), depth, turned=True)
            if any(each.effect != "widens" for each in found):
                yield Change("narrows", place, "`not` changed")
            elif found:
                yield Change("widens", place, "`not` changed")

    def _condition(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        (old, was), (new, now) = before, after
        if "if" not in new or not {"then", "else"} & new.keys():
            if "if" in old and {"then", "else"} & old.keys():
                yield Change("widens", now / "if", "a condition was removed")
            return
        if "if" not in old:
            yield Change("narrows", now / "if", "a condition was added")
            return
        spots = (old["if"], was / "if"), (new["if"], now / "if")
        if old["if"] != new["if"] or self._apart_from(*spots, depth):
            yield Change("narrows", now / "if", "a condition changed")
            return
        for keyword in ("then", "else"):
            spots = (old.get(keyword, True), was / keyword), (new.get(keyword, True), now / keyword)
            yield from self._walk(*spots, depth + 1)

    def _all(self, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        had, has = _branches("allOf", before), _branches("allOf", after)
        for index, branch in enumerate(has):
            if self._gave_up:
                return
            told = self._first([(each, branch) for each in (*_nearest(had, index), before)], depth)
            if told is not None:
                yield from told
            elif index < len(had):
                yield from self._walk(had[index], branch, depth + 1)
            else:
                yield Change("narrows", after[1] / "allOf", "a branch was added")
        if len(had) > len(has):
            yield Change("widens", after[1] / "allOf", "a branch was removed")

    def _any(self, keyword: str, before: Spot, after: Spot, depth: int) -> Iterator[Change]:
        had, has, place = _branches(keyword, before), _branches(keyword, after), after[1] / keyword
        if keyword == "anyOf" and not had:
            had = _branches("oneOf", before)
        if not has:
            if keyword in before[0]:
                yield Change("widens", place, "a branch was removed")
            return
        told: list[Change] = []
        for index, branch in enumerate(had or [before]):
            if self._gave_up:
                return
            changes = self._first([(branch, each) for each in _nearest(has, index)], depth)
            if changes is not None:
                told += changes
            elif had and index < len(has):
                told += self._walk(branch, has[index], depth + 1)
            else:
                what = "a branch was removed" if had else "a branch was added"
                told.append(Change("narrows", place, what))
        if had and len(has) > len(had):
            told.append(Change("widens", place, "a branch was added"))
        yield from told
        if keyword == "anyOf" or any(each.effect == "narrows" for each in told):
            return
        known = [branch for branch, _ in had]
        same = not told and len(had) == len(has) and all(branch in known for branch, _ in has)
        if not same and not apart(self._after, has, types(after[0])):
            yield Change("narrows", place, "what fitted one branch may fit several now")

    def _first(self, pairs: Iterable[tuple[Spot, Spot]], depth: int) -> list[Change] | None:
        """What changed between the first two of which nothing is narrowed; None if there are no such two."""
        tried = (self._tried(*pair, depth) for pair in pairs if not self._gave_up)
        return next((each for each in tried if each is not None), None)


def _required(old: Schema, new: Schema, now: Place) -> Iterator[Change]:
    was, required = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(required - was):
        yield Change("narrows", now / "required", f"`{name}` is newly required")
    for name in sorted(was - required):
        yield Change("widens", now / "required", f"`{name}` is no longer required")


def _branches(keyword: str, spot: Spot) -> list[Spot]:
    return [(branch, spot[1] / keyword / index) for index, branch in enumerate(spot[0].get(keyword, ()))]


def _nearest(branches: list[Spot], index: int) -> list[Spot]:
    """All of them, the one in this place first."""
    return [*branches[index : index + 1], *branches[:index], *branches[index + 1 :]]


def _matches(pattern: str, name: str) -> bool:
    """In linear time, because both come from outside."""
    check = jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
    return check.is_valid(name)

"""When an offering's resources end, and when somebody looks whether they are still what they should be."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_contracts import EVENT_TYPES

from entresol_manifests import durations
from entresol_manifests.findings import Finding, meant
from entresol_manifests.naming import HINT, check_expression, event_fields

SHORTEST_DRIFT_SECONDS: Final = 10
LONGEST_PATH: Final = 1000
OUTSIDE: Final = ("change.", "artifact.", "pipeline.", "deployment.", "alert.", "external.")
"""What others report."""

_TYPES: Final = frozenset(known.type for known in EVENT_TYPES)
_HINTING: Final = frozenset(known.type for known in EVENT_TYPES if known.fact.startswith(OUTSIDE))
"""A look makes facts of our own, so a look because of such a fact would be followed by another."""


def check_lifetime(lifetime: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What is wrong with a lifetime; nothing if there is none."""
    if lifetime is None:
        return
    lengths: dict[str, float] = {}
    warnings = {f"warn/{index}": text for index, text in enumerate(lifetime.get("warn", []))}
    for key, text in {**{key: lifetime[key] for key in ("default", "max") if key in lifetime}, **warnings}.items():
        try:
            lengths[key] = durations.seconds(text)
        except ValueError as error:
            yield Finding(f"/spec/lifetime/{key}", str(error))
    default, longest = lengths.get("default"), lengths.get("max")
    if default == 0 or longest == 0:
        yield Finding("/spec/lifetime", "a lifetime must be longer than nothing")
    if default is not None and longest is not None and default > longest:
        yield Finding("/spec/lifetime/default", f"the default {lifetime['default']} is longer than the max")
    end = default if default is not None else longest
    for key in warnings:
        if end is not None and lengths.get(key, 0) >= end:
            yield Finding(f"/spec/lifetime/{key}", "the warning would come before the lifetime begins")


def check_drift(drift: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What is wrong with how drift is looked for; nothing if nobody looks."""
    if drift is None:
        return
    if "every" not in drift and not drift.get("hints"):
        yield Finding("/spec/drift", "nobody would ever look: say every, or hints")
    if "every" in drift:
        try:
            if durations.seconds(drift["every"]) < SHORTEST_DRIFT_SECONDS:
                yield Finding("/spec/drift/every", f"must be {SHORTEST_DRIFT_SECONDS}s at least")
        except ValueError as error:
            yield Finding("/spec/drift/every", str(error))
    for index, pattern in enumerate(drift.get("tolerate", [])):
        yield from _pattern(pattern, f"/spec/drift/tolerate/{index}")
    for index, hint in enumerate(drift.get("hints", [])):
        yield from _hint(hint, f"/spec/drift/hints/{index}")


def _pattern(pattern: str, pointer: str) -> Iterator[Finding]:
    if len(pattern) > LONGEST_PATH or not pattern.isprintable():
        yield Finding(pointer, f"must be a path of at most {LONGEST_PATH} printable characters")
    elif any("**" in part and part != "**" for part in pattern.split("/")):
        yield Finding(pointer, "** stands for whole parts: it has nothing but / beside it")
    elif set(pattern) <= {"*", "/"} and "**" in pattern:
        yield Finding(pointer, "tolerates everything; to have nobody look, leave drift out")


def _hint(hint: Mapping[str, Any], pointer: str) -> Iterator[Finding]:
    if hint["on"] not in _TYPES:
        yield Finding(f"{pointer}/on", f"there is no event type {hint['on']}{meant(hint['on'], _HINTING)}")
    elif hint["on"] not in _HINTING:
        reported = ", ".join(f"{each}*" for each in OUTSIDE)
        yield Finding(f"{pointer}/on", f"a hint is something that others report: {reported}")
    if "when" in hint:
        yield from check_expression(hint["when"], f"{pointer}/when", {**event_fields([hint["on"]]), **HINT})

"""The steps of an action: an order that works, and readers that get what they read."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from entresol_manifests.expressions import ExpressionError
from entresol_manifests.findings import Finding, meant
from entresol_manifests.folders import FOLDER_KEYS
from entresol_manifests.naming import Fields, check_expression, check_placeholders
from entresol_manifests.offerings.calls import answered, check_calls
from entresol_manifests.offerings.outputs import (
    OUTPUTS,
    Declared,
    can_be,
    check_declared,
    check_read,
    check_required,
    reads,
)
from entresol_manifests.placeholders import placeholders
from entresol_manifests.policies import length

VERBATIM: Final = ("/files",)
"""What of a step's `with` holds no placeholders of ours: inlined files have `${…}` of their own."""

Steps = Sequence[Mapping[str, Any]]


def check_steps(steps: Steps, pointer: str, fields: Fields, required: Collection[str]) -> Iterator[Finding]:
    """What is wrong with the steps of one action; `required` are the names of the resources that are there before."""
    needs: dict[str, set[str]] = {}
    for index, step in enumerate(steps):
        if step["name"] in needs:
            yield Finding(f"{pointer}/{index}/name", f"there are two steps named {step['name']}")
        needs.setdefault(step["name"], set()).update(step.get("needs", []))
    for index, step in enumerate(steps):
        for number, needed in enumerate(step.get("needs", [])):
            if needed not in needs:
                hint = meant(needed, needs)
                yield Finding(f"{pointer}/{index}/needs/{number}", f"there is no step {needed} in this action{hint}")
    before = {name: _before(name, needs) for name in needs}
    circle = sorted(name for name, earlier in before.items() if name in earlier)
    if circle:
        yield Finding(pointer, f"steps wait for each other in a circle: {', '.join(circle)}")
    declared = {step["name"]: declared_by(step) for step in steps}
    for index, step in enumerate(steps):
        place = f"{pointer}/{index}"
        yield from _step(step, place, fields)
        ended = before[step["name"]]
        for where, source in _expressions(step):
            yield from _order(source, place + where, ended, declared)
        for where, source in _undoing(step):
            yield from _order(source, place + where, ended | {step["name"]}, declared)
    yield from check_reads(steps, pointer, declared, required)


def check_reads(
    steps: Steps, pointer: str, declared: Mapping[str, Declared], required: Collection[str]
) -> Iterator[Finding]:
    """What these steps read that the steps, which give what is declared, do not give."""
    for index, step in enumerate(steps):
        place = f"{pointer}/{index}"
        for where, source in (*_expressions(step), *_undoing(step)):
            yield from _read(source, place + where, declared, required)
        yield from _condition(step, f"{place}/when", declared)


def declared_by(step: Mapping[str, Any]) -> Declared:
    """The outputs that a step says it gives; None if it does not say, or says what is no schema."""
    declared: Declared = step.get(OUTPUTS)
    return None if any(check_declared(declared, "")) else declared


def sources(value: Any) -> list[tuple[str, str]]:
    """Pointer and source of each `${…}` in a value; nothing if one does not end, which is told elsewhere."""
    try:
        return list(placeholders(value, verbatim=VERBATIM))
    except ExpressionError:
        return []


def _before(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    """The steps that have ended when this one starts; itself among them if they go round in a circle."""
    found: set[str] = set()
    waiting = list(needs.get(name, ()))
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += needs.get(each, ())
    return found


def _step(step: Mapping[str, Any], pointer: str, fields: Fields) -> Iterator[Finding]:
    if "when" in step:
        yield from check_expression(step["when"], f"{pointer}/when", fields)
    for key in ("timeout", "backoff"):
        yield from length(step.get(key), f"{pointer}/{key}")
    yield from check_declared(step.get(OUTPUTS), f"{pointer}/{OUTPUTS}")
    yield from _given(step["driver"], step.get("with", {}), f"{pointer}/with", fields)
    if "compensate" in step:
        undo = step["compensate"]
        yield from _given(undo.get("driver", step["driver"]), undo["with"], f"{pointer}/compensate/with", fields)


def _given(driver: str, given: Mapping[str, Any], pointer: str, fields: Fields) -> Iterator[Finding]:
    """What is wrong with what a driver is given."""
    yield from check_placeholders(given, pointer, fields, VERBATIM)
    key = FOLDER_KEYS.get(driver)
    if key is not None and key in given:
        yield Finding(f"{pointer}/{key}", "names a folder; publish the file with `entresol apply`, which inlines it")
    if driver == "http":
        yield from check_calls(given, pointer, fields)
    if driver == "gitops" and ("destination" in given) == ("repository" in given):
        yield Finding(pointer, "a gitops step has either a destination or a repository")


def _expressions(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = step.get("with", {})
    yield from ((f"/with{place}", source) for place, source in sources(given))
    if step["driver"] == "http":
        yield from ((f"/with{place}", source) for place, source in answered(given))
    if "when" in step:
        yield "/when", step["when"]


def _undoing(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = step.get("compensate", {}).get("with", {})
    yield from ((f"/compensate/with{place}", source) for place, source in sources(given))


def _order(source: str, pointer: str, ended: Collection[str], siblings: Collection[str]) -> Iterator[Finding]:
    for name in sorted({read.name for read in reads(source) if read.root == "steps"} - set(ended)):
        if name in siblings:
            yield Finding(pointer, f"reads the outputs of step {name}, which must be among its needs")
        else:
            yield Finding(pointer, f"reads the outputs of step {name}, which does not exist{meant(name, siblings)}")


def _read(source: str, pointer: str, declared: Mapping[str, Declared], required: Collection[str]) -> Iterator[Finding]:
    for read in reads(source):
        if read.root == "requires":
            yield from check_required(read, pointer, required)
        elif read.name in declared:
            yield from check_read(read, pointer, [declared[read.name]], of=f"step {read.name}")


def _condition(step: Mapping[str, Any], pointer: str, declared: Mapping[str, Declared]) -> Iterator[Finding]:
    for read in reads(step.get("when", "")):
        if read.whole and read.name in declared and not can_be(read, [declared[read.name]], "boolean"):
            yield Finding(pointer, f"must be true or false, but {read} is declared as something else")

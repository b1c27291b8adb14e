"""What policies, windows, quotas and scorecards must hold beyond their schemas."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from entresol_manifests import durations
from entresol_manifests.expressions import ExpressionError, compile_expression
from entresol_manifests.findings import Finding
from entresol_manifests.naming import BEFORE_PLAN, POLICY, QUOTA, SCORECARD, check_expression, check_placeholders

DEFAULT_WITHIN: Final = "24h"
"""How long people are asked if an approve-rule does not say it."""
LONGEST_WINDOW: Final = 3_660 * 86_400
"""A window that is open for ten years is always open."""

_PERSON = re.compile(r"(?:user|group):.+|owner:[^/]+/.+", re.DOTALL)


def check_policy(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of a policy that fits its schema."""
    if "when" in spec:
        if _names_plan(spec["when"]):
            yield Finding("/spec/when", "names plan: put that into a rule; the `when` says which requests")
        yield from check_expression(spec["when"], "/spec/when", POLICY)
    for index, rule in enumerate(spec["rules"]):
        pointer = f"/spec/rules/{index}"
        for key in ("deny", "when"):
            if key in rule:
                yield from check_expression(rule[key], f"{pointer}/{key}", POLICY)
        if "approve" in rule:
            yield from _approve(rule["approve"], f"{pointer}/approve")
        if "breakGlass" in rule:
            review = rule["breakGlass"]["review"]
            yield from _plain(rule["breakGlass"]["by"], f"{pointer}/breakGlass/by")
            yield from _people(review["from"], f"{pointer}/breakGlass/review/from")
            yield from length(review.get("within"), f"{pointer}/breakGlass/review/within")


def check_window(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of a window that fits its schema."""
    if "when" in spec:
        yield from check_expression(spec["when"], "/spec/when", BEFORE_PLAN)
    for key in ("duration", "expect"):
        yield from length(spec.get(key), f"/spec/{key}")
    if (_seconds(spec["duration"]) or 0) > LONGEST_WINDOW:
        yield Finding("/spec/duration", f"a window is open for {LONGEST_WINDOW // 86_400:,} days at most")
    if spec.get("outlast", "finish") != "finish" and "expect" not in spec:
        yield Finding("/spec/outlast", "needs `expect`, how long a run takes, to know whether it outlasts")
    yield from _cron(spec["cron"])
    yield from _plain(spec.get("override", ()), "/spec/override")
    try:
        ZoneInfo(spec.get("timeZone", "UTC"))
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a directory of zones
        yield Finding("/spec/timeZone", "is no time zone that is known; it takes a name such as Europe/Berlin")


def check_quota(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of a quota that fits its schema."""
    for key in ("when", "per", "sum"):
        if key in spec:
            yield from check_expression(spec[key], f"/spec/{key}", QUOTA)


def check_scorecard(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of a scorecard that fits its schema."""
    levels: set[str] = set()
    rules: set[str] = set()
    for index, level in enumerate(spec["levels"]):
        if level["name"] in levels:
            yield Finding(f"/spec/levels/{index}/name", f"there are two levels named {level['name']}")
        levels.add(level["name"])
        for number, rule in enumerate(level["rules"]):
            pointer = f"/spec/levels/{index}/rules/{number}"
            if rule["name"] in rules:
                yield Finding(f"{pointer}/name", f"there are two rules named {rule['name']}")
            rules.add(rule["name"])
            yield from check_expression(rule["holds"], f"{pointer}/holds", SCORECARD)


def length(text: str | None, pointer: str) -> Iterator[Finding]:
    """What is wrong with a length of time, which has to be longer than nothing; nothing if there is none."""
    if text is None:
        return
    try:
        if durations.seconds(text) <= 0:
            yield Finding(pointer, "must be longer than nothing")
    except ValueError as error:
        yield Finding(pointer, str(error))


def _approve(approve: Mapping[str, Any], pointer: str) -> Iterator[Finding]:
    yield from _people(approve["from"], f"{pointer}/from")
    if approve.get("all") and "count" in approve:
        yield Finding(f"{pointer}/count", "leave it out: with `all`, each of `from` has to grant")
    within, escalate = approve.get("within", DEFAULT_WITHIN), approve.get("escalate", {})
    yield from length(within, f"{pointer}/within")
    for key, text in (("remind", approve.get("remind")), ("escalate/after", escalate.get("after"))):
        yield from length(text, f"{pointer}/{key}")
        earlier, end = _seconds(text), _seconds(within)
        if earlier is not None and end is not None and earlier >= end:
            yield Finding(f"{pointer}/{key}", f"would come too late: people are asked for {within} (`within`)")
    yield from _people(escalate.get("to", ()), f"{pointer}/escalate/to")
    named = {*approve["from"], *escalate.get("to", ())}
    wanted = approve.get("count", 1)
    if len(named) < wanted and all(one.startswith("user:") and "${" not in one for one in named):
        yield Finding(f"{pointer}/count", f"can't be reached: {wanted} have to grant, and {len(named)} may")


def _plain(entries: Sequence[str], pointer: str) -> Iterator[Finding]:
    """Nobody is called `${…}`: these are not filled in."""
    for index, entry in enumerate(entries):
        if "${" in entry:
            yield Finding(f"{pointer}/{index}", "is taken as it is written, without ${…}: name a person or a group")


def _people(entries: Sequence[str], pointer: str) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        if not _PERSON.fullmatch(entry):
            yield Finding(f"{pointer}/{index}", "must be user:NAME, group:NAME or owner:BLUEPRINT/IDENTIFIER")
        yield from check_placeholders(entry, f"{pointer}/{index}", POLICY)


def _cron(text: str) -> Iterator[Finding]:
    if len(text.split()) != 5:
        yield Finding("/spec/cron", "takes five fields: minute, hour, day of month, month, day of week")
        return
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        yield Finding("/spec/cron", f"{str(error).lower()}, or no such day ever comes")


def _names_plan(source: str) -> bool:
    try:
        return "plan" in compile_expression(source).names()
    except ExpressionError:
        return False  # it is told why it does not compile


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else durations.seconds(text)
    except ValueError:
        return None

"""Read manifests into the domain: policies, quotas and windows, ready to be held against requests.

What can't be read is not left out: it denies whatever it would have judged, and says why, unless it only audits.
Intake refuses such manifests; one that slipped through must not open the gate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from entresol_contracts.manifests import Approve, ApproveRule, BreakGlassRule, DenyRule
from entresol_contracts.manifests import Policy as PolicyManifest
from entresol_contracts.manifests import Quota as QuotaManifest
from entresol_contracts.manifests import Window as WindowManifest
from entresol_manifests.durations import seconds
from entresol_manifests.expressions import ExpressionError, compile_expression
from entresol_manifests.guard import shortened
from pydantic import ValidationError

from entresol_policy.calendar import Schedule
from entresol_policy.domain import windows
from entresol_policy.domain.judging import Ask, Breaking, Escalation, Policy, Rule
from entresol_policy.domain.quotas import Quota

DEFAULT_WITHIN = "24h"
DEFAULT_REVIEW = "3d"


@dataclass(frozen=True, slots=True)
class Window:
    """A window in force; whether it is about a request is for its `when` to say."""

    name: str
    when: str | None
    window: windows.Window | None
    """None if it is unusable."""
    unusable: str | None = None


def read_policy(name: str, version: str, manifest: Mapping[str, Any]) -> Policy:
    """The policy; one that always fails to evaluate if the manifest is not usable."""
    try:
        spec = PolicyManifest.model_validate(manifest).spec
    except ValidationError as error:
        mode = "audit" if _spec(manifest).get("mode") == "audit" else "enforce"
        return Policy(name, version, mode, None, (), unusable=_invalid(error))  # type: ignore[arg-type]
    rules = tuple(_rule(rule) for rule in spec.rules)
    return Policy(
        name=name,
        version=version,
        mode=spec.mode or "enforce",
        when=spec.when,
        rules=rules,
        looks_at_plan=spec.plan is True or any(one.looks_at_plan for one in rules),
    )


def _rule(rule: DenyRule | ApproveRule | BreakGlassRule) -> Rule:
    try:
        if isinstance(rule, DenyRule):
            return _conditioned(rule.deny, "deny", rule.because)
        if isinstance(rule, BreakGlassRule):
            given = rule.breakGlass
            within = timedelta(seconds=seconds(given.review.within or DEFAULT_REVIEW))
            breaking = Breaking(tuple(given.by), tuple(given.review.from_), within)
            return _conditioned(rule.when, breaking, rule.because)
        return _conditioned(rule.when, _ask(rule.approve), rule.because)
    except ValueError as error:  # a length of time that is none
        return Rule("deny", None, None, unusable=str(error))


def _conditioned(condition: str | None, does: Any, because: str | None) -> Rule:
    return Rule(does, condition, because, looks_at_plan=_names_plan(condition))


def _names_plan(condition: str | None) -> bool:
    if condition is None:
        return False
    try:
        return "plan" in compile_expression(condition).names()
    except ExpressionError:
        return False  # it is heard all the same, and denies


def _ask(approve: Approve) -> Ask:
    return Ask(
        approvers=tuple(approve.from_),
        count=len(approve.from_) if approve.all else approve.count or 1,
        all=approve.all is True,
        within=timedelta(seconds=seconds(approve.within or DEFAULT_WITHIN)),
        not_self=approve.notSelf is not False,
        remind=None if approve.remind is None else timedelta(seconds=seconds(approve.remind)),
        escalation=None
        if approve.escalate is None
        else Escalation(timedelta(seconds=seconds(approve.escalate.after)), tuple(approve.escalate.to)),
    )


def read_quota(name: str, manifest: Mapping[str, Any]) -> Quota:
    """The quota; one that can't be counted if the manifest is not usable."""
    try:
        spec = QuotaManifest.model_validate(manifest).spec
    except ValidationError as error:
        return Quota(name, None, None, None, 0, None, _invalid(error))
    return Quota(name, spec.when, spec.per, spec.sum, spec.limit, spec.because)


def read_window(name: str, manifest: Mapping[str, Any]) -> Window:
    """The window; one that lets nothing begin if the manifest is not usable."""
    try:
        spec = WindowManifest.model_validate(manifest).spec
        window = windows.Window(
            name=name,
            effect=spec.effect,
            because=spec.because,
            schedule=Schedule(spec.cron, timedelta(seconds=seconds(spec.duration)), spec.timeZone or "UTC"),
            outlast=spec.outlast or "finish",
            expected_seconds=None if spec.expect is None else seconds(spec.expect),
            override=tuple(spec.override or ()),
        )
    except ValidationError as error:
        return Window(name, None, None, _invalid(error))
    except ValueError as error:
        return Window(name, None, None, shortened(str(error)))
    return Window(name, spec.when, window)


def _spec(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = manifest.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _invalid(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = "/".join(["", *map(str, first["loc"])])
    return shortened(f"the manifest is not valid at {place}: {first['msg'].lower()}")

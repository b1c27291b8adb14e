"""Turn policy manifests into rules that can be held against requests, and requests into what rules may name.

A policy that can't be read or compiled is not left out: it denies whatever it would have judged, and says why, unless
it only audits. Intake refuses such manifests; one that slipped through must not open the gate.

Requests of the platform itself, such as the deletion of an expired resource by `system:expiry`, pass the same gate.
A policy exempts them in its condition: `when: actor.id != "system:expiry" && request.environment == "prod"`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from entresol_contracts.events import RequestSubmitted
from entresol_contracts.manifests import Approve, ApproveRule, DenyRule
from entresol_contracts.manifests import Policy as PolicyManifest
from entresol_eventing.envelope import Event
from entresol_manifests.durations import seconds
from entresol_manifests.expressions import ExpressionError, Scope, compile_expression
from pydantic import ValidationError

from entresol_policy.domain.judging import Ask, Condition, Policy, Rule, Unclear

DEFAULT_WITHIN = "24h"
MAX_REASON = 500
"""Characters of an error that go into a verdict; it may quote an expression of 4 kB."""


def scope(event: Event[RequestSubmitted]) -> Scope:
    """What the expressions of policies may name; raise Unclear if the request holds what CEL can't."""
    request = event.data
    try:
        return Scope(
            request={
                "id": request.request_id,
                "resource": request.resource_id,
                "project": request.project,
                "environment": request.environment,
                "offering": request.offering,
                "version": request.offering_version,
                "action": request.action,
                "name": request.name,
                "inputs": request.inputs,
                "dry_run": request.dry_run,
                "lifetime_seconds": request.lifetime_seconds,
                "reason": request.reason,
            },
            actor={"id": request.actor.id, "groups": request.actor.groups},
            now=event.time,
        )
    except ExpressionError as error:
        raise Unclear(_shortened(error)) from None


def compile_policy(name: str, version: str, manifest: Mapping[str, Any]) -> Policy:
    """The policy, ready to judge; one that always fails to evaluate if the manifest is not usable."""
    try:
        spec = PolicyManifest.model_validate(manifest).spec
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(["", *map(str, first["loc"])])
        return _unusable(name, version, manifest, f"the manifest is not valid at {place}: {first['msg'].lower()}")
    return Policy(
        name=name,
        version=version,
        mode=spec.mode or "enforce",
        when=None if spec.when is None else _condition(spec.when),
        rules=tuple(_rule(rule) for rule in spec.rules),
    )


def _unusable(name: str, version: str, manifest: Mapping[str, Any], reason: str) -> Policy:
    spec = manifest.get("spec")
    audits = isinstance(spec, Mapping) and spec.get("mode") == "audit"
    return Policy(name, version, "audit" if audits else "enforce", _never_clear(reason), ())


def _rule(rule: DenyRule | ApproveRule) -> Rule:
    if isinstance(rule, DenyRule):
        return Rule("deny", _condition(rule.deny), rule.because)
    try:
        ask = _ask(rule.approve)
    except ValueError as error:
        return Rule("approve", _never_clear(f"its `within`: {error}"), rule.because)
    return Rule("approve", None if rule.when is None else _condition(rule.when), rule.because, ask)


def _ask(approve: Approve) -> Ask:
    return Ask(
        approvers=tuple(approve.from_),
        count=approve.count or 1,
        within=timedelta(seconds=seconds(approve.within or DEFAULT_WITHIN)),
        not_self=approve.notSelf is not False,
    )


def _condition(source: str) -> Condition:
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        return _never_clear(_shortened(error))

    def holds(scope: Scope) -> bool:
        try:
            return expression.holds(scope)
        except ExpressionError as error:
            raise Unclear(_shortened(error)) from None

    return holds


def _never_clear(reason: str) -> Condition:
    def holds(scope: Scope) -> bool:
        raise Unclear(reason)

    return holds


def _shortened(error: ExpressionError) -> str:
    text = error.message
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON // 2]} … {text[-MAX_REASON // 2 :]}"

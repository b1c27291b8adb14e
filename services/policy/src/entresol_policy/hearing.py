"""What the expressions of policies, windows and quotas may name, and what they say.

- `request`, `actor`, `now` and, once there is one, `plan`; `catalog.entity(…)` and `catalog.knows(…)`; for quotas,
  `resource`.
- The catalog is policy's own projection of it, so an expression reads what policy was told of.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from entresol_contracts import Payload
from entresol_contracts.events import RequestSubmitted, RunPlanned
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.guard import shortened
from entresol_manifests.placeholders import interpolate

from entresol_policy.domain.judging import Unclear
from entresol_policy.evaluation import Evaluator

FindEntity: TypeAlias = Callable[[str, str], Mapping[str, Any] | None]
"""The entity of that blueprint and identifier, with its scorecards; None if there is none."""


class Hearing:
    """Evaluates expressions about one request, or about one resource."""

    def __init__(self, evaluator: Evaluator, find: FindEntity, **variables: Any) -> None:
        self._evaluator = evaluator
        self._find = find
        # They must not lead back to the scope: the engine holds them, and no collector sees through it.
        functions: dict[str, Callable[..., Any]] = {"entity": partial(_entity, find), "knows": partial(_knows, find)}
        self._scope = Scope(functions=functions, catalog={}, **variables)

    def holds(self, condition: str) -> bool:
        return self._evaluator.holds(condition, self._scope)

    def each_holds(self, conditions: Sequence[str]) -> list[bool | Unclear]:
        return self._evaluator.each_holds(conditions, self._scope)

    def value(self, expression: str) -> Any:
        return self._evaluator.evaluate(expression, self._scope)

    def people(self, entries: Sequence[str]) -> tuple[str, ...]:
        """Who is meant: `${…}` filled in, and `owner:…` replaced by whom the catalog names. Raise Unclear."""
        found: list[str] = []
        for entry in entries:
            try:
                who = interpolate(entry, self._scope, evaluate=self._evaluator.evaluate)
            except ExpressionError as error:
                raise Unclear(shortened(error.message)) from None
            found += self._owners(who) if who.startswith("owner:") else [who]
        return tuple(dict.fromkeys(found))

    def _owners(self, who: str) -> list[str]:
        blueprint, _, identifier = who.removeprefix("owner:").partition("/")
        try:
            team = _entity(self._find, {}, blueprint, identifier).get("team")
        except ValueError as error:
            raise Unclear(f"nobody can be asked: {error}") from None
        teams = [team] if isinstance(team, str) else [one for one in team or [] if isinstance(one, str)]
        if not any(teams):
            raise Unclear(f"nobody can be asked: the catalog names no owner of {blueprint} {identifier}")
        return [one if one.startswith(("user:", "group:")) else f"group:{one}" for one in teams if one]


def _entity(find: FindEntity, _: object, blueprint: object, identifier: object) -> Mapping[str, Any]:
    if not isinstance(blueprint, str) or not isinstance(identifier, str):
        raise TypeError("needs the names of a blueprint and of an entity")
    found = find(blueprint, identifier)
    if found is None:
        raise ValueError(f"the catalog has no {blueprint[:100]} {identifier[:100]}")
    return found


def _knows(find: FindEntity, _: object, blueprint: object, identifier: object) -> bool:
    return isinstance(blueprint, str) and isinstance(identifier, str) and bool(find(blueprint, identifier))


def about_request(
    request: RequestSubmitted, at: datetime, plan: RunPlanned | None, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables of a request that is examined at that time; `inputs` are those that its steps will see."""
    variables: dict[str, Any] = {
        "request": {
            "id": request.request_id,
            "resource": request.resource_id,
            "project": request.project,
            "environment": request.environment,
            "offering": request.offering,
            "version": request.offering_version,
            "action": request.action,
            "name": request.name,
            "inputs": inputs,
            "asked": request.inputs,
            "dry_run": request.dry_run,
            "lifetime_seconds": request.lifetime_seconds,
            "reason": request.reason,
            "trigger": request.trigger,
            "break_glass": request.break_glass,
            "class": request.class_,
            "orphan": request.orphan,
            "snapshot": _plain(request.snapshot),
            "requirement": _plain(request.requirement),
        },
        "actor": {"id": request.actor.id, "groups": request.actor.groups},
        "now": at,
    }
    if plan is not None:
        variables["plan"] = about_plan(plan)
    return variables


def _plain(part: Payload | None) -> dict[str, Any] | None:
    """With every field, so that a rule may ask whether one is null."""
    return None if part is None else part.model_dump()


def about_plan(plan: RunPlanned) -> dict[str, Any]:
    """`plan.cost` is there only if the offering tells it."""
    known: dict[str, Any] = {
        "digest": plan.digest,
        "adds": plan.adds,
        "changes": plan.changes,
        "destroys": plan.destroys,
        "unknown": plan.unknown or [],
        "resources": [one.model_dump(exclude_none=True) for one in plan.resources or []],
        "steps": [one.model_dump(exclude_none=True) for one in plan.steps],
    }
    return known if plan.cost is None else {**known, "cost": float(plan.cost)}

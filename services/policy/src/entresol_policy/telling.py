"""What policy found, as its events tell it."""

from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from entresol_contracts.events import Hold as HoldTold
from entresol_contracts.events import PlanOutline, QuotaUse, RunPlanned
from entresol_contracts.events import Verdict as VerdictTold
from entresol_eventing.reactions import Emit

from entresol_policy.counting import quota_rows
from entresol_policy.domain.decisions import Hold, Situation
from entresol_policy.domain.judging import Verdict
from entresol_policy.looking import Seen
from entresol_policy.store.cases import Case

OUTLINED = 20
"""Lines of a plan that go with a question; the rest is in the plan."""


def about(case: Case, payload: type[Any], **fields: Any) -> Emit:
    """A fact about the request."""
    request = case.request
    names = {"request_id": case.id, "resource_id": request.resource_id, "project": request.project}
    return Emit(payload(**names, **fields), subject=case.id, partitionkey=request.resource_id)


def findings(seen: Seen) -> dict[str, Any]:
    """What every decision tells of its reasons."""
    situation = seen.situation
    return {
        "verdicts": verdicts(situation),
        "unconcerned": list(situation.judgement.unconcerned) or None,
        "plan_digest": situation.plan_digest,
        "quotas": quotas(situation),
        "policies": seen.policies or None,
    }


def quotas(situation: Situation) -> list[QuotaUse] | None:
    """None if no quota counts the request."""
    return [QuotaUse(**one) for one in quota_rows(situation.quotas)] or None


def verdicts(situation: Situation) -> list[VerdictTold]:
    return list(map(_verdict_told, situation.judgement.verdicts))


@lru_cache(maxsize=4096)
def _verdict_told(verdict: Verdict) -> VerdictTold:
    """Most rules say the same of most requests; making the model costs more than hearing the rule."""
    return VerdictTold(**asdict(verdict))


def outline(plan: RunPlanned) -> PlanOutline:
    lines = [line for step in plan.steps for line in step.summary or []]
    return PlanOutline(
        digest=plan.digest,
        adds=plan.adds,
        changes=plan.changes,
        destroys=plan.destroys,
        cost=plan.cost,
        unknown=plan.unknown,
        summary=[line[:500] for line in lines[:OUTLINED]],
    )


def hold_told(hold: Hold) -> HoldTold:
    return HoldTold(
        kind=hold.kind,
        name=hold.name,
        because=hold.because,
        by=hold.by,
        until=hold.until,
        override=list(hold.override) or None,
    )


def all_holds(holds: Iterable[Hold]) -> list[dict[str, Any]]:
    """As they are stored and told."""
    return [hold_told(one).model_dump(mode="json", exclude_none=True) for one in holds]

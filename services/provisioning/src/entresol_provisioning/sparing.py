"""What is said of a step without acting: that it can't be planned yet, is not needed, or is as it was."""

from typing import Any

from entresol_manifests.expressions import compile_expression
from entresol_manifests.placeholders import placeholders

from entresol_provisioning import plans
from entresol_provisioning.claims import APPLY, UNDO, Intent
from entresol_provisioning.domain.offering import RESOURCE
from entresol_provisioning.drivers import Plan, PlanOutdated
from entresol_provisioning.plans import SKIPPED, UNCHANGED, outline
from entresol_provisioning.scopes import VERBATIM
from entresol_provisioning.verdicts import Verdict


def verdict(intent: Intent, state: Any, **fields: Any) -> Verdict:
    known, memory = intent.footprint is not None, intent.memory
    begun = memory if memory.get("withdraws") and intent.given_up is None else {}
    return Verdict(*intent.key, attempt=intent.attempt, state=state, act=intent.act, known=known, begun=begun, **fields)


def failed(intent: Intent, reason: str, **fields: Any) -> Verdict:
    """It has failed for good. What is let go of may stay where it is."""
    if intent.destroys and intent.request.orphan and not intent.request.plans:
        return verdict(intent, "succeeded", message=reason, kept=reason, **fields)
    return verdict(intent, "failed", message=reason, **fields)


def unknown(intent: Intent) -> str:
    """Steps whose outputs this one needs to be planned, and which are only known after they were applied."""
    texts = [source for _, source in placeholders(dict(intent.step.with_), verbatim=VERBATIM)]
    if intent.step.when is not None:
        texts.append(intent.step.when)
    missing = [name for name in intent.step.needs if name not in intent.outputs]
    if missing and any({"steps", "requires"} & compile_expression(text).names() for text in texts):
        return ", ".join(missing)
    return ""


def after_apply(intent: Intent, waits_for: str) -> dict[str, Any]:
    return plans.after_apply(intent.step.name, intent.step.driver, waits_for, there=intent.previous is not None)


def not_needed(intent: Intent) -> Verdict:
    if intent.held not in (None, SKIPPED):
        raise PlanOutdated
    return verdict(intent, "skipped", message=f"not needed: {intent.step.when}")


def is_unchanged(intent: Intent, fingerprint: str) -> bool:
    """Whether an update finds nothing new for the step. What another resource gives may differ behind its name."""
    if intent.request.action not in ("update", "rollback") or intent.act != APPLY or intent.step.driver == RESOURCE:
        return False
    if intent.footprint is None or intent.memory or intent.key[1].startswith(UNDO):
        return False
    return intent.footprint.fingerprint == fingerprint and intent.footprint.run_id != intent.key[0]


def unchanged(intent: Intent) -> Verdict:
    """Nothing is done. What would be done otherwise was not approved, so that is another plan."""
    if intent.request.plans:
        plan = outline(intent.step.name, intent.step.driver, Plan(digest=UNCHANGED))
        return verdict(intent, "succeeded", plan=plan)
    if intent.held not in (None, UNCHANGED):
        raise PlanOutdated
    return verdict(intent, "succeeded", message="unchanged", outputs=dict(intent.previous or {}))

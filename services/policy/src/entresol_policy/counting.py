"""Count resources in quotas, and say what a request would add.

The shares of resources are kept up to date as resources change, and counted anew when a quota does.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from entresol_contracts.events import RequestSubmitted, ResourceChanged, ResourceProvisioned
from sqlmodel import Session

from entresol_policy import projecting
from entresol_policy.books import InForce
from entresol_policy.domain.judging import Unclear, Waiver
from entresol_policy.domain.quotas import ALL, Quota, Share, Use
from entresol_policy.evaluation import Evaluator
from entresol_policy.hearing import Hearing
from entresol_policy.store import entities, shares

NEW = frozenset({"create", "adopt"})
"""Actions by which a resource begins to count."""
COUNTED = NEW | {"update", "rollback", "reconcile"}
"""Actions that are held against quotas. A delete makes room when it is done."""
RESERVING = COUNTED - {"reconcile"}
"""Actions that change what a resource counts. A reconcile does not, and nobody says of it that it has come about."""


class Counting:
    """Keeps the shares of quotas."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def uses(
        self,
        session: Session,
        request: RequestSubmitted,
        inputs: Mapping[str, Any],
        in_force: InForce,
        waivers: Collection[Waiver],
    ) -> list[Use]:
        """What each quota that counts the request has, and what the request would add."""
        if not in_force.quotas or request.action not in COUNTED:
            return []
        wanted = _wanted(session, request, inputs)
        hearing = self._hearing(session, wanted)
        found: list[Use] = []
        for quota in in_force.quotas:
            counted = count(quota, hearing)
            if counted is None:
                continue
            waived_by = next((one.id for one in waivers if one.waives == f"Quota/{quota.name}"), None)
            if isinstance(counted, str):
                use = Use(quota.name, ALL, 0, 0, quota.limit, quota.because, [counted], waived_by)
            else:
                others, uncounted = shares.used(session, quota.name, counted.per, without=request.resource_id)
                own = shares.counted(session, quota.name, request.resource_id)
                asked = max(0.0, counted.amount - own)
                use = Use(
                    quota.name, counted.per, others + own, asked, quota.limit, quota.because, uncounted, waived_by
                )
            found.append(use)
        return found

    def reserve(
        self, session: Session, request: RequestSubmitted, inputs: Mapping[str, Any], in_force: InForce
    ) -> None:
        """What the request was allowed counts from now on, until it has come about or can't any more."""
        if not in_force.quotas or request.action not in RESERVING or request.dry_run:
            return
        wanted = _wanted(session, request, inputs)
        shares.release(session, request.request_id)
        shares.reserve(session, request.request_id, wanted)
        self._reserve(session, request.request_id, wanted, in_force.quotas)

    def settle(self, session: Session, fact: ResourceProvisioned | ResourceChanged, in_force: InForce) -> None:
        """The resource is as it is now; the request that made it so reserves nothing more."""
        projecting.keep_resource(fact, session)
        if in_force.quotas:
            shares.release(session, fact.request_id)
            self._count(session, projecting.document_of(fact), in_force.quotas)

    def recount(self, session: Session, quota: Quota) -> None:
        """Count everything anew in one transaction, so that the quota is never in force half counted.

        What was allowed and has not come about yet counts as well.
        """
        shares.forget_quota(session, quota.name)
        for document in list(shares.resources(session)):
            self._count(session, document, (quota,))
        for request_id, document in shares.reservations(session):
            self._reserve(session, request_id, document, (quota,))

    def _reserve(self, session: Session, request_id: str, wanted: Mapping[str, Any], quotas: Collection[Quota]) -> None:
        hearing = self._hearing(session, wanted)
        counted = ((one.name, count(one, hearing)) for one in quotas)
        rows = [(name, wanted["id"], request_id, share) for name, share in counted if share is not None]
        shares.record(session, rows)

    def _count(self, session: Session, document: Mapping[str, Any], quotas: Collection[Quota]) -> None:
        hearing = self._hearing(session, document)
        for quota in quotas:
            shares.unrecorded(session, quota.name, document["id"], shares.AS_IT_IS)
            counted = count(quota, hearing)
            if counted is not None:
                counted = f"{document['id']}: {counted}" if isinstance(counted, str) else counted
                shares.record(session, [(quota.name, document["id"], shares.AS_IT_IS, counted)])

    def _hearing(self, session: Session, resource: Mapping[str, Any]) -> Hearing:
        return Hearing(self._evaluator, partial(entities.find, session), resource=resource)


def count(quota: Quota, hearing: Hearing) -> Share | str | None:
    """What the resource counts; None if it does not, and a text that says why it can't be counted."""
    try:
        if quota.unusable is not None:
            raise Unclear(quota.unusable)
        if quota.when is not None and not hearing.holds(quota.when):
            return None
        per = ALL if quota.per is None else _text(hearing.value(quota.per), quota.per)
        amount = 1.0 if quota.sum is None else _amount(hearing.value(quota.sum), quota.sum)
    except Unclear as unclear:
        return str(unclear)
    return Share(per, amount)


def _wanted(session: Session, request: RequestSubmitted, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The resource as the request would make it."""
    known = None if request.action in NEW else shares.find_resource(session, request.resource_id)
    return {
        "id": request.resource_id,
        "project": request.project,
        "environment": request.environment,
        "offering": request.offering,
        "version": request.offering_version,
        "name": request.name,
        "inputs": dict(inputs),
        "owner": (known or {}).get("owner", request.actor.id),
    }


def _text(value: Any, source: str) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float | list) and value:
        return json.dumps(value)
    raise Unclear(f"`{source}` must name somebody whose share it is, but is empty")


def _amount(value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise Unclear(f"`{source}` must be a number from 0")
    return float(value)


def quota_rows(uses: Collection[Use]) -> Iterator[dict[str, Any]]:
    """As events tell it."""
    for one in uses:
        yield {
            "quota": one.quota,
            "per": one.per or None,
            "used": one.used,
            "asked": one.asked,
            "limit": one.limit,
            "exceeded": one.exceeded or None,
            "waived_by": one.waived_by,
        }

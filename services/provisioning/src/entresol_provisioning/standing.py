"""What provisioning counts for its metrics: resources that are not as they should be, and steps that wait."""

from datetime import datetime, timedelta
from typing import Final

from entresol_eventing.envelope import now
from entresol_eventing.telemetry import Metrics
from sqlalchemy import ColumnElement, String, case, cast, func, select
from sqlmodel import Session

from entresol_provisioning.domain.offering import REQUIRES
from entresol_provisioning.tables import resource, step

SOON: Final = timedelta(days=1)


def show(metrics: Metrics, service: str, session: Session) -> None:
    """Set the gauges to what is so now."""
    gauges = (metrics.drifted, metrics.unobserved, metrics.paused, metrics.expiring, metrics.expired)
    for gauge, count in zip(gauges, _resources(session, now()), strict=True):
        gauge.labels(service).set(count)
    metrics.suspended.labels(service).set(_suspended(session))


def _resources(session: Session, at: datetime) -> tuple[int, ...]:
    """Drifted, unobserved, paused, expiring and expired ones."""
    lives = resource.c.state == "provisioned"
    counted = (
        _known(cast(resource.c.drift, String)),
        resource.c.unobserved,
        _known(cast(resource.c.paused, String)),
        lives & (resource.c.expires_at <= at + SOON),
        resource.c.state == "expired",
    )
    query = select(*(func.count(case((one, 1))) for one in counted)).where(resource.c.state != "deleted")
    return tuple(session.connection().execute(query).one())


def _known(text: ColumnElement[str]) -> ColumnElement[bool]:
    return text.is_not(None) & (text != "null")


def _suspended(session: Session) -> int:
    """Without those that stand for another resource, which is made meanwhile."""
    query = select(func.count()).where(step.c.state == "suspended", step.c.name.not_like(f"%{REQUIRES}%"))
    count: int = session.connection().execute(query).scalar_one()
    return count

"""What policy counts for its metrics: questions that are open, and exceptions that are in force."""

from entresol_eventing.telemetry import Metrics
from sqlalchemy import func, select
from sqlmodel import Session

from entresol_policy.store import books, cases


def show(metrics: Metrics, service: str, session: Session) -> None:
    """Set the gauges to what is so now."""
    metrics.approvals.labels(service).set(cases.open_questions(session))
    for gauge, table in ((metrics.locks, books.lock), (metrics.waivers, books.waiver)):
        query = select(func.count()).select_from(table)
        gauge.labels(service).set(session.connection().execute(query).scalar_one())

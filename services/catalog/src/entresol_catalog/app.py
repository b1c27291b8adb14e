"""Composition of the catalog: the one read door. Nothing happens at import."""

import sys
from functools import partial
from pathlib import Path

from entresol_eventing import rebuild_command, run
from entresol_eventing.pull import Linger
from entresol_eventing.reactions import Reactions
from entresol_eventing.rebuilding import Projection
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

from entresol_catalog import workers
from entresol_catalog.handlers.judging import KIND, Judge
from entresol_catalog.handlers.projection import projection
from entresol_catalog.http.app import build
from entresol_catalog.http.tail import Tail
from entresol_catalog.settings import Settings
from entresol_catalog.store.tables import metadata

MIGRATIONS = Path(__file__).parent / "migrations"
SUBJECTS = tuple(
    f"entresol.{publisher}.>" for publisher in ("intake", "policy", "provisioning", "notification", "catalog")
)
"""Every publisher's, and its own: what it says comes back by the log, and into history in the log's order."""

URGENT = frozenset(
    {
        *("approval.requested", "request.held", "run.suspended", "token.issued", "token.revoked"),
        *("request.denied", "approval.rejected", "approval.expired"),
        *("run.succeeded", "run.failed", "run.cancelled"),
    }
)
"""What ends a request, makes it wait for people, or decides who may look, is taken at once; the rest waits a moment."""


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    """The service, not started."""
    tail, judge = Tail(), Judge()
    service = Service(
        name="catalog",
        settings=settings,
        reactions=Reactions(
            to_batch=projection(settings.patience_seconds, judge),
            when_due={KIND: judge.walk},
            longest_waits={KIND: 0.0},
            forget=judge.forget,
        ),
        metadata=metadata,
        migrations=MIGRATIONS,
        subjects=SUBJECTS,
        workers=(
            tail.work,
            partial(workers.watch, every_seconds=settings.watch_seconds, patience_seconds=settings.patience_seconds),
        ),
        telemetry=telemetry,
        linger=Linger(0.05, URGENT),
        show=workers.show,
    )
    service.http = build(service, settings, tail)
    return service


def rebuildable(settings: Settings) -> Projection:
    """Everything the catalog keeps: all of it is folded from the log.

    When to look at a request again is the watch's own time: it depends on these settings and on what was told already.
    """
    return Projection(
        service="catalog",
        handler=projection(settings.patience_seconds),
        metadata=metadata,
        migrations=MIGRATIONS,
        own_time={"request": frozenset({"check_at"})},
    )


def main() -> None:
    """`entresol-catalog` runs the service; `entresol-catalog rebuild` rebuilds or compares its projection."""
    if sys.argv[1:2] == ["rebuild"]:
        sys.exit(rebuild_command.main(rebuildable, Settings, sys.argv[2:]))
    run.main(create, Settings)

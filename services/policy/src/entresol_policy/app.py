"""Put policy together: it reads manifests, requests, answers and plans from the log, and has no door."""

import sys
from datetime import timedelta
from pathlib import Path

from entresol_eventing import rebuild_command, run
from entresol_eventing.rebuilding import Projection
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

from entresol_policy import projecting
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.settings import Settings
from entresol_policy.standing import show
from entresol_policy.store import Base
from entresol_policy.workers import Sweep

MIGRATIONS = Path(__file__).parent / "migrations"
SUBJECTS = (
    "entresol.intake.manifest.>",
    "entresol.intake.request.>",
    "entresol.intake.approval.>",
    "entresol.intake.answer.>",
    "entresol.intake.hold.>",
    "entresol.intake.lock.>",
    "entresol.intake.waiver.>",
    "entresol.provisioning.run.planned.>",
    "entresol.provisioning.run.failed.>",
    "entresol.provisioning.run.cancelled.>",
    "entresol.provisioning.resource.provisioned.>",
    "entresol.provisioning.resource.changed.>",
    "entresol.provisioning.resource.deleted.>",
    "entresol.catalog.entity.>",
    "entresol.catalog.scorecard.>",
)


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    return Service(
        name="policy",
        settings=settings,
        reactions=Gate(Evaluator()).reactions(),
        metadata=Base.metadata,
        migrations=MIGRATIONS,
        subjects=SUBJECTS,
        workers=(Sweep(timedelta(days=settings.keep_days)).work,),
        telemetry=telemetry,
        show=show,
    )


def rebuildable(settings: Settings) -> Projection:
    """What policy keeps of what others have said. What it decided itself is its own, and not touched."""
    return Projection(
        service="policy",
        handler=projecting.project,
        metadata=projecting.metadata,
        migrations=MIGRATIONS,
        announce=projecting.announce,
    )


def main() -> None:
    """`entresol-policy` runs the service; `entresol-policy rebuild` rebuilds or compares what it knows of others."""
    if sys.argv[1:2] == ["rebuild"]:
        sys.exit(rebuild_command.main(rebuildable, Settings, sys.argv[2:]))
    run.main(create, Settings)

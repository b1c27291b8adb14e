"""Put policy together: it reads manifests, requests, answers and plans from the log, and has no door."""

from datetime import timedelta
from pathlib import Path

from entresol_eventing import run
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

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


def main() -> None:
    run.main(create, Settings)

"""Put policy together: it reads manifests, requests and answers from the log, and has no door and no worker."""

from pathlib import Path

from entresol_eventing import run
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

from entresol_policy.handlers import Gate
from entresol_policy.settings import Settings
from entresol_policy.store import Base

MIGRATIONS = Path(__file__).parent / "migrations"
SUBJECTS = ("entresol.intake.manifest.>", "entresol.intake.request.>", "entresol.intake.approval.>")


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    return Service(
        name="policy",
        settings=settings,
        reactions=Gate().reactions(),
        metadata=Base.metadata,
        migrations=MIGRATIONS,
        subjects=SUBJECTS,
        telemetry=telemetry,
    )


def main() -> None:
    run.main(create, Settings)

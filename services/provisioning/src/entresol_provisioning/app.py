"""Provisioning put together; nothing happens before the service is started."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from entresol_eventing import run
from entresol_eventing.pull import Linger
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

from entresol_provisioning.announcing import announce
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.handlers import OUTSIDE, Handlers
from entresol_provisioning.observing import Observer
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.requirements import Requirements
from entresol_provisioning.runs import Runs
from entresol_provisioning.settings import Settings
from entresol_provisioning.standing import show
from entresol_provisioning.tables import Base
from entresol_provisioning.waits import RETRY
from entresol_provisioning.workers import StepWorker

MIGRATIONS = Path(__file__).parent / "migrations"
SUBJECTS = (
    "entresol.intake.manifest.>",
    "entresol.intake.request.>",
    "entresol.intake.resume.>",
    "entresol.intake.requirement.>",
    "entresol.policy.plan.>",
    "entresol.policy.request.>",
    "entresol.policy.approval.rejected.>",
    "entresol.policy.approval.expired.>",
    *(f"entresol.intake.{aggregate}>" for aggregate in OUTSIDE),
)

URGENT = frozenset({"plan.requested", "request.allowed", "request.cancelled", "manifest.applied", "resume.requested"})
"""What there is something to do for at once; a request that was submitted waits for what becomes of it."""


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    """The service, not yet started."""
    requirements = Requirements()
    installed = assemble(settings)
    drivers = {**installed, requirements.name: requirements}
    offerings = Offerings()
    runs = Runs(offerings, {name: driver.available() for name, driver in drivers.items()})
    handlers = Handlers(offerings, runs)
    service = Service(
        name="provisioning",
        settings=settings,
        reactions=replace(handlers.reactions(), longest_waits={RETRY: settings.retry_longest_seconds}),
        metadata=Base.metadata,
        migrations=MIGRATIONS,
        subjects=SUBJECTS,
        workers=(
            StepWorker(settings, offerings, runs, drivers).work,
            Observer(settings, offerings, drivers).work,
            handlers.hints.work,
        ),
        telemetry=telemetry,
        show=show,
        linger=Linger(0.05, URGENT),
    )
    requirements.bind(service)

    async def say() -> None:
        await service.transact(partial(announce, installed), actor="system:provisioning")

    service.on_start.append(say)
    return service


def main() -> None:
    """Run provisioning as a process of its own."""
    run.main(create, Settings)

"""Composition of intake; nothing happens at import."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

from entresol_contracts.events import (
    AlertFired,
    AlertResolved,
    AnswerCounted,
    AnswerRefused,
    ApprovalRequested,
    ArtifactPublished,
    ChangeMerged,
    ChangeProposed,
    ChangePushed,
    DeploymentReported,
    DriverAnnounced,
    DriverWithdrawn,
    ExternalReceived,
    PipelineFinished,
    RequestDenied,
    RequirementRequested,
    ResourceChanged,
    ResourceConverged,
    ResourceDeleted,
    ResourceDrifted,
    ResourceExpired,
    ResourceExpiring,
    ResourceExtended,
    ResourceObserved,
    ResourcePaused,
    ResourceProvisioned,
    ResourceUnobserved,
    ResourceUnpaused,
    RunCancelled,
    RunFailed,
)
from entresol_eventing import run
from entresol_eventing.access import token_hash
from entresol_eventing.envelope import now
from entresol_eventing.links import read_keys
from entresol_eventing.pull import Linger
from entresol_eventing.reactions import Reactions
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry

from entresol_intake.handlers import ENDINGS, Handlers
from entresol_intake.http import build
from entresol_intake.settings import Settings
from entresol_intake.shelf import Shelf
from entresol_intake.store import Base
from entresol_intake.tokens import Registry, bootstrap
from entresol_intake.workers import sweeping

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SUBJECTS: Final = (
    "entresol.intake.change.>",
    "entresol.intake.artifact.>",
    "entresol.intake.pipeline.>",
    "entresol.intake.deployment.>",
    "entresol.intake.alert.>",
    "entresol.intake.external.>",
    "entresol.policy.approval.requested.>",
    "entresol.policy.approval.granted.>",
    "entresol.policy.approval.rejected.>",
    "entresol.policy.approval.expired.>",
    "entresol.policy.approval.closed.>",
    "entresol.policy.answer.counted.>",
    "entresol.policy.answer.refused.>",
    "entresol.policy.request.denied.>",
    "entresol.provisioning.resource.>",
    "entresol.provisioning.requirement.>",
    "entresol.provisioning.driver.>",
    "entresol.provisioning.run.failed.>",
    "entresol.provisioning.run.cancelled.>",
)
TRIGGERING: Final = (
    ChangePushed,
    ChangeProposed,
    ChangeMerged,
    ArtifactPublished,
    PipelineFinished,
    DeploymentReported,
    AlertFired,
    AlertResolved,
    ExternalReceived,
    ResourceExpiring,
    ResourceExtended,
    ResourceConverged,
    ResourceUnobserved,
    ResourceObserved,
    ResourcePaused,
    ResourceUnpaused,
)
URGENT: Final = frozenset({"approval.requested", "requirement.requested"})
"""Somebody may answer at once, or a run waits; the rest waits a moment for company."""
MIN_TOKEN: Final = 32


def create(settings: Settings, telemetry: Telemetry | None = None) -> Service:
    shelf, registry = Shelf(), Registry()
    handlers = Handlers(shelf)

    def forget() -> None:
        shelf.clear()
        registry.clear()  # a revocation may be stored though nobody was told so

    service = Service(
        name="intake",
        settings=settings,
        reactions=Reactions(
            to={
                **dict.fromkeys(TRIGGERING, handlers.fire),
                ApprovalRequested: handlers.remember_approval,
                **dict.fromkeys(ENDINGS, handlers.close_approval),
                AnswerCounted: handlers.reopen_link,
                AnswerRefused: handlers.reopen_link,
                ResourceProvisioned: handlers.remember,
                ResourceChanged: handlers.remember,
                ResourceDeleted: handlers.forget,
                ResourceExpired: handlers.end,
                ResourceDrifted: handlers.correct,
                RequirementRequested: handlers.require,
                DriverAnnounced: handlers.hear_driver,
                DriverWithdrawn: handlers.lose_driver,
                **dict.fromkeys((RequestDenied, RunFailed, RunCancelled), handlers.close),
            },
            forget=forget,
        ),
        metadata=Base.metadata,
        migrations=MIGRATIONS,
        subjects=SUBJECTS,
        workers=(sweeping(settings),),
        telemetry=telemetry,
        ingest=handlers.ingest,
        linger=Linger(0.05, URGENT),
    )
    service.http = build(service, settings, shelf, registry)
    if settings.admin_token_file is not None:
        service.on_start.append(partial(_admit_admin, service, settings.admin_token_file))
    if settings.link_key_file is not None:
        service.on_start.append(partial(_check_keys, settings.link_key_file))
    return service


async def _check_keys(file: Path) -> None:
    """Fail at start, where an operator looks, and not when the first person follows a link."""
    await asyncio.to_thread(read_keys, file)


async def _admit_admin(service: Service, file: Path) -> None:
    token = (await asyncio.to_thread(file.read_text, "utf-8")).strip()
    if len(token) < MIN_TOKEN:
        raise ValueError(f"{file} holds no token: at least {MIN_TOKEN} characters are needed")
    await service.transact(partial(bootstrap, token_hash(token), now()), actor="system:intake")


def main() -> None:
    run.main(create, Settings)

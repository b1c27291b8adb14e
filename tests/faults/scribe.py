"""A small service on the real runtime, for proofs that need a store and a bus and not the whole platform.

Nothing in its tables keeps it from writing something twice: whatever is doubled shows. It notes what its door takes,
once for each key; hears `change.merged` by the log; rings when a note's deadline comes; its worker files notes.
"""

import asyncio
import json
import sys
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from entresol_contracts.events import ChangeMerged, RequestCancelled
from entresol_eventing import failpoints
from entresol_eventing.envelope import Event, now
from entresol_eventing.http import door
from entresol_eventing.reactions import Deadline, Due, Emit, Outcome, Reactions
from entresol_eventing.run import serve
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.telemetry import Telemetry, configure_logging
from entresol_eventing.writer import Unavailable
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import MetaData, text
from sqlmodel import Session

NAME = "policy"
RING_SECONDS = 0.3
_INSERT = {table: text(f"INSERT INTO {table} (key) VALUES (:key)") for table in ("heard", "noted", "rung")}  # noqa: S608
_KNOWN = text("SELECT 1 FROM noted WHERE key = :key")
_READY = text("SELECT key FROM noted WHERE state = 'ready' ORDER BY position LIMIT 100")
_FILE = text("UPDATE noted SET state = 'filed' WHERE key = :key AND state = 'ready'")


def said(what: str, key: str) -> Emit:
    """What the service says; what it answers is in the subject."""
    subject = f"{what}:{key}"
    return Emit(RequestCancelled(request_id=key, resource_id=key, project="shop", by=f"user:{what}"), subject=subject)


def hear(event: Event[ChangeMerged], session: Session) -> Iterator[Outcome]:
    key = f"{event.data.repository.name}#{event.data.number}"
    session.execute(_INSERT["heard"], {"key": key})
    yield said("heard", key)


def ring(due: Due, session: Session) -> Iterator[Outcome]:
    session.execute(_INSERT["rung"], {"key": due.args["key"]})
    yield said("rung", due.args["key"])


def note(key: str, filling: str, session: Session) -> Generator[Outcome, None, bool]:
    """Note a key, once; return whether it was new. `filling` makes it as large as wanted."""
    if session.execute(_KNOWN, {"key": key}).first() is not None:
        return False
    session.execute(_INSERT["noted"], {"key": key})
    yield Deadline(f"ring:{key}", "ring", now() + timedelta(seconds=RING_SECONDS), {"key": key, "filling": filling})
    yield said("noted", key)
    return True


def file(key: str, session: Session) -> Generator[Outcome, None, None]:
    if session.execute(_FILE, {"key": key}).rowcount:  # type: ignore[attr-defined]
        yield said("filed", key)


async def filing(service: Service) -> None:
    """The worker: files every note, one transaction each, as workers record what they did to the world."""
    async with service.commits.subscribe() as wake:
        while True:
            keys = await service.read(lambda session: list(session.execute(_READY).scalars()))
            try:
                await asyncio.gather(
                    *(service.transact(lambda session, key=key: file(key, session)) for key in keys)  # type: ignore[misc]
                )
            except Unavailable:
                await asyncio.sleep(0.5)
            if not keys:
                await wake.wait(1.0)


def create(settings: RuntimeSettings, telemetry: Telemetry | None = None) -> Service:
    service = Service(
        name=NAME,
        settings=settings,
        reactions=Reactions(to={ChangeMerged: hear}, when_due={"ring": ring}, longest_waits={"ring": RING_SECONDS}),
        metadata=MetaData(),
        migrations=Path(__file__).with_name("scribe_migrations"),
        subjects=("entresol.intake.change.>",),
        workers=(filing,),
        telemetry=telemetry,
    )
    app = door(service, title="scribe")

    @app.post("/notes/{key}")
    async def post(key: str, request: Request) -> Response:
        filling = (await request.body()).decode("ascii")
        new = await service.transact(lambda session: note(key, filling, session))
        return JSONResponse({"new": new}, 202)

    service.http = app
    return service


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.argv[1])
    configure_logging("INFO", "json")
    failpoints.arm(settings.get("failpoint", ""))
    uvloop.run(serve(create(RuntimeSettings(**settings), Telemetry())))


if __name__ == "__main__":
    main()

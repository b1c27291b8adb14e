"""Provisioning: runs per second by driver, how fast resources are compared with the world, and the memory for it.

The service alone, in this process, on a real bus: what intake and policy would say is published ahead, then the clock
runs until the last run has succeeded. Floors are the same programs without us: git's own commits, terraform alone.
"""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import Actor, ManifestApplied, RequestAllowed, RequestSubmitted
from entresol_eventing.envelope import encode, log_subject, new_id, now, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import event, eventually, nats_server, running
from entresol_manifests.digest import digest
from entresol_provisioning import app, tables
from entresol_provisioning.settings import Settings
from sqlalchemy import Select, func, insert, select
from sqlmodel import Session

from tests.bench import machine
from tests.bench.figures import Lives, Row, Spread

AT_ONCE = 200
PATIENCE_SECONDS = 600.0
MODULE = 'variable "size" { type = string }\nresource "terraform_data" "one" { input = var.size }\n'
STEPS: dict[str, dict[str, Any]] = {
    "noop": {"outputs": {"size": "${inputs.size}"}},
    "gitops": {"repository": "bench", "create": True, "files": {"one.yaml": "size: {{ inputs.size | tojson }}\n"}},
    "terraform": {"files": {"main.tf": MODULE}, "variables": {"size": "${inputs.size}"}},
}


def section(scratch: Path, repetitions: int, command: str) -> Lives:
    """Everything about provisioning, in one run."""
    rows = [
        _row(
            "runs of a step that does nothing", repetitions, lambda number: _runs(scratch / f"n{number}", "noop", 3000)
        ),
        _row(
            "gitops: runs, a commit each, to one bare repository",
            repetitions,
            lambda number: _runs(scratch / f"g{number}", "gitops", 1000),
        ),
    ]
    floors = [
        _row("floor: git commit-tree and update-ref", repetitions, lambda number: _git(scratch / f"f{number}", 60))
    ]
    if program := shutil.which("tofu") or shutil.which("terraform"):
        rows.append(
            _row(
                "terraform: runs, a state each",
                repetitions,
                lambda number: _runs(scratch / f"t{number}", "terraform", 12),
            )
        )
        floors.append(
            _row(
                f"floor: {Path(program).name} init, plan, apply, output, one after the other",
                repetitions,
                lambda number: _terraform(program, scratch / f"p{number}", 4),
            )
        )
    looks = _looks(scratch / "looks", "noop", 10_000, repetitions)
    rows.append(Row(what="drift: comparisons of 10,000 resources that leave nothing", per_second=looks.rates))
    found = _looks(scratch / "looks-git", "gitops", 1_000, repetitions)
    rows.append(Row(what="drift: comparisons of 1,000 resources with a repository", per_second=found.rates))
    return Lives(
        command=command,
        database="sqlite",
        machine=machine.description(scratch),
        repetitions=repetitions,
        rows=rows,
        floors=floors,
        resident_mib=looks.resident_mib,
    )


def _row(what: str, repetitions: int, measured: Callable[[int], float]) -> Row:
    return Row(what=what, per_second=Spread.of(measured(number) for number in range(repetitions)))


class Looks:
    """How fast, and with how much memory."""

    def __init__(self, rates: Spread, resident_mib: dict[str, float]) -> None:
        self.rates = rates
        self.resident_mib = resident_mib


def _runs(place: Path, driver: str, count: int) -> float:
    place.mkdir()
    with nats_server(place / "nats") as bus:
        return asyncio.run(_provide(place, bus.url, driver, count))


def _looks(place: Path, driver: str, count: int, repetitions: int) -> Looks:
    place.mkdir()
    with nats_server(place / "nats") as bus:
        return asyncio.run(_look(place, bus.url, driver, count, repetitions))


async def _provide(place: Path, url: str, driver: str, count: int) -> float:
    """Runs per second, from the first that is allowed to the last that has succeeded."""
    async with _provisioning(place, url) as (service, say):
        await say([_offering(driver)])
        requests = list(_requests(count))
        await say([submitted for submitted, _ in requests])
        await _until(service, _are("submitted", count))
        began = time.perf_counter()
        await say([allowed for _, allowed in requests])
        await _until(service, _are("succeeded", count))
        return count / (time.perf_counter() - began)


async def _look(place: Path, url: str, driver: str, count: int, repetitions: int) -> Looks:
    """Comparisons per second, from the moment when all are due to the last that is recorded."""
    async with _provisioning(place, url) as (service, say):
        before = _resident_mib()
        await say([_offering(driver)])
        pairs = [one for pair in _requests(count) for one in pair]
        await say(pairs)
        await _until(service, _are("succeeded", count))
        provided = _resident_mib()
        rates = []
        for _ in range(repetitions):
            began = time.perf_counter()
            await service.transact(_all_due)
            await _until(service, select(func.count() == 0).select_from(tables.look))
            rates.append(count / (time.perf_counter() - began))
        held = {"at the start": before, f"with {count:,} resources": provided, "after looking": _resident_mib()}
        return Looks(Spread.of(rates), held)


def _all_due(session: Session) -> Generator[Outcome, None, None]:
    connection = session.connection()
    ids = connection.execute(select(tables.resource.c.id)).scalars().all()
    connection.execute(insert(tables.look), [{"resource_id": one, "asked_at": now()} for one in ids])
    yield from ()


@asynccontextmanager
async def _provisioning(place: Path, url: str) -> AsyncIterator[tuple[Service, Callable[[Sequence[Payload]], Any]]]:
    service = app.create(Settings(data=place, nats_url=url))
    connection = await connect(service.settings, "intake", "bench")
    log = connection.jetstream(timeout=30)

    async def publish(data: Payload) -> None:
        known = types_by_model()[type(data)]
        envelope = event(data)
        await log.publish(log_subject(known.publisher, known, envelope.subject), encode(envelope))

    async def say(facts: Sequence[Payload]) -> None:
        for start in range(0, len(facts), AT_ONCE):
            await asyncio.gather(*map(publish, facts[start : start + AT_ONCE]))

    try:
        async with running(service):
            yield service, say
    finally:
        await connection.close()


async def _until(service: Service, query: Select[bool]) -> None:
    async def holds() -> bool:
        return bool(await service.read(lambda session: session.execute(query).scalar_one()))

    await eventually(holds, seconds=PATIENCE_SECONDS)


def _are(state: str, count: int) -> Select[bool]:
    return select(func.count() >= count).where(tables.request.c.state == state)


def _offering(driver: str) -> ManifestApplied:
    step = {"name": "only", "driver": driver, "with": STEPS[driver]}
    manifest = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": "thing", "version": "1.0.0"},
        "spec": {"actions": {"create": {"steps": [step]}}, "drift": {"every": "1d"}},
    }
    return ManifestApplied(kind="Offering", name="thing", version="1.0.0", digest=digest(manifest), manifest=manifest)


def _requests(count: int) -> Iterator[tuple[RequestSubmitted, RequestAllowed]]:
    for number in range(count):
        names = {"request_id": new_id(), "resource_id": f"shop/dev/thing/n{number}", "project": "shop"}
        submitted = RequestSubmitted(
            **names,
            offering="thing",
            offering_version="1.0.0",
            action="create",
            environment="dev",
            name=f"n{number}",
            inputs={"size": "small"},
            actor=Actor(id="user:ada", groups=[]),
        )
        yield submitted, RequestAllowed(**names, verdicts=[])


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024**2


def _git(place: Path, count: int) -> float:
    """Commits per second by git's own commands, one after the other, each on disk."""

    def git(*arguments: str, text: str | None = None) -> str:
        command = ["git", "-c", "core.fsync=all", "-c", "user.name=b", "-c", "user.email=b@localhost", *arguments]
        return subprocess.run(command, cwd=place, input=text, capture_output=True, text=True, check=True).stdout.strip()

    place.mkdir()
    git("init", "--quiet", "--bare")
    began = time.perf_counter()
    parent: tuple[str, ...] = ()
    for number in range(count):
        blob = git("hash-object", "-w", "--stdin", text=f"size: {number}\n")
        tree = git("mktree", text=f"100644 blob {blob}\tone.yaml\n")
        commit = git("commit-tree", tree, *parent, "-m", f"create {number}")
        git("update-ref", "refs/heads/main", commit)
        parent = ("-p", commit)
    return count / (time.perf_counter() - began)


def _terraform(program: str, place: Path, count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        directory = place / str(number)
        directory.mkdir(parents=True)
        (directory / "main.tf").write_text(MODULE)
        for arguments in (
            ("init", "-input=false"),
            ("plan", "-input=false", "-out=p", f"-var=size={number}"),
            ("apply", "-input=false", "p"),
            ("output", "-json"),
        ):
            subprocess.run([program, *arguments], cwd=directory, capture_output=True, check=True)
    return count / (time.perf_counter() - began)

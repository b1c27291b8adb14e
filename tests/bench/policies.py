"""Policies: decisions per second of one core, and how fast a draft is run over the past.

A decision is policy's own handler, with a store in memory, without bus and disk: it reads the rules' variables into
the engine, hears every rule, and makes the event that tells it. A replay reads pages of events by HTTP from another
process, which makes them up.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from entresol.doors.client import Client
from entresol.telling.replays import Course
from entresol_contracts.events import Actor, ManifestApplied, RequestSubmitted
from entresol_eventing.reactions import Emit
from entresol_eventing.testing import event, memory_session
from entresol_manifests.engine import cel
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.rules import read_policy
from entresol_policy.store import Base

from tests.bench import machine
from tests.bench.figures import Policies, Row, Spread

POLICIES = 100
RULES = 3
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


def section(scratch: Path, repetitions: int, command: str) -> Policies:
    """Everything about policies, in one run."""
    return Policies(
        command=command,
        database="none",
        machine=machine.description(scratch),
        repetitions=repetitions,
        rows=[*rows(repetitions, 3000), *replay(repetitions, 100_000)],
        floors=floor(repetitions, 200_000),
    )


def rows(repetitions: int, decisions: int) -> list[Row]:
    """Decisions with 100 policies of three rules each, of which one, ten or all are concerned; and with none at all."""
    cases = (
        (f"{POLICIES} policies of {RULES} rules, 1 concerned", 1),
        (f"{POLICIES} policies of {RULES} rules, 10 concerned", 10),
        (f"{POLICIES} policies of {RULES} rules, all concerned", POLICIES),
        ("no policies: reading the request and making the event", 0),
    )
    return [_row(what, (_decisions(concerned, decisions) for _ in range(repetitions))) for what, concerned in cases]


def floor(repetitions: int, evaluations: int) -> list[Row]:
    """The engine alone: one comparison that is compiled and whose variables are read in already."""
    return [_row("floor: the CEL engine, one comparison", (_comparisons(evaluations) for _ in range(repetitions)))]


def replay(repetitions: int, requests: int) -> list[Row]:
    """A draft of one policy over so many past requests, from the first page that is read to the totals."""
    return [_row(f"replay of a draft over {requests:,} past requests", (_replay(requests) for _ in range(repetitions)))]


def _replay(requests: int) -> float:
    command = [sys.executable, "-m", "tests.bench.pages", str(requests)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pages:
        assert pages.stdout is not None
        port = int(pages.stdout.readline())
        draft = read_policy("draft", "sha256:draft", _policy(0, concerned=True).manifest)
        course = Course([draft], datetime.now(UTC) - timedelta(days=30))
        with Client(f"http://127.0.0.1:{port}") as client:
            began = time.perf_counter()
            for _ in course.run(client, None, keep=20):
                pass
            seconds = time.perf_counter() - began
    assert course.totals.requests == requests, course.totals
    return requests / seconds


def _row(what: str, rates: Iterator[float]) -> Row:
    return Row(what=what, per_second=Spread.of(rates))


def _decisions(concerned: int, count: int) -> float:
    evaluator = Evaluator()
    with memory_session(Base.metadata) as session:
        reactions = Gate(evaluator, lambda: AT).reactions()
        for number in range(POLICIES if concerned else 0):
            reactions_to = reactions.to[ManifestApplied]
            list(reactions_to(event(_policy(number, concerned=number < concerned), time=AT), session))
        decide = reactions.to[RequestSubmitted]
        asked = [event(_request(number), time=AT) for number in range(count)]
        list(itertools.chain.from_iterable(decide(one, session) for one in asked[:20]))
        began = time.process_time()
        decided = sum(isinstance(next(iter(decide(one, session))), Emit) for one in asked)
        seconds = time.process_time() - began
    evaluator.close()
    assert decided == count
    return count / seconds


def _policy(number: int, *, concerned: bool) -> ManifestApplied:
    project = "shop" if concerned else f"project-{number}"
    spec = {
        "when": f'request.environment == "prod" && request.project == "{project}"',
        "rules": [
            {"deny": f'has(request.inputs.size) && request.inputs.size == "size-{number}"', "because": "too large"},
            {"deny": f'!("shop" in actor.groups) && request.action == "act-{number}"', "because": "not yours"},
            {
                "deny": f"request.lifetime_seconds != null && request.lifetime_seconds > {90 + number}",
                "because": "long",
            },
        ],
    }
    manifest = {"apiVersion": "entresol.dev/v1", "kind": "Policy", "metadata": {"name": f"p{number}"}, "spec": spec}
    return ManifestApplied(kind="Policy", name=f"p{number}", digest=f"sha256:{number}", manifest=manifest)


def _request(number: int) -> RequestSubmitted:
    inputs: dict[str, Any] = {"size": "small", "replicas": 3, "image": "registry.example/shop/cart", "public": True}
    return RequestSubmitted(
        request_id=f"r{number}",
        resource_id=f"shop/prod/deployment/n{number}",
        project="shop",
        offering="deployment",
        offering_version="1.0.0",
        action="create",
        environment="prod",
        name=f"n{number}",
        inputs=inputs,
        actor=Actor(id="user:ada", groups=["shop", "platform"]),
    )


def _comparisons(count: int) -> float:
    program = cel.compile('request.environment == "prod"')
    context = cel.Context(None, {})
    context.add_variable("request", {"environment": "prod"})
    began = time.process_time()
    for _ in range(count):
        program.execute(context)
    return count / (time.process_time() - began)

"""Tells the demonstration: what is started, what each chain did, what lies in the repositories and the catalog."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text

from entresol.commands.catalog import related
from entresol.demo import chains as acts
from entresol.demo.chains import Chain
from entresol.demo.checks import Check, Seen, judge, look
from entresol.demo.ground import Ground, prepared
from entresol.failures import Code, Failure
from entresol.telling.explain import draw, link
from entresol.telling.facts import fact, says
from entresol.terminal import Terminal, clean, span, table


def tell(terminal: Terminal, keep: Path | None) -> bool:
    """Run everything, print it, and return whether every check holds."""
    began = time.monotonic()
    with _directory(keep) as data, prepared(data) as ground:
        _open(terminal, ground)
        chains = run(ground)
        seen = look(ground, chains)
        found = list(judge(ground, chains, seen))
        memory = ground.child.resident_bytes()
        took = time.monotonic() - began
        whole = all(one.holds for one in found)
        if terminal.json:
            terminal.result(_document(chains, found, took))
            return whole
        _chains(terminal, chains)
        _explained(terminal, chains["approved"])
        _repositories(terminal, chains, seen)
        _catalog(terminal, seen)
        _notifications(terminal, ground)
        _verdict(terminal, found)
        resident = f", {memory / 2**20:.0f} MB resident" if memory else ""
        terminal.out.print(f"\n{span(took * 1000)} in all, ready after {ground.ready_seconds:.1f} s{resident}")
        if keep is not None:
            terminal.out.print(
                Text(f"everything is kept in {keep}; go on with: entresol up --data {keep}", style="dim")
            )
        return whole


def run(ground: Ground) -> dict[str, Chain]:
    """Every chain; those that don't disturb each other at the same time."""
    wrong = _attempt(partial(acts.wrong_inputs, ground.ada))  # alone: it counts what is stored
    together: Mapping[str, partial[Chain]] = {
        "service": partial(acts.new_service, ground.ada, system=ground.system),
        "denied": partial(acts.denied_database, ground.ada),
        "approved": partial(acts.approved_deployment, ground.ada, ground.grace),
        "merged": partial(
            acts.merged_change,
            ground.admin,
            ground.payloads.merged,
            ground.github_secret,
            resource="shop/staging/deployment/hello-world",
        ),
        "artifact": partial(
            acts.published_artifact,
            ground.admin,
            ground.payloads.artifact,
            resource="shop/dev/deployment/myapp",
        ),
        "passing": partial(acts.passing_environment, ground.ada),
    }
    with ThreadPoolExecutor(len(together)) as pool:
        running = {name: pool.submit(_attempt, act) for name, act in together.items()}
    return {name: future.result() for name, future in running.items()} | {"wrong": wrong}


def _attempt(act: "partial[Chain]") -> Chain:
    """The chain, or what kept it from ending: the others are worth telling all the same."""
    try:
        return act()
    except Failure as failure:
        return Chain(act.func.__name__.replace("_", " "), "an end", outcome="stuck", remark=failure.message)


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        if keep.exists():
            raise Failure(f"{keep} exists already; name a new directory", Code.INVALID)
        yield keep.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="entresol-demo-"))
    try:
        yield made / "data"
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _open(terminal: Terminal, ground: Ground) -> None:
    origins = ", ".join(f"{what} from {origin}" for what, origin in ground.payloads.origins.items())
    terminal.remark(f"A platform of its own runs at {ground.child.url}: the bus, five services, two doors.")
    terminal.remark(Text(clean(f"Real input: {origins}.")))
    terminal.remark("Seven chains of events, most of them at the same time …\n")


def _chains(terminal: Terminal, chains: Mapping[str, Chain]) -> None:
    rows = [
        (
            number,
            chain.title,
            Text(chain.outcome, style="green" if chain.outcome == chain.expected else "red"),
            len(chain.events),
            f"{chain.milliseconds:.0f}",
            chain.remark,
        )
        for number, chain in enumerate(chains.values(), start=1)
    ]
    terminal.out.print(table("", "chain", "outcome", "events", "ms", "what came of it", rows=rows))


def _explained(terminal: Terminal, chain: Chain) -> None:
    terminal.out.print(Text("\nWhy the deployment to production is there (entresol explain)", style="bold"))
    shown = [event for event in chain.events if not fact(event).startswith(("notification.", "entity."))]
    terminal.out.print(draw(Text(clean(chain.resource)), link(shown)))


def _repositories(terminal: Terminal, chains: Mapping[str, Chain], seen: Seen) -> None:
    terminal.out.print(Text("\nThe destination's commits (git log)", style="bold"))
    _lines(terminal, seen.commits)
    terminal.out.print(Text("\nThe new service's repository", style="bold"))
    _lines(terminal, seen.service_files)


def _lines(terminal: Terminal, lines: Sequence[str]) -> None:
    for line in lines or ["nothing"]:
        terminal.out.print(Text(f"  {clean(line)}"))


def _catalog(terminal: Terminal, seen: Seen) -> None:
    entities = sorted(seen.entities, key=lambda one: (str(one["blueprint"]), str(one["identifier"])))
    rows = [(one["blueprint"], one["identifier"], related(one)) for one in entities]
    terminal.out.print(Text("\nThe catalog", style="bold"))
    terminal.out.print(table("blueprint", "id", "relations", rows=rows))


def _notifications(terminal: Terminal, ground: Ground) -> None:
    terminal.out.print(Text("\nWhat the team's tool was told (signed webhooks)", style="bold"))
    _lines(terminal, [f"{fact(one.event)}: {says(one.event)}" for one in ground.receiver.taken])


def _verdict(terminal: Terminal, found: Sequence[Check]) -> None:
    terminal.out.print(Text("\nChecked", style="bold"))
    for check in found:
        mark = ("✓", "green") if check.holds else ("✗", "red")
        instead = "" if check.holds else f" (found: {clean(check.found)})"
        terminal.out.print(Text.assemble("  ", mark, f" {clean(check.sentence)}{instead}"))


def _document(chains: Mapping[str, Chain], found: Sequence[Check], seconds: float) -> dict[str, Any]:
    return {
        "chains": [
            {
                "chain": chain.title,
                "expected": chain.expected,
                "outcome": chain.outcome,
                "request": chain.request.get("id"),
                "events": len(chain.events),
                "milliseconds": round(chain.milliseconds, 1),
                "remark": chain.remark,
            }
            for chain in chains.values()
        ],
        "checks": [
            {"check": one.sentence, "holds": one.holds, **({} if one.holds else {"found": one.found})} for one in found
        ],
        "seconds": round(seconds, 2),
    }

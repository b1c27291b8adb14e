"""No expression stops the service, whoever wrote it and whatever it is about; together they say what each does."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from entresol_manifests import cell
from entresol_manifests.expressions import Scope
from entresol_policy.domain.judging import Unclear
from entresol_policy.evaluation import WORTHWHILE, Evaluator
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 0.1


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    with_limits = Evaluator(limit_seconds=LIMIT)
    yield with_limits
    with_limits.close()


def cells(parent: int | None = None) -> set[int]:
    """The processes for expressions that a process has started and that run."""
    found = set()
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                state, above = (place / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (place / "cmdline").read_text()
            except OSError:
                continue
            if "entresol_manifests.cell" in command and state != "Z" and int(above) == (parent or os.getpid()):
                found.add(int(place.name))
    return found


def gone(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def told(evaluator: Evaluator, source: str, scope: Scope) -> Any:
    """The value, or why there is none."""
    try:
        return evaluator.evaluate(source, scope)
    except Unclear as unclear:
        return str(unclear)


NUMBERS = list(range(3000))
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "two comprehensions in each other": ("l.exists(x, l.exists(y, x + y == -1))", {"l": NUMBERS}),
    "a list that grows": ("size(l" + "+l" * 1900 + ") == 0", {"l": NUMBERS}),
    "a text that doubles": ("[s]" + ".map(x, x + x)" * 100 + " == []", {"s": "x" * 100}),
    "a list that doubles": ("[l]" + ".map(x, [x, x])" * 100 + " == []", {"l": [1]}),
    "a pattern that repeats": ("s.matches('(x{100}){100}(y{100}){100}')", {"s": "x" * 100_000}),
    "a pattern from the inputs": ("s.matches(p)", {"s": "x" * 1_000_000, "p": "((x{1,30}){1,30}){1,3}y"}),
    "a comment that hides": ("1 == 1 // '\n && l.exists(x, l.exists(y, x + y == -1)) // '", {"l": NUMBERS}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_expression_ends_and_others_go_on(case: str, evaluator: Evaluator) -> None:
    source, variables = HOSTILE[case]
    # By processor time, or by memory where that is filled first.
    assert re.match(r"takes more (than 0\.1 s|memory than \d+ MiB): `", told(evaluator, source, Scope(**variables)))
    assert evaluator.holds("l.map(x, x + 1) == [2]", Scope(l=[1]))


@pytest.mark.parametrize(
    "source",
    [
        '"a" in request.tags',
        'request.tags.exists(t, t == "pii")',
        'request.tags.all(t, t.startsWith("x")) && request.tags.exists(t, t.matches("^y+$"))',
        "request.tags.filter(t, size(t) > 30).size() > 0",
        'request.tags.map(t, t.lowerAscii()).join(",") == ""',
        'request.text.split("x").size() == 3',
        'request.text.matches("^(a|b|ab)*c$") || request.text.contains(request.text + "a")',
    ],
)
def test_a_harmless_policy_survives_a_hostile_request(source: str, evaluator: Evaluator) -> None:
    scope = Scope(request={"tags": [f"x{one}" for one in range(50_000)], "text": "x" * 500_000})
    (answer,) = evaluator.each_holds([source], scope)
    assert answer is False or str(answer).startswith(
        ("takes more than 0.1 s", "takes more memory", f"`{source}` fails")
    )
    assert evaluator.holds("request.tags == []", Scope(request={"tags": []}))


def test_memory_is_bounded() -> None:
    evaluator = Evaluator(limit_seconds=60, memory_bytes=256 * 2**20)
    source = "[s]" + ".map(x, x + x)" * 40 + " == []"
    assert told(evaluator, source, Scope(s="x" * 100)).startswith("takes more memory than 256 MiB: `[s].map")
    assert evaluator.holds("l.map(x, x + 1) == [2]", Scope(l=[1]))
    evaluator.close()


def test_what_took_too_long_is_refused_for_a_minute_where_it_would_again() -> None:
    now = [1000.0]
    asked: list[int] = []
    evaluator = Evaluator(limit_seconds=LIMIT, clock=lambda: now[0])
    source = 'catalog.knows("a", "b") && l.exists(x, l.exists(y, x + y == -1))'

    def about(numbers: list[int]) -> Scope:
        def knows(*_: str) -> bool:
            asked.append(1)
            return True

        return Scope(catalog={}, functions={"knows": knows}, l=numbers)

    first = told(evaluator, source, about(NUMBERS))
    assert told(evaluator, source, about([*NUMBERS, 1])) == first
    assert len(asked) == 1
    assert evaluator.evaluate(source, about([1, 2])) is False
    now[0] += 61
    assert told(evaluator, source, about(NUMBERS)) == first
    assert len(asked) == 3
    evaluator.close()


def test_many_expressions_together_have_a_limit_too(evaluator: Evaluator) -> None:
    scope = Scope(l=NUMBERS)
    sources = [f"l.exists(x, l.exists(y, x + y == -{one}))" for one in range(1, 7)]
    answers = [str(one) for one in evaluator.each_holds(sources, scope)]
    assert [one.partition(":")[0] for one in answers] == ["takes more than 0.1 s"] * 4 + [
        "what is asked about this takes more than 0.4 s"
    ] * 2
    assert evaluator.holds("l.map(x, x + 1) == [2]", Scope(l=[1]))


def test_other_threads_run_while_one_waits() -> None:
    evaluator = Evaluator(limit_seconds=0.5)
    turns, over = [0], threading.Event()

    def turn() -> None:
        while not over.is_set():
            turns[0] += 1

    other = threading.Thread(target=turn)
    evaluator.holds("l.map(x, x + 1) == [2]", Scope(l=[1]))
    other.start()
    before = turns[0]
    assert "takes more than" in told(evaluator, "l.exists(x, l.exists(y, x + y == -1))", Scope(l=NUMBERS))
    assert turns[0] > before + 1000
    over.set()
    other.join()
    evaluator.close()


def entity(_: object, blueprint: str, identifier: str) -> Mapping[str, Any]:
    if identifier == "gone":
        raise OSError("the database is gone")
    if identifier != "cart":
        raise ValueError(f"the catalog has no {blueprint} {identifier}")
    return {"title": "Cart", "at": datetime(2026, 1, 1, tzinfo=UTC), "odd": {1}}


def asking() -> Scope:
    return Scope(functions={"entity": entity}, catalog={}, request={"inputs": {}}, now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "source",
    [
        'catalog.entity("service", "cart").title',
        'catalog.entity("service", "cart").at == now',
        'catalog.entity("service", "cart").size',
        'catalog.entity("service", "other").title',
        'catalog.entity("service").title',
        "catalog.entity(1, now)",
        "now",
        "now - now",
        "request.inputs.colour",
        "1.5",
        "double('nan') == double('nan')",
        "b'x'",
        "[1, 'a', null, {'b': [true]}]",
        "{1: 2}",
    ],
)
def test_a_heavy_expression_says_what_a_light_one_does(source: str, evaluator: Evaluator) -> None:
    heavy = f"[1].map(x, {source})[0]"
    light, elsewhere = told(evaluator, source, asking()), told(evaluator, heavy, asking())
    assert elsewhere == (light.replace(f"`{source}`", f"`{heavy}`", 1) if isinstance(light, str) else light)
    assert type(elsewhere) is type(light)


def test_a_missing_field_is_named_by_both(evaluator: Evaluator) -> None:
    for source in ("request.inputs.colour == 1", "[1].map(x, request.inputs.colour) == [1]"):
        with pytest.raises(Unclear) as unclear:
            evaluator.holds(source, asking())
        assert unclear.value.missing == "request.inputs.colour"


def test_a_failure_behind_the_catalog_is_not_the_fault_of_the_expression(evaluator: Evaluator) -> None:
    sources = ['catalog.entity("a", "gone").x == 1', '[1].map(x, catalog.entity("a", "gone").x) == [1]']
    for one in [*([source] for source in sources), ["true", sources[0]]] * WORTHWHILE:
        with pytest.raises(OSError, match="the database is gone"):
            evaluator.each_holds(one, asking())
    assert evaluator.holds("[1].map(x, x) == [1]", asking())


def test_what_is_no_data_is_refused(evaluator: Evaluator) -> None:
    for odd in ({1, 2}, object(), lambda: None):
        assert "neither JSON nor a time" in told(evaluator, "[1].map(x, odd)", Scope(odd=odd))
    assert "gives more than 1 MiB" in told(evaluator, "[s].map(x, x)[0]", Scope(s="é" * 600_000))
    assert evaluator.holds("[1].map(x, x) == [1]", Scope())


def test_a_process_that_is_dead_or_stands_still_is_replaced(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = cells()
    for how in (signal.SIGKILL, signal.SIGTERM):
        assert evaluator.holds("[1].map(x, x) == [1]", Scope())
        (process,) = cells() - others
        os.kill(process, how)
        eventually(lambda process=process: gone(process))
    assert evaluator.holds("[1].map(x, x) == [1]", Scope())
    (process,) = cells() - others
    monkeypatch.setattr(cell, "SILENT_SECONDS", 2.0)
    os.kill(process, signal.SIGSTOP)
    assert evaluator.holds("[1].map(x, x) == [1]", Scope())
    assert gone(process)
    evaluator.close()
    assert cells() <= others
    assert evaluator.holds("[1].map(x, x) == [1]", Scope())


def test_an_evaluator_that_is_forgotten_leaves_no_process_behind() -> None:
    evaluator = Evaluator()
    before = cells()
    assert evaluator.holds("[1].map(x, x) == [1]", Scope())
    (process,) = cells() - before
    del evaluator
    assert gone(process)


def test_threads_take_turns(evaluator: Evaluator) -> None:
    found: list[bool] = []

    def ask(number: int) -> None:
        found.extend(evaluator.holds("l.map(x, x + 1)[0] == n", Scope(l=[each], n=each + 1)) for each in range(number))

    threads = [threading.Thread(target=ask, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200


def test_a_fork_has_a_process_of_its_own_and_death_leaves_none() -> None:
    script = """
        import os, sys, time
        from entresol_manifests.expressions import Scope
        from entresol_policy.evaluation import Evaluator
        evaluator = Evaluator()
        scope = Scope(l=[1])
        assert evaluator.holds("l.map(x, x) == l", scope)
        child = os.fork()
        assert evaluator.holds("l.map(x, x) == l", scope)
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert evaluator.holds("l.map(x, x + 1) == [2]", scope)
        print("forked", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        (process,) = cells(parent.pid)
        parent.kill()
    eventually(lambda: gone(process))


SOURCES = (
    'request.environment == "prod"',
    'request.environment == "prod" // a comment',
    "request.size",
    "request.missing == 1",
    "request.missing == 1 || true",
    "request.nothing.x == 1",
    'request.tags.exists(t, t == "a")',
    "request.tags.all(x, request.tags.exists(t, t == x))",
    "request.tags.map(t, t) == request.tags",
    'request.tags.exists(t, t.lowerAscii() == "b") ? true : request.missing',
    'request.environment.substring(9) == ""',
    'catalog.entity("service", "cart").title == "Cart"',
    'catalog.entity("service", "other").title == "Cart"',
    "unknown == 1",
    "1 / 0 == 1",
    "[1, 2][7] == 1",
    "not an expression",
    "(((true",
    "true), (false",
    "true]",
    "missing()",
    "!" * 40 + "true",
    "(" * 31 + "true" + ")" * 31,
    "true" + " && true" * 200,
    "true ? " * 20 + "true" + " : false" * 20,
    "'" + "x" * 4000 + "' == ''",
    "odd == 1",
    "odd == 1 || true",
)
ALWAYS = Evaluator()


@settings(deadline=None)
@given(st.lists(st.sampled_from(SOURCES), max_size=12), st.sampled_from(["prod", "dev"]), st.booleans())
def test_evaluating_together_says_the_same_as_one_by_one(sources: list[str], environment: str, known: bool) -> None:
    def scope() -> Scope:
        request = {"environment": environment, "size": 3, "tags": ["a", "B"], "nothing": None}
        return Scope(functions={"entity": entity} if known else {}, catalog={}, request=request, odd={1, 2})

    def alone(source: str) -> bool | tuple[str, str | None]:
        try:
            return ALWAYS.holds(source, scope())
        except Unclear as unclear:
            return str(unclear), unclear.missing

    for _ in range(WORTHWHILE):
        together = ALWAYS.each_holds(sources, scope())
    assert [one if isinstance(one, bool) else (str(one), one.missing) for one in together] == [*map(alone, sources)]

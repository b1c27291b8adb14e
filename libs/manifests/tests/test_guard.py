"""What others have written stops nobody; `services/policy/tests/test_evaluation.py` tries what is hostile."""

import time
from collections.abc import Iterator

import pytest
from entresol_manifests import cell
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.guard import Guard

LIMIT = 0.125
TOO_LONG = "takes more than 0.125 s"
NUMBERS = list(range(3000))
SLOW = "l.map(x, x).exists(x, l.exists(y, x + y == -1))"
HEAVY = "l.map(x, x + 1) == [2]"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Iterator[Guard]:
    made = Guard(limit_seconds=LIMIT, share=0.25, clock=clock)
    yield made
    made.close()


def why(guard: Guard, source: str, scope: Scope) -> str:
    with pytest.raises(ExpressionError) as caught:
        guard.holds(source, scope)
    return caught.value.message.partition(":")[0]


def test_light_and_heavy_ones_say_what_they_always_say(guard: Guard) -> None:
    assert guard.holds("l == [1]", Scope(l=[1]))
    assert guard.taken_seconds == 0
    assert guard.holds(HEAVY, Scope(l=[1]))
    assert guard.evaluate("l.map(x, x + 1)", Scope(l=[1])) == [2]
    assert guard.taken_seconds > 0
    assert "must be true or false" in why(guard, "l.map(x, x)", Scope(l=[1]))
    with pytest.raises(ExpressionError) as caught:
        guard.evaluate("l.map(x, x).size() + m.n", Scope(l=[1], m={}))
    assert caught.value.missing == "m.n"


def test_what_is_asked_for_again_and_again_takes_no_more_than_its_share(guard: Guard, clock: Clock) -> None:
    for size in (3000, 2999, 2998, 2997):  # each a smaller one, so that none is refused for the one before
        assert why(guard, SLOW, Scope(l=NUMBERS[:size])) == TOO_LONG
    assert why(guard, SLOW, Scope(l=[1])) == "asked for so often, it takes more time than there is for it"
    assert guard.holds(HEAVY, Scope(l=[1])), "the others go on"
    clock.now += 0.1
    assert not guard.holds(SLOW, Scope(l=[1])), "a quarter of the time is its own"


def test_without_a_share_only_its_own_limit_counts(clock: Clock) -> None:
    guard = Guard(limit_seconds=LIMIT, clock=clock)
    for size in (3000, 2999, 2998, 2997, 2996):
        assert why(guard, SLOW, Scope(l=NUMBERS[:size])) == TOO_LONG
    guard.close()


def test_a_function_may_wait_longer_than_it_may_work(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "PATIENCE", 2)

    def knows(_: object, how: str, __: str) -> bool:
        over = (time.sleep, burn)[how == "works"]
        over(3 * LIMIT)
        return True

    def burn(seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    scope = Scope(catalog={}, functions={"knows": knows}, l=[1])
    assert guard.holds('l.map(x, catalog.knows("waits", "b")) == [true]', scope)
    assert why(guard, 'l.map(x, catalog.knows("works", "b")) == [true]', scope) == (
        "takes more than 0.25 s in the functions that it calls"
    )


def test_a_variable_that_was_put_anew_is_what_is_read_here_and_apart(guard: Guard) -> None:
    scope = Scope(event={"l": [1]}, resource={"l": [1]})
    for number in (1, 2):
        scope.put("resource", {"l": [number]})
        for light in ("event.l[0] + resource.l[0]", "event.l.map(x, x)[0] + resource.l.map(x, x)[0]"):
            assert guard.evaluate(light, scope) == 1 + number

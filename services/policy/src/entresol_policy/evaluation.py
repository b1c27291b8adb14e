"""Evaluate the expressions of policies, windows and quotas.

What can't be evaluated raises Unclear, whose text names the field that was missing or of a wrong type.
Light expressions are evaluated here, many conditions in one call of the engine; what may take long goes to a process
that can be ended (`cell.py`), so no expression stops the service, whoever wrote it and whatever it is about.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from entresol_manifests.batches import Batch
from entresol_manifests.cell import Cell, CellLost
from entresol_manifests.expressions import Expression, ExpressionError, Scope, compile_expression
from entresol_manifests.faults import kind_of

from entresol_policy.domain.judging import Unclear

MAX_REASON = 500
"""Characters of an error that go into a verdict; it may quote an expression of 4 kB."""
LIGHT_MICROSECONDS: Final = 100_000
"""What is evaluated here takes no longer by the bound of its weight. The worst that was found takes half of it."""
LARGEST_BATCH: Final = 128
WORTHWHILE: Final = 3
"""How often the same expressions are asked for before they are compiled together, which takes as long as evaluating
them some thirty times."""
BUNDLES: Final = 128
"""Each that is compiled takes up to 0.4 MB."""
REMEMBERED: Final = 1024
"""Expressions that are refused for some time because they took too long."""


class Evaluator:
    """Evaluates expressions in a scope. Usable from several threads, each with scopes of its own."""

    def __init__(
        self,
        *,
        limit_seconds: float = 0.25,
        memory_bytes: int = 512 * 2**20,
        refusal_seconds: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_seconds` of processor time for one expression, and four times that for all in one scope.

        What took longer is refused for `refusal_seconds` where its variables are as large as they were then.
        """
        self._cell = Cell(limit_seconds, memory_bytes)
        self._most_seconds = 4 * limit_seconds
        self._refusal_seconds = refusal_seconds
        self._clock = clock
        self._refused: OrderedDict[str, tuple[float, float, str]] = OrderedDict()

    def evaluate(self, source: str, scope: Scope) -> Any:
        """The value; raise Unclear if there is none."""
        return self._value(source, scope, condition=False)

    def holds(self, source: str, scope: Scope) -> bool:
        """Whether it is true; raise Unclear if it is neither true nor false, or can't be evaluated."""
        return bool(self._value(source, scope, condition=True))

    def each_holds(self, sources: Sequence[str], scope: Scope) -> list[bool | Unclear]:
        """What `holds` says of each, in order; what it would raise stands in its place."""
        found: dict[str, bool | Unclear] = {}
        light, others = _sorted(tuple(sources))
        for begin in range(0, len(light), LARGEST_BATCH):
            self._together(light[begin : begin + LARGEST_BATCH], scope, found)
        for source in others:
            found[source] = self._alone(source, scope)
        return [found[source] for source in sources]

    def close(self) -> None:
        """End the process, if there is one. It is started again if it is needed."""
        self._cell.close()

    def _together(self, sources: tuple[str, ...], scope: Scope, found: dict[str, bool | Unclear]) -> None:
        """Evaluate them in one call; by halves if they are too much for one, or one of them fails."""
        bundle = _bundle(sources)
        bundle.asked += 1
        if len(sources) == 1 or bundle.asked < WORTHWHILE:
            for source in sources:
                found[source] = self._alone(source, scope)
            return
        batch = bundle.batch
        if batch is not None and batch.weight.microseconds(scope.size(batch.reads)) <= LIGHT_MICROSECONDS:
            try:
                values = batch.evaluate(scope)
            except ExpressionError:  # a variable that is no plain data, which not all of them read
                values = None
            if values is not None:
                for source, value in zip(sources, values, strict=True):
                    found[source] = value if isinstance(value, bool) else _no_condition(source, value)
                return
        middle = len(sources) // 2
        self._together(sources[:middle], scope, found)
        self._together(sources[middle:], scope, found)

    def _alone(self, source: str, scope: Scope) -> bool | Unclear:
        try:
            return self.holds(source, scope)
        except Unclear as unclear:
            return unclear

    def _value(self, source: str, scope: Scope, *, condition: bool) -> Any:
        try:
            expression = compile_expression(source)
            size = scope.size(expression.reads)
            if expression.weight.microseconds(size) <= LIGHT_MICROSECONDS:
                return expression.holds(scope) if condition else expression.evaluate(scope)
            return self._apart(expression, scope, size.units, condition=condition)
        except ExpressionError as error:
            raise Unclear(shortened(error.message), error.missing) from None

    def _apart(self, expression: Expression, scope: Scope, units: float, *, condition: bool) -> Any:
        source, begun = expression.source, self._clock()
        smallest, until, why = self._refused.get(source, (0.0, 0.0, ""))
        if begun < until and units >= smallest:
            raise Unclear(why)
        if self._cell.spent(scope) >= self._most_seconds:
            raise Unclear(f"what is asked about this takes more than {self._most_seconds:g} s: {_quoted(source)}")
        try:
            return self._cell.evaluate(source, scope, condition=condition)
        except CellLost as lost:
            why = f"{lost}: {_quoted(source)}"
            self._refused[source] = (units, self._clock() + self._refusal_seconds, why)
            while len(self._refused) > REMEMBERED:
                self._refused.popitem(last=False)
            raise Unclear(why) from None


@lru_cache(maxsize=1024)
def _sorted(sources: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that can be evaluated together, and the others; each once."""
    light: dict[str, None] = {}
    others: dict[str, None] = {}
    for source in sources:
        try:
            bounded = compile_expression(source).weight.bounded
        except ExpressionError:
            bounded = False
        (light if bounded else others)[source] = None
    return tuple(light), tuple(others)


class _Bundle:
    """Sources that were asked for together, compiled together when they are asked for again and again."""

    def __init__(self, sources: tuple[str, ...]) -> None:
        self._sources = sources
        self.asked = 0

    @cached_property
    def batch(self) -> Batch | None:
        """None if they can't be compiled together."""
        try:
            return Batch([compile_expression(source) for source in self._sources])
        except ExpressionError:
            return None


@lru_cache(maxsize=BUNDLES)
def _bundle(sources: tuple[str, ...]) -> _Bundle:
    return _Bundle(sources)


def _no_condition(source: str, value: Any) -> Unclear:
    return Unclear(shortened(f"`{source}` must be true or false, but is {kind_of(value)}"))


def _quoted(source: str) -> str:
    return shortened(f"`{source}`")


def shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON // 2]} … {text[-MAX_REASON // 2 :]}"

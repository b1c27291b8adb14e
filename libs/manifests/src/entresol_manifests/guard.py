"""Evaluate expressions that others have written so that none stops the service, whatever it is about.

Light ones are evaluated here. What may take long goes to a process that can be ended (`cell.py`); whoever waits for it
lets other threads run. What ended it is refused for a while where its variables are as large as they were then.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from entresol_manifests.cell import Cell, CellLost
from entresol_manifests.expressions import Expression, ExpressionError, Scope, compile_expression

LIGHT_MICROSECONDS: Final = 100_000
"""What is evaluated here takes no longer by the bound of its weight. The worst that was found takes half of it."""
REMEMBERED: Final = 1024
"""Expressions of which is known that they took too long, or how long they took lately."""
LONGEST_QUOTE: Final = 500


class Guard:
    """Evaluates expressions in a scope. Usable from several threads, each with scopes of its own."""

    def __init__(
        self,
        *,
        limit_seconds: float = 0.25,
        memory_bytes: int = 512 * 2**20,
        refusal_seconds: float = 60,
        share: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_seconds` of processor time for one expression, and four times that for all in one scope.

        With a `share`, one expression that is asked for again and again takes no more than that share of the time, and
        four times the limit at once; beyond that it is refused.
        """
        self._cell = Cell(limit_seconds, memory_bytes)
        self._most_seconds = 4 * limit_seconds
        self._refusal_seconds = refusal_seconds
        self._share = share
        self.taken_seconds = 0.0
        """Of processor time, by all that was not light."""
        self._clock = clock
        self._refused: OrderedDict[str, _Refusal] = OrderedDict()
        self._taken: OrderedDict[str, _Taken] = OrderedDict()

    def evaluate(self, source: str, scope: Scope) -> Any:
        """The value; raise ExpressionError if there is none, or if it takes too long to find."""
        return self._value(source, scope, condition=False)

    def holds(self, source: str, scope: Scope) -> bool:
        """Whether it is true; raise ExpressionError if it is anything but true or false, or takes too long."""
        return bool(self._value(source, scope, condition=True))

    def close(self) -> None:
        """End the process, if there is one. It is started again if it is needed."""
        self._cell.close()

    def _value(self, source: str, scope: Scope, *, condition: bool) -> Any:
        expression = compile_expression(source)
        size = scope.size(expression.reads)
        if expression.weight.microseconds(size) <= LIGHT_MICROSECONDS:
            return expression.holds(scope) if condition else expression.evaluate(scope)
        return self._apart(expression, scope, size.units, condition=condition)

    def _apart(self, expression: Expression, scope: Scope, units: float, *, condition: bool) -> Any:
        source, begun = expression.source, self._clock()
        refusal = self._refused.get(source)
        if refusal is not None and begun < refusal.until and units >= refusal.units:
            raise ExpressionError(refusal.why)
        before = self._cell.spent(scope)
        if before >= self._most_seconds:
            raise ExpressionError(
                f"what is asked about this takes more than {self._most_seconds:g} s: {quoted(source)}"
            )
        if self._taken_lately(source) >= self._most_seconds:
            raise ExpressionError(f"asked for so often, it takes more time than there is for it: {quoted(source)}")
        try:
            return self._cell.evaluate(source, scope, condition=condition)
        except CellLost as lost:
            why = f"{lost}: {quoted(source)}"
            _remember(self._refused, source, _Refusal(units, self._clock() + self._refusal_seconds, why))
            raise ExpressionError(why) from None
        finally:
            seconds = self._cell.spent(scope) - before
            self.taken_seconds += seconds
            if self._share is not None:
                _remember(self._taken, source, _Taken(self._taken_lately(source) + seconds, self._clock()))

    def _taken_lately(self, source: str) -> float:
        """Seconds that the expression took, less its share of the time since."""
        taken = self._taken.get(source)
        if taken is None or self._share is None:
            return 0.0
        return max(0.0, taken.seconds - self._share * (self._clock() - taken.at))


class _Refusal(NamedTuple):
    units: float
    """Of the variables that it read."""
    until: float
    why: str


class _Taken(NamedTuple):
    seconds: float
    at: float


def _remember(known: OrderedDict[str, Any], source: str, what: Any) -> None:
    known[source] = what
    known.move_to_end(source)
    while len(known) > REMEMBERED:
        known.popitem(last=False)


def quoted(source: str) -> str:
    return shortened(f"`{source}`")


def shortened(text: str, most: int = LONGEST_QUOTE) -> str:
    """The text; of a long one its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"

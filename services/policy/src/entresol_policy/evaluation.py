"""Evaluate the expressions of policies, windows and quotas.

What can't be evaluated raises Unclear, whose text names the field that was missing or of a wrong type.
Light expressions are evaluated here, many conditions in one call of the engine; what may take long goes to a process
that can be ended (`guard.py`), so no expression stops the service, whoever wrote it and whatever it is about.
"""

import time
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

from entresol_manifests.batches import Batch
from entresol_manifests.expressions import ExpressionError, Scope, compile_expression
from entresol_manifests.faults import kind_of
from entresol_manifests.guard import LIGHT_MICROSECONDS, Guard, shortened

from entresol_policy.domain.judging import Unclear

LARGEST_BATCH: Final = 128
WORTHWHILE: Final = 3
"""How often the same expressions are asked for before they are compiled together, which takes as long as evaluating
them some thirty times."""
BUNDLES: Final = 128
"""Each that is compiled takes up to 0.4 MB."""


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
        """With the limits of a guard for all that is asked in one scope."""
        self._guard = Guard(
            limit_seconds=limit_seconds, memory_bytes=memory_bytes, refusal_seconds=refusal_seconds, clock=clock
        )

    def evaluate(self, source: str, scope: Scope) -> Any:
        """The value; raise Unclear if there is none."""
        try:
            return self._guard.evaluate(source, scope)
        except ExpressionError as error:
            raise Unclear(shortened(error.message), error.missing) from None

    def holds(self, source: str, scope: Scope) -> bool:
        """Whether it is true; raise Unclear if it is neither true nor false, or can't be evaluated."""
        try:
            return self._guard.holds(source, scope)
        except ExpressionError as error:
            raise Unclear(shortened(error.message), error.missing) from None

    def each_holds(self, sources: Sequence[str], scope: Scope) -> list[bool | Unclear]:
        """What `holds` says of each, in order; what it would raise stands in its place."""
        light, others, places = _ordered(tuple(sources))
        found: list[bool | Unclear] = []
        for begin in range(0, len(light), LARGEST_BATCH):
            found += self._together(light[begin : begin + LARGEST_BATCH], scope)
        found += [self._alone(source, scope) for source in others]
        return found if places is None else [found[place] for place in places]

    def close(self) -> None:
        """End the process, if there is one. It is started again if it is needed."""
        self._guard.close()

    def _together(self, sources: tuple[str, ...], scope: Scope) -> list[bool | Unclear]:
        """Evaluate them in one call; by halves if they are too much for one, or one of them fails."""
        bundle = _bundle(sources)
        bundle.asked += 1
        if len(sources) == 1 or bundle.asked < WORTHWHILE:
            return [self._alone(source, scope) for source in sources]
        batch = bundle.batch
        if batch is not None and batch.weight.microseconds(scope.size(batch.reads)) <= LIGHT_MICROSECONDS:
            try:
                values = batch.evaluate(scope)
            except ExpressionError:  # a variable that is no plain data, which not all of them read
                values = None
            if values is not None:
                if set(map(type, values)) == {bool}:
                    return values
                said = zip(sources, values, strict=True)
                return [value if isinstance(value, bool) else _no_condition(source, value) for source, value in said]
        middle = len(sources) // 2
        return [*self._together(sources[:middle], scope), *self._together(sources[middle:], scope)]

    def _alone(self, source: str, scope: Scope) -> bool | Unclear:
        try:
            return self.holds(source, scope)
        except Unclear as unclear:
            return unclear


class _Ordered(NamedTuple):
    """Sources, each once."""

    light: tuple[str, ...]
    """Those that can be evaluated together."""
    others: tuple[str, ...]
    places: tuple[int, ...] | None
    """Where each that was asked for is found among the light and then the others; None if they are in that order."""


@lru_cache(maxsize=1024)
def _ordered(sources: tuple[str, ...]) -> _Ordered:
    once = dict.fromkeys(sources)
    light = tuple(one for one in once if _is_bounded(one))
    others = tuple(one for one in once if not _is_bounded(one))
    if sources == (*light, *others):
        return _Ordered(light, others, None)
    places = {source: place for place, source in enumerate((*light, *others))}
    return _Ordered(light, others, tuple(places[one] for one in sources))


def _is_bounded(source: str) -> bool:
    try:
        return compile_expression(source).weight.bounded
    except ExpressionError:
        return False


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

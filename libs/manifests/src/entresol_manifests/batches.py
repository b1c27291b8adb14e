"""Evaluate many expressions in one call of the engine.

A comparison takes the engine a fraction of a microsecond and the way there and back several times that. The
expressions become the items of one list; if one of them fails, the list does, and each has to be evaluated by itself.
"""

from collections.abc import Sequence
from typing import Any

from entresol_manifests.engine import cel
from entresol_manifests.expressions import Expression, ExpressionError, Scope
from entresol_manifests.functions import fault, forget_fault
from entresol_manifests.weights import together


class Batch:
    """Compiled expressions; immutable, usable from any thread."""

    __slots__ = ("_calls", "_count", "_program", "reads", "weight")

    def __init__(self, expressions: Sequence[Expression]) -> None:
        """Raise ExpressionError if they can't be compiled together, though each was by itself."""
        # A line end closes a comment at the end of a source, brackets keep the sources apart.
        source = "[" + ",".join(f"({each.source}\n)" for each in expressions) + "]"
        try:
            self._program = cel.compile(source)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            raise ExpressionError("too deep to be evaluated together") from None
        self._count = len(expressions)
        self.reads = tuple({name for each in expressions for name in each.reads})
        self._calls = frozenset[str]().union(*(each.calls for each in expressions))
        self.weight = together(each.weight for each in expressions)

    def evaluate(self, scope: Scope) -> list[Any] | None:
        """The value of each, or None if one of them fails."""
        forget_fault()
        try:
            values = self._program.execute(scope.context(self.reads, self._calls))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            fault()
            return None
        if fault() is not None or not isinstance(values, list) or len(values) != self._count:
            return None
        return values

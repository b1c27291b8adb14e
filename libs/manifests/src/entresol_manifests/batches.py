"""Evaluate many expressions in one call of the engine.

A comparison takes the engine a fraction of a microsecond and the way there and back several times that. The
expressions become the items of one list; if one of them fails, the list does, and each has to be evaluated by itself.

The engine copies what lies between a variable and a field of a field, in `request.inputs.size` all inputs, and again
for each expression. So such fields become variables of their own.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from entresol_manifests.engine import cel
from entresol_manifests.expressions import Expression, ExpressionError, Scope
from entresol_manifests.functions import fault, forget_fault
from entresol_manifests.sources import code
from entresol_manifests.weights import together

_FIELD: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\.([A-Za-z_]\w*)(?=\[|\.[A-Za-z_]\w*\b(?!\s*\())")
_BROKEN_PATH: Final = re.compile(r"\.(?:\s|/)|\s\.")
"""A name after it may be a field, and no variable."""


class Batch:
    """Compiled expressions; immutable, usable from any thread."""

    __slots__ = ("_calls", "_count", "_fields", "_program", "reads", "weight")

    def __init__(self, expressions: Sequence[Expression]) -> None:
        """Raise ExpressionError if they can't be compiled together, though each was by itself."""
        # A line end closes a comment at the end of a source, brackets keep the sources apart.
        fields: dict[tuple[str, str], str] = {}
        source = "[" + ",".join(f"({_with_fields_apart(each, fields)}\n)" for each in expressions) + "]"
        try:
            self._program = cel.compile(source)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            raise ExpressionError("too deep to be evaluated together") from None
        self._count = len(expressions)
        self.reads = tuple({name for each in expressions for name in each.reads})
        self._fields = fields
        self._calls = frozenset[str]().union(*(each.calls for each in expressions))
        self.weight = together(each.weight for each in expressions)

    def evaluate(self, scope: Scope) -> list[Any] | None:
        """The value of each, or None if one of them fails."""
        forget_fault()
        try:
            values = self._program.execute(scope.context(self.reads, self._calls, self._fields))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            fault()
            return None
        if fault() is not None or not isinstance(values, list) or len(values) != self._count:
            return None
        return values


def _with_fields_apart(expression: Expression, fields: dict[tuple[str, str], str]) -> str:
    """Its source, in which fields whose fields are read are variables; these are added to `fields`."""
    source, variables = expression.source, expression.names()
    if _BROKEN_PATH.search(source):
        return source
    places = {place for place, _ in code(source)}

    def name(found: re.Match[str]) -> str:
        if found[1] not in variables or found.start() not in places:
            return found[0]
        return fields.setdefault((found[1], found[2]), f"{found[1]}__{found[2]}")

    return _FIELD.sub(name, source)

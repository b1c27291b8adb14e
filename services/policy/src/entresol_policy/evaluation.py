"""Evaluate the expressions of policies, windows and quotas.

What can't be evaluated raises Unclear, whose text names the field that was missing or of a wrong type.
"""

from collections.abc import Sequence
from typing import Any

from entresol_manifests.expressions import ExpressionError, Scope, compile_expression

from entresol_policy.domain.judging import Unclear

MAX_REASON = 500
"""Characters of an error that go into a verdict; it may quote an expression of 4 kB."""


class Evaluator:
    """Evaluates expressions in a scope."""

    def evaluate(self, source: str, scope: Scope) -> Any:
        """The value; raise Unclear if there is none."""
        try:
            return compile_expression(source).evaluate(scope)
        except ExpressionError as error:
            raise Unclear(shortened(error.message), error.missing) from None

    def holds(self, source: str, scope: Scope) -> bool:
        """Whether it is true; raise Unclear if it is neither true nor false, or can't be evaluated."""
        try:
            return compile_expression(source).holds(scope)
        except ExpressionError as error:
            raise Unclear(shortened(error.message), error.missing) from None

    def each_holds(self, sources: Sequence[str], scope: Scope) -> list[bool | Unclear]:
        """What `holds` says of each, in order; what it would raise stands in its place."""
        found: list[bool | Unclear] = []
        for source in sources:
            try:
                found.append(self.holds(source, scope))
            except Unclear as unclear:
                found.append(unclear)
        return found

    def close(self) -> None:
        """Let go of what it holds."""


def shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON // 2]} … {text[-MAX_REASON // 2 :]}"

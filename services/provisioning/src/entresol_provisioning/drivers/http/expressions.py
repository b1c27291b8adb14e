"""Evaluate a step's expressions over what an API answered, so that no answer can hold up the service."""

import asyncio
import json
from typing import Any, Final

from entresol_manifests.cell import Cell, CellLost
from entresol_manifests.expressions import ExpressionError, Scope, compile_expression

from entresol_provisioning.drivers import StepFailed

LIGHT_MICROSECONDS: Final = 20_000
LIMIT_SECONDS: Final = 2.0
MEMORY_BYTES: Final = 512 * 1024 * 1024


class Missing(StepFailed):
    """The expression names a field that is not there."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.field = field


class Evaluator:
    """What is surely quick is evaluated at once; the rest in a process that can be ended."""

    def __init__(self) -> None:
        self._cell = Cell(LIMIT_SECONDS, MEMORY_BYTES)

    async def value(self, place: str, source: str, scope: Scope) -> Any:
        """The value, JSON. Raise StepFailed naming the place; Missing if a field is not there."""
        try:
            expression = compile_expression(source)
            if expression.weight.microseconds(scope.size(expression.reads)) <= LIGHT_MICROSECONDS:
                value = expression.evaluate(scope)
            else:
                value = await asyncio.to_thread(self._cell.evaluate, source, scope, condition=False)
            json.dumps(value, allow_nan=False)
        except ExpressionError as error:
            reason = f"{place}: {error.message}"[:500]
            raise (StepFailed(reason) if error.missing is None else Missing(reason, error.missing)) from None
        except CellLost as lost:
            raise StepFailed(f"{place}: over this answer, `{source[:200]}` {lost}") from None
        except OSError:
            raise StepFailed("the process for expressions can't be started", retryable=True) from None
        except (TypeError, ValueError):
            raise StepFailed(f"{place}: `{source[:200]}` gives what is no JSON") from None
        return value

    async def holds(self, place: str, source: str, scope: Scope) -> bool:
        value = await self.value(place, source, scope)
        if not isinstance(value, bool):
            raise StepFailed(f"{place}: `{source[:200]}` must be true or false")
        return value

    async def close(self) -> None:
        await asyncio.to_thread(self._cell.close)

"""CEL expressions, the one expression language of every manifest; `placeholders` has those within texts.

An expression that can't be evaluated raises ExpressionError; it is never quietly false. The engine is fed only
what `sources` lets through, and whatever it raises, a Rust panic included, ends here.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from entresol_manifests.engine import cel
from entresol_manifests.faults import Fault, explain, kind_of
from entresol_manifests.functions import CATALOG, NATIVE, OWN, fault, forget_fault, given
from entresol_manifests.sources import bound_names, refusal
from entresol_manifests.weights import Size, Weight, measure, weigh


class ExpressionError(ValueError):
    """Why an expression does not compile or evaluate, in words for its author."""

    def __init__(self, message: str, pointer: str = "", missing: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        """Where in the interpolated value the expression is; empty for a lone expression."""
        self.missing = missing
        """The field that was not there, such as `request.inputs.size`; None if it is something else."""


_NONE: Final[Mapping[tuple[str, str], str]] = MappingProxyType({})


class Scope:
    """What expressions may name. Build it once and evaluate many expressions in it.

    A variable is copied into the engine when the first expression reads it: copying costs ten times as much as
    evaluating, and most expressions read one variable of many. Use a scope from one thread.

    `functions` are those of CATALOG, where there is one. Each gets the value that it is a method of, and the arguments;
    it raises TypeError or ValueError, with words for the author, if they are wrong. What else it raises comes out of
    the evaluation as it is.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_copied",
        "_fields",
        "_given",
        "_sizes",
        "changes",
        "functions",
        "variables",
    )

    def __init__(self, *, functions: Mapping[str, Callable[..., Any]] | None = None, **variables: Any) -> None:
        self.variables: Mapping[str, Any] = variables
        self.functions: Mapping[str, Callable[..., Any]] = functions or {}
        self._context = cel.Context(None, OWN)
        self._given = False
        self._copied: set[str] = set()
        self._fields: set[tuple[str, str]] = set()
        self._sizes: dict[str, Size] = {}
        self.changes = 0
        """How often a variable was put into it since it was built."""

    def put(self, name: str, value: Any) -> None:
        """Give one variable another value; those that stay are not copied again."""
        self.variables = {**self.variables, name: value}
        self._copied.discard(name)
        if self._fields:  # of a value that it has no more
            self._context, self._given = cel.Context(None, OWN), False
            self._copied, self._fields = set(), set()
        self._sizes.pop(name, None)
        self.changes += 1

    def size(self, names: Iterable[str]) -> Size:
        """How large these variables are together. What is changed in them later is not seen."""
        units, items = 0.0, 0.0
        for name in names:
            size = self._sizes.get(name)
            if size is None:
                size = self._sizes[name] = measure(self.variables[name]) if name in self.variables else Size()
            units, items = units + size.units, max(items, size.items)
        return Size(units, items)

    def context(
        self,
        names: Iterable[str],
        calls: Set[str] = frozenset(),
        fields: Mapping[tuple[str, str], str] = _NONE,
    ) -> cel.Context:
        """The engine's context, in which these variables and the functions that are called are.

        `fields` of variables are there as variables of these names, too. Raises ExpressionError if a variable is not
        plain data.
        """
        if not self._given and not calls.isdisjoint(self.functions):
            for name, function in self.functions.items():
                self._context.add_function(name, given(name, function))
            self._given = True
        for name in names:
            if name not in self._copied and name in self.variables:
                self._copy(name, self.variables[name])
                self._copied.add(name)
        for (name, field), alias in fields.items():
            if (name, field) not in self._fields:
                whole = self.variables.get(name)
                if isinstance(whole, Mapping) and field in whole:
                    self._copy(alias, whole[field])
                self._fields.add((name, field))
        return self._context

    def _copy(self, name: str, value: Any) -> None:
        try:
            self._context.add_variable(name, value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            raise ExpressionError(f"{name} holds something that is neither JSON nor a time") from None


class Expression:
    """One compiled expression; immutable, usable from any thread."""

    __slots__ = ("_program", "_weight", "calls", "reads", "source")

    def __init__(self, source: str) -> None:
        """Compile; raise ExpressionError for wrong syntax, unknown functions, and what is too big to be safe."""
        self.source = source
        if reason := refusal(source):
            raise ExpressionError(f"not a usable expression: {reason}")
        try:
            self._program = cel.compile(source)
            called = self._program.functions()
            self.reads = tuple(self._program.variables())
            """The variables that it reads, and the names that its comprehensions bind."""
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise ExpressionError(_syntax(error, source)) from None
        self.calls = frozenset(name for name in called if name.isidentifier() and not name.startswith("_"))
        """The functions that it calls, macros included."""
        if unknown := sorted(self.calls - NATIVE - OWN.keys() - CATALOG):
            raise ExpressionError(f"`{source}` calls {unknown[0]}(), which does not exist")
        self._weight: Weight | None = None

    @property
    def weight(self) -> Weight:
        """How long it may take at most."""
        if self._weight is None:
            self._weight = weigh(self.source, self.calls)
        return self._weight

    def names(self) -> frozenset[str]:
        """The variables that it reads, without those that its own comprehensions bind."""
        return frozenset(self.reads) - bound_names(self.source)

    def evaluate(self, scope: Scope) -> Any:
        """The value: JSON, or an aware datetime or a timedelta. Raise ExpressionError naming what is missing."""
        forget_fault()
        context = scope.context(self.reads, self.calls)
        try:
            value = self._program.execute(context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            reason = fault()
            why = Fault(reason) if reason else explain(error, self.source, scope.variables)
            raise ExpressionError(f"`{self.source}` fails: {why.reason}", missing=why.missing) from None
        if reason := fault():
            raise ExpressionError(f"`{self.source}` fails: {reason}")
        if isinstance(value, bytes | cel.OptionalValue):
            raise ExpressionError(f"`{self.source}` gives bytes or an optional, which manifests have no use for")
        return value

    def holds(self, scope: Scope) -> bool:
        """Whether it is true; raise ExpressionError if it is anything but true or false."""
        value = self.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionError(f"`{self.source}` must be true or false, but is {kind_of(value)}")
        return value


def compile_expression(source: str) -> Expression:
    """The expression of this source, compiled once. Raise ExpressionError."""
    compiled = _compiled(source)
    if isinstance(compiled, Expression):
        return compiled
    raise ExpressionError(compiled)


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Expression | str:
    """Why it does not compile is remembered as well: finding out takes as long."""
    try:
        return Expression(source)
    except ExpressionError as error:
        return error.message


def evaluate(source: str, scope: Scope) -> Any:
    """The value of an expression; raise ExpressionError."""
    return compile_expression(source).evaluate(scope)


def _syntax(error: BaseException, source: str) -> str:
    detail = str(error).partition("ERROR: <input>:")[2].partition("\n")[0]
    place, _, reason = detail.partition(": ")
    if not reason:
        return f"`{source}` is not a CEL expression"
    column = place.rpartition(":")[2]
    reason = reason.removeprefix("Syntax error: ").partition(" expecting ")[0]
    return f"`{source}` is not a CEL expression: {reason} at column {column}"

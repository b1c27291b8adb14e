"""Statements of hot paths: compiled once per database, run at little more than the cost of the driver's own call.

On SQLite, SQLAlchemy's work per execution costs several times what the statement does. Its types convert all the same.
On PostgreSQL the way to the server costs most, and SQLAlchemy runs them.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Delete, Insert, Select, Update
from sqlalchemy.types import TypeEngine

Clause: TypeAlias = Select[Any] | Insert | Update | Delete
Convert: TypeAlias = Callable[[Any], Any] | None


FEW = 8


def asks_each(connection: Connection, count: int) -> bool:
    """Whether that many questions cost less one by one than as one with a list: on SQLite, always; else if few."""
    return connection.dialect.name == "sqlite" or count <= FEW


class Statement:
    """One statement with named parameters: the clause's `bindparam`s, or an insert's columns. Without `IN`.

    Don't mix it with objects of the session that are not flushed yet: it goes straight to the transaction's connection.
    """

    def __init__(self, clause: Clause) -> None:
        self._clause = clause
        self._compiled: _Compiled | None = None

    def rows(self, connection: Connection, **values: Any) -> Sequence[tuple[Any, ...]]:
        """Every row, in the order of the clause's columns."""
        if connection.dialect.name != "sqlite":
            return [tuple(row) for row in connection.execute(self._clause, values)]
        compiled = self._for(connection.dialect)
        found: list[tuple[Any, ...]] = compiled.run(connection, values).fetchall()
        return [compiled.convert(row) for row in found] if compiled.results else found

    def first(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        rows = self.rows(connection, **values)
        return rows[0] if rows else None

    def change(self, connection: Connection, **values: Any) -> int:
        """Run an insert, update or delete; return how many rows it met."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._clause, values).rowcount
        count: int = self._for(connection.dialect).run(connection, values).rowcount
        return count

    def each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
        """Every row found for each of the parameters in turn. Only where asking is cheap: see `asks_each`."""
        for values in rows:
            yield from self.rows(connection, **values)

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of the rows; each must name every parameter."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._clause, rows)
            return
        compiled = self._for(connection.dialect)
        compiled.run_many(connection, rows)

    def _for(self, dialect: Dialect) -> "_Compiled":
        if self._compiled is None:
            self._compiled = _compile(self._clause, dialect)
        return self._compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    parameters: Sequence[tuple[str, Convert]]
    fixed: Mapping[str, Any]
    """Values that stand in the clause itself."""
    results: Sequence[Convert]
    """What converts the columns of a row; empty if none needs it."""

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        try:
            return _driver(connection).execute(self.sql, self._bound(values))
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def run_many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        try:
            _driver(connection).executemany(self.sql, [self._bound(row) for row in rows])
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _bound(self, values: Mapping[str, Any]) -> list[Any]:
        if self.fixed:
            values = {**self.fixed, **values}
        return [values[name] if to is None else to(values[name]) for name, to in self.parameters]

    def convert(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value if to is None else to(value) for to, value in zip(self.results, row, strict=True))

    def _translated(self, error: sqlite3.Error) -> Exception:
        """The error as SQLAlchemy raises it, which is what the rest of the code knows."""
        raised = DBAPIError.instance(self.sql, None, error, sqlite3.Error, hide_parameters=True)
        return raised if isinstance(raised, Exception) else error


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _compile(clause: Clause, dialect: Dialect) -> _Compiled:
    compiled = clause.compile(dialect=dialect)
    if compiled.post_compile_params:
        raise ValueError(f"the length of a list is part of the statement; not for this class: {compiled}")
    processors: Mapping[str, Any] = compiled._bind_processors
    names: Sequence[str] = compiled.positiontup or []
    given = compiled.construct_params(_check=False)
    results: list[Convert] = []
    if isinstance(clause, Select):
        results = [_result(column.type, dialect) for column in clause.selected_columns]
    return _Compiled(
        sql=str(compiled),
        parameters=[(name, _remembering(processors.get(name))) for name in names],
        fixed={name: given[name] for name in names if given.get(name) is not None},
        results=results if any(results) else [],
    )


def _result(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    convert: Convert = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert


def _remembering(convert: Convert) -> Convert:
    """Convert a time that comes many times in a row, such as that of a batch, once."""
    if convert is None:
        return None
    last: tuple[Any, Any] = (None, None)

    def remembering(value: Any) -> Any:
        nonlocal last
        if not isinstance(value, datetime):
            return convert(value)
        known, converted = last  # one name for both: writers of several services may be here at once
        if value is not known:
            converted = convert(value)
            last = (value, converted)
        return converted

    return remembering

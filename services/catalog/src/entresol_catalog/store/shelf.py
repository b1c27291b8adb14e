"""The rows of one table that a batch of events touches: read once, changed in memory, written back in bulk."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from entresol_eventing.statements import Statement, asks_each
from entresol_eventing.store import one_of
from pydantic import TypeAdapter
from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlmodel import Session

D = TypeVar("D")
Key = tuple[str, ...]


def adapter(kind: type[D]) -> TypeAdapter[D]:
    """Reads and writes documents of that kind."""
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found


def written(thing: object) -> str:
    """The thing as a document."""
    return adapter(type(thing)).dump_json(thing, by_alias=True).decode()


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Made once each: building one costs milliseconds."""


class _Statements(NamedTuple):
    insert: Statement
    update: Statement
    one: Statement


@cache
def _statements(table: Table) -> _Statements:
    keys = list(table.primary_key)
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in table.columns if column not in keys}
    this = [column == bindparam(f"key_{column.name}") for column in keys]
    return _Statements(
        Statement(insert(table)),
        Statement(update(table).values(values).where(*this)),
        Statement(select(*keys, table.c.position, table.c.document).where(*this)),
    )


@dataclass(slots=True)
class Shelf(Generic[D]):
    """Things of one kind by key. Whoever changes one calls `keep`; `write` writes what was kept, and nothing else."""

    table: Table
    kind: type[D]
    columns: Callable[[D], dict[str, Any]]
    """What a thing is found by, besides its key and position."""
    things: dict[Key, D] = field(default_factory=dict)
    positions: dict[Key, int] = field(default_factory=dict)
    kept: set[Key] = field(default_factory=set)
    stored: set[Key] = field(default_factory=set)

    def load(self, keys: Iterable[Key], session: Session) -> None:
        missing = [key for key in keys if key not in self.positions]
        if not missing:
            return
        read = adapter(self.kind).validate_json
        for row in self._rows(missing, session.connection()):
            key = tuple(row[:-2])
            self.things[key] = read(row[-1])
            self.positions[key] = row[-2]
            self.stored.add(key)

    def _rows(self, keys: list[Key], connection: Connection) -> Iterable[Any]:
        columns = list(self.table.primary_key)
        if asks_each(connection, len(keys)):
            names = [f"key_{column.name}" for column in columns]
            yield from _statements(self.table).one.each(
                connection, [dict(zip(names, key, strict=True)) for key in keys]
            )
            return
        query = select(*columns, self.table.c.position, self.table.c.document)
        listed = columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else one_of(columns, keys)
        yield from connection.execute(query.where(listed))

    def get(self, *key: str) -> D | None:
        return self.things.get(key)

    def add(self, key: Key, thing: D, position: int) -> D:
        """Begin a row, or begin it anew in its old place."""
        self.things[key] = thing
        self.positions.setdefault(key, position)
        self.kept.add(key)
        return thing

    def keep(self, *key: str) -> None:
        self.kept.add(key)

    def write(self, session: Session) -> None:
        if not self.kept:
            return
        names = [column.name for column in self.table.primary_key]
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for key in sorted(self.kept, key=self.positions.__getitem__):
            thing = self.things[key]
            row = self.columns(thing)
            row["position"] = self.positions[key]
            row["document"] = written(thing)
            if key in self.stored:
                row |= {f"key_{name}": value for name, value in zip(names, key, strict=True)}
                changed.append(row)
            else:
                row |= zip(names, key, strict=True)
                new.append(row)
        connection = session.connection()
        if new:
            _statements(self.table).insert.many(connection, new)
        if changed:
            _statements(self.table).update.many(connection, changed)

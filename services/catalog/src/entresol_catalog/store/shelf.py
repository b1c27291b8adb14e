"""The rows of one table that a batch of events touches: read once, changed in memory, written back in bulk."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Insert, Select, Table, Update, bindparam, insert, select, tuple_, update
from sqlmodel import Session

D = TypeVar("D")
Key = tuple[str, ...]


def adapter(kind: type[D]) -> TypeAdapter[D]:
    """Reads and writes documents of that kind."""
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Made once each: building one costs milliseconds."""


@cache
def _statements(table: Table) -> tuple[Insert, Update]:
    key = {column.name for column in table.primary_key}
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in table.columns if column.name not in key}
    change = update(table).values(values)
    for name in sorted(key):
        change = change.where(table.c[name] == bindparam(f"key_{name}"))
    return insert(table), change


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
        names = [column.name for column in self.table.primary_key]
        read = adapter(self.kind).validate_json
        for row in session.execute(self._query(names, missing)):
            key = tuple(row[:-2])
            self.things[key] = read(row[-1])
            self.positions[key] = row[-2]
            self.stored.add(key)

    def _query(self, names: list[str], keys: list[Key]) -> Select[Any]:
        columns = [self.table.c[name] for name in names]
        query = select(*columns, self.table.c.position, self.table.c.document)
        if len(columns) == 1:
            return query.where(columns[0].in_([key[0] for key in keys]))
        return query.where(tuple_(*columns).in_(keys))

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
        write = adapter(self.kind).dump_json
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for key in sorted(self.kept, key=self.positions.__getitem__):
            thing = self.things[key]
            row = self.columns(thing)
            row["position"] = self.positions[key]
            row["document"] = write(thing).decode()
            if key in self.stored:
                row |= {f"key_{name}": value for name, value in zip(names, key, strict=True)}
                changed.append(row)
            else:
                row |= zip(names, key, strict=True)
                new.append(row)
        inserting, updating = _statements(self.table)
        connection = session.connection()
        if new:
            connection.execute(inserting, new)
        if changed:
            connection.execute(updating, changed)

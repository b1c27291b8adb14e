"""Where two databases with the same tables differ: by table, key and field, the fields of JSON documents told apart.

Rows are looked up by key, some hundred at a time, so neither the sizes of the tables nor how a database sorts matter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import MetaData, Select, Table, func, select, tuple_
from sqlmodel import Session

CHUNK = 500
SHOWN_CHARACTERS = 200
ABSENT = "(none)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one row. The field is empty if a side does not have the row at all."""

    table: str
    key: str
    field: str
    live: str
    rebuilt: str

    def __str__(self) -> str:
        place = f"{self.table} {self.key} {self.field}".rstrip()
        return f"{place}: live {self.live}, rebuilt {self.rebuilt}"


@dataclass(slots=True)
class Comparison:
    """Equal if `count` is 0."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows of the live side by table."""
    count: int = 0
    """Differences, all of them."""
    by_table: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    """The first ones."""


def compare(
    live: Session, fresh: Session, metadata: MetaData, left_out: Mapping[str, frozenset[str]], limit: int
) -> Comparison:
    """Compare every table of the metadata, columns that are left out excepted; keep the first `limit` differences."""
    result = Comparison()
    for table in metadata.sorted_tables:
        result.rows[table.name] = live.execute(select(func.count()).select_from(table)).scalar_one()
        for difference in _differences(table, live, fresh, left_out.get(table.name, frozenset()), result):
            result.count += 1
            result.by_table[table.name] = result.by_table.get(table.name, 0) + 1
            if len(result.differences) < limit:
                result.differences.append(difference)
    return result


def _differences(
    table: Table, live: Session, fresh: Session, left_out: frozenset[str], result: Comparison
) -> Iterator[Difference]:
    columns = [column for column in table.columns if column.name not in left_out]
    query = select(*columns)
    found = 0
    for rows in _chunks(query, fresh):
        there = _by_key(table, query, rows, live)
        found += len(there)
        for row in rows:
            key = _key(table, row)
            if (other := there.get(key)) is None:
                yield Difference(table.name, _name(key), "", ABSENT, _shown(dict(row)))
            elif other != row:
                yield from _fields(table.name, _name(key), other, row)
    if found < result.rows[table.name]:
        for rows in _chunks(query, live):
            here = _by_key(table, query, rows, fresh)
            for row in rows:
                if (key := _key(table, row)) not in here:
                    yield Difference(table.name, _name(key), "", _shown(dict(row)), ABSENT)


Row = Mapping[str, Any]


def _chunks(query: Select[Any], session: Session) -> Iterator[Sequence[Row]]:
    rows = session.connection().execute(query.execution_options(yield_per=CHUNK)).mappings()
    for chunk in rows.partitions():
        yield [dict(row) for row in chunk]


def _by_key(table: Table, query: Select[Any], rows: Sequence[Row], session: Session) -> dict[tuple[Any, ...], Row]:
    keys = [_key(table, row) for row in rows]
    columns = list(table.primary_key)
    wanted = columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else tuple_(*columns).in_(keys)
    found = session.connection().execute(query.where(wanted)).mappings()
    return {_key(table, row): row for row in (dict(one) for one in found)}


def _key(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key)


def _name(key: tuple[Any, ...]) -> str:
    return "/".join(map(str, key))


def _fields(table: str, key: str, live: Row, fresh: Row) -> Iterator[Difference]:
    for name in live:
        mine, theirs = live[name], fresh[name]
        if mine == theirs:
            continue
        one, other = _document(mine), _document(theirs)
        if one is None or other is None or one == other:
            yield Difference(table, key, name, _shown(mine), _shown(theirs))
            continue
        for pointer, before, after in _within(one, other, name):
            yield Difference(table, key, pointer, before, after)


def _document(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    try:
        document = json.loads(value)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _within(live: Any, fresh: Any, pointer: str) -> Iterator[tuple[str, str, str]]:
    """(pointer, live, rebuilt) of each place at which two JSON values differ."""
    if isinstance(live, dict) and isinstance(fresh, dict):
        for name in sorted({*live, *fresh}):
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in live or name not in fresh:
                yield (
                    place,
                    _shown(live[name]) if name in live else ABSENT,
                    _shown(fresh[name]) if name in fresh else ABSENT,
                )
            else:
                yield from _within(live[name], fresh[name], place)
    elif json.dumps(live) != json.dumps(fresh):
        yield pointer, _shown(live), _shown(fresh)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"

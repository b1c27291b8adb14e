"""What all of intake's tables are made with."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from entresol_eventing.statements import Statement
from entresol_eventing.store import table_base
from sqlalchemy import Table, insert
from sqlmodel import Session, SQLModel

if TYPE_CHECKING:

    class Base(SQLModel):
        """Type checkers can't follow a base class that a function returns."""
else:
    Base = table_base()


def table(model: type[SQLModel]) -> Table:
    """The plain table of a model, for statements that skip the ORM."""
    return Base.metadata.tables[str(model.__tablename__)]


@cache
def _adding(into: Table) -> Statement:
    return Statement(insert(into))


def add(session: Session, into: Table, row: Mapping[str, Any]) -> None:
    """Insert the row, which names every column."""
    _adding(into).change(session.connection(), **row)

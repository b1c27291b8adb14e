"""The catalog as far as it was told of: entities, and their levels of scorecards. Older facts change nothing."""

from typing import Any

from entresol_eventing.statements import Statement
from sqlalchemy import bindparam, delete, insert, select, update
from sqlmodel import Session

from entresol_policy.store.tables import EntityRow, ScoreRow, table

entity, score = table(EntityRow), table(ScoreRow)

_IS = (entity.c.blueprint == bindparam("key_blueprint"), entity.c.identifier == bindparam("key_identifier"))
_FIND = Statement(select(entity.c.document).where(*_IS))
_REVISION = Statement(select(entity.c.revision).where(*_IS))
_ADD = Statement(insert(entity))
_CHANGE = Statement(update(entity).where(*_IS).values(revision=bindparam("revision"), document=bindparam("document")))
_REMOVE = Statement(delete(entity).where(*_IS, entity.c.revision <= bindparam("key_revision")))
_SCORED = (score.c.blueprint == bindparam("key_blueprint"), score.c.identifier == bindparam("key_identifier"))
_SCORES = Statement(select(score.c.scorecard, score.c.document).where(*_SCORED))
_UNSCORE = Statement(delete(score).where(*_SCORED, score.c.scorecard == bindparam("key_scorecard")))
_SCORE = Statement(insert(score))


def keep(session: Session, blueprint: str, identifier: str, revision: int, document: dict[str, Any]) -> None:
    connection, key = session.connection(), _key(blueprint, identifier)
    known = _REVISION.first(connection, **key)
    if known is None:
        row = {"blueprint": blueprint, "identifier": identifier, "revision": revision, "document": document}
        _ADD.change(connection, **row)
    elif known[0] < revision:
        _CHANGE.change(connection, **key, revision=revision, document=document)


def forget(session: Session, blueprint: str, identifier: str, revision: int) -> None:
    _REMOVE.change(session.connection(), **_key(blueprint, identifier), key_revision=revision)


def rate(session: Session, blueprint: str, identifier: str, scorecard: str, document: dict[str, Any] | None) -> None:
    """Keep the level that the entity has reached; None forgets that there is such a scorecard."""
    connection, key = session.connection(), _key(blueprint, identifier)
    _UNSCORE.change(connection, **key, key_scorecard=scorecard)
    if document is not None:
        row = {"blueprint": blueprint, "identifier": identifier, "scorecard": scorecard, "document": document}
        _SCORE.change(connection, **row)


def find(session: Session, blueprint: str, identifier: str) -> dict[str, Any] | None:
    """The entity as rules see it, with its scorecards; None if the catalog has none."""
    connection, key = session.connection(), _key(blueprint, identifier)
    found = _FIND.first(connection, **key)
    if found is None:
        return None
    return {**found[0], "scorecards": dict(_SCORES.rows(connection, **key))}


def _key(blueprint: str, identifier: str) -> dict[str, str]:
    return {"key_blueprint": blueprint, "key_identifier": identifier}

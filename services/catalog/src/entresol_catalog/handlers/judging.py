"""Say on which levels of which scorecards entities are.

The picture changes when what was said comes back by the log, so a projection that is rebuilt is the same. Until then
it is remembered here, so that nothing is said twice. That memory may be lost at any time: whatever comes back and is
not remembered is looked at once more, so the last word on an entity is the right one.

- An entity is looked at in the transaction that changes it.
- A scorecard that was applied or removed is gone through in bites, each a deadline of its own, so that what arrives
  meanwhile is not kept waiting. So is one whose rules take too long to be looked at for all that has changed.
"""

import logging
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from entresol_contracts.events import ScorecardChanged, ScorecardRule
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Deadline, Due, Emit, Outcome
from entresol_eventing.store import deadline
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.guard import Guard, shortened
from sqlalchemy import select
from sqlmodel import Session

from entresol_catalog.domain.entities import Entity
from entresol_catalog.domain.scorecards import Result, Scorecard, described, grade
from entresol_catalog.handlers.board import Board, Fact
from entresol_catalog.store.shelf import Key
from entresol_catalog.store.standings import elsewhere, entities_behind, scorecards_in_force, standings_up_to

log = logging.getLogger(__name__)

BITE = 100
"""Entities that are looked at in one transaction when a scorecard has changed."""
BITE_SECONDS = 0.25
"""Of processor time for the heavy rules of one scorecard in one transaction."""
KIND = "scorecard"
"""Of the deadlines by which a scorecard is gone through."""


class Judge:
    """Used in the writer thread only."""

    def __init__(self) -> None:
        self._guard = Guard()
        self._in_force: dict[str, Scorecard] | None = None
        self._said: dict[Key, Result | None] = {}
        """By scorecard, blueprint and identifier: what is under way by the log. None takes back what was said."""

    def forget(self) -> None:
        """What was said, and what was read, may have been rolled back."""
        self._in_force = None
        self._said.clear()

    def look(self, board: Board, session: Session) -> Iterator[Outcome]:
        """What there is to say after a batch, all of which is written already."""
        for name, fact in board.applied.items():
            self._in_force = None
            yield Deadline(f"{KIND}:{name}", KIND, fact.at, {"scorecard": name}, fact.event.cause)
        if not board.changed and not board.heard:
            return
        in_force = self._scorecards(session)
        wanted: dict[Key, Fact] = {key: fact for key, fact in board.heard.items() if self._doubts(key, board, in_force)}
        for (blueprint, identifier), fact in board.changed.items():
            for scorecard in in_force.values():
                if scorecard.blueprint == blueprint:
                    wanted[scorecard.name, blueprint, identifier] = fact
        board.standings.load(wanted, session)
        board.entities.load({key[1:] for key in wanted}, session)
        taken: dict[str, float] = {}
        late: dict[str, Fact] = {}
        for key, fact in wanted.items():
            if key[0] in taken and taken[key[0]] >= BITE_SECONDS:
                late[key[0]] = fact
                continue
            standing, before = board.standings.get(*key), self._guard.taken_seconds
            aim = self._aim(in_force.get(key[0]), key[1], board.entities.get(*key[1:]))
            taken[key[0]] = taken.get(key[0], 0.0) + self._guard.taken_seconds - before
            yield from self._say(key, aim, None if standing is None else standing.result, fact.event.cause)
        for name, fact in late.items():
            yield _once_more(name, fact, session)

    def walk(self, due: Due, session: Session) -> Iterator[Outcome]:
        """Take the next bite of a scorecard: first of what is to be taken back, then of the entities it is about."""
        name = due.args["scorecard"]
        scorecard = self._scorecards(session).get(name)
        digest = None if scorecard is None else scorecard.digest
        place: Mapping[str, Any] = due.args
        if "stage" not in place or place["digest"] != digest:  # it has changed since the last bite
            place = {"scorecard": name, "digest": digest, "stage": "elsewhere", "after": 0}
        if place["stage"] == "elsewhere":
            after: int | str | None = yield from self._take_back(name, scorecard, place["after"], due.cause, session)
            if after is None and scorecard is not None:
                place, after = {**place, "stage": "entities"}, ""
        else:
            assert scorecard is not None  # without one, the digest is another
            after = yield from self._grade_some(scorecard, place["after"], due.cause, session)
            if after is None and place.get("again"):
                place, after = {**place, "again": False}, ""
        if after is not None:
            yield Deadline(due.key, KIND, due.due_at, {**place, "after": after}, due.cause)

    def _take_back(
        self, name: str, scorecard: Scorecard | None, after: int, cause: Cause, session: Session
    ) -> Generator[Outcome, None, int | None]:
        """Standings of what it is not about any more; return the position of the last one if there may be more."""
        found = elsewhere(name, None if scorecard is None else scorecard.blueprint, after, BITE, session)
        for _, standing in found:
            key = (name, standing.blueprint, standing.identifier)
            yield from self._say(key, None, standing.result, cause)
        return found[-1][0] if len(found) == BITE else None

    def _grade_some(
        self, scorecard: Scorecard, after: str, cause: Cause, session: Session
    ) -> Generator[Outcome, None, str | None]:
        """The next of its entities; return the identifier of the last one if there may be more."""
        entities = entities_behind(scorecard.blueprint, after, BITE, session)
        if not entities:
            return None
        last = entities[-1].identifier
        known = standings_up_to(scorecard.name, scorecard.blueprint, after, last, session)
        begun = self._guard.taken_seconds
        for entity in entities:
            key = (scorecard.name, scorecard.blueprint, entity.identifier)
            aim = self._aim(scorecard, entity.blueprint, entity)
            yield from self._say(key, aim, known.get(entity.identifier), cause)
            if self._guard.taken_seconds - begun >= BITE_SECONDS:
                return entity.identifier
        return last if len(entities) == BITE else None

    def _say(self, key: Key, aim: Result | None, shown: Result | None, cause: Cause) -> Iterator[Outcome]:
        known = self._said.get(key, shown)
        if aim == known:
            return
        self._said[key] = aim
        name, blueprint, identifier = key
        changed = ScorecardChanged(
            scorecard=name,
            blueprint=blueprint,
            identifier=identifier,
            level=None if aim is None else aim.level,
            rank=0 if aim is None else aim.rank,
            rules=[
                ScorecardRule(name=one.name, level=one.level, passed=one.passed, because=one.because)
                for one in (() if aim is None else aim.rules)
            ],
            previous=None if known is None else known.level,
        )
        yield Emit(changed, subject=f"{blueprint}/{identifier}", cause=cause)

    def _aim(self, scorecard: Scorecard | None, blueprint: str, entity: Entity | None) -> Result | None:
        """Where the entity stands; None if it does not stand anywhere, because one of the two is gone."""
        if scorecard is None or scorecard.blueprint != blueprint or entity is None or entity.document is None:
            return None
        document = entity.document
        shown = {
            "blueprint": entity.blueprint,
            "identifier": entity.identifier,
            "title": document.get("title"),
            "team": document.get("team"),
            "properties": document["properties"],
            "relations": document["relations"],
        }
        scope = Scope(entity=shown)
        return grade(scorecard, lambda source: self._objection(source, scope))

    def _objection(self, source: str, scope: Scope) -> str | None:
        try:
            return None if self._guard.holds(source, scope) else shortened(f"`{source}` is false")
        except ExpressionError as error:
            return shortened(error.message)

    def _doubts(self, key: Key, board: Board, in_force: Mapping[str, Scorecard]) -> bool:
        """Whether to look at what came back: nobody remembers it, or it came after the end of its scorecard."""
        remembered = key in self._said
        standing = board.standings.get(*key)
        if remembered and standing is not None and standing.result == self._said[key]:
            del self._said[key]
        scorecard = in_force.get(key[0])
        return not remembered or scorecard is None or scorecard.blueprint != key[1]

    def _scorecards(self, session: Session) -> Mapping[str, Scorecard]:
        if self._in_force is None:
            self._in_force = {}
            for one in scorecards_in_force(session):
                try:
                    self._in_force[one.name] = described(one.name, one.digest, one.manifest["spec"])
                except (KeyError, TypeError):  # intake lets none of these in; if one is there, entities must not wait
                    log.warning("a scorecard can't be read and is left out", extra={"scorecard": one.name})
        return self._in_force


def _once_more(name: str, fact: Fact, session: Session) -> Deadline:
    """Go through the scorecard; if that goes on already, once more when it has come to its end."""
    key = f"{KIND}:{name}"
    args = session.execute(select(deadline.c.args).where(deadline.c.key == key)).scalar()
    place = {"scorecard": name} if args is None else {**args, "again": True}
    return Deadline(key, KIND, fact.at, place, fact.event.cause)

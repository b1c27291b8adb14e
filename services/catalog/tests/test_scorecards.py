"""Scorecards: the level of each entity, said when it changes, and shown once that has come back by the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from entresol_catalog.domain.scorecards import Result, RuleResult, Standing, described, grade
from entresol_catalog.handlers import judging
from entresol_catalog.handlers.judging import Judge
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_catalog.store.shelf import adapter
from entresol_contracts import events as facts
from entresol_eventing.envelope import Cause, Event
from entresol_eventing.reactions import Deadline, Due, Emit, Outcome
from entresol_eventing.store import deadline
from entresol_eventing.testing import event, memory_session
from sqlalchemy import insert, select
from sqlmodel import Session

from services.catalog.tests.graded import scorecard, service

LEVELS = {
    "levels": [
        {"name": "bronze", "rules": [{"name": "a", "holds": "a"}, {"name": "b", "holds": "b"}]},
        {"name": "silver", "rules": [{"name": "c", "holds": "c"}]},
        {"name": "gold", "rules": [{"name": "d", "holds": "d"}]},
    ],
    "blueprint": "Service",
}


@pytest.mark.parametrize(
    ("objections", "level", "rank"),
    [
        ("", "gold", 3),
        ("d", "silver", 2),
        ("c", "bronze", 1),
        ("cd", "bronze", 1),
        ("a", None, 0),
        ("b", None, 0),
    ],
)
def test_a_level_is_reached_with_its_own_rules_and_those_of_every_lower_one(
    objections: str, level: str | None, rank: int
) -> None:
    result = grade(described("s", "d", LEVELS), lambda source: "no" if source in objections else None)
    assert (result.level, result.rank) == (level, rank)
    assert [one.name for one in result.rules] == ["a", "b", "c", "d"]
    assert [one.name for one in result.rules if one.because] == list(objections)


@dataclass
class World:
    """A catalog without a bus: what it says waits until it is brought back, as by the log."""

    session: Session
    judge: Judge = field(default_factory=Judge)
    under_way: list[facts.ScorecardChanged] = field(default_factory=list)
    said: list[facts.ScorecardChanged] = field(default_factory=list)
    deadlines: dict[str, Deadline] = field(default_factory=dict)

    def project(self, *events: Event[Any]) -> "World":
        self._take(list(projection(Settings().patience_seconds, self.judge)(events, self.session)))
        return self

    def bite(self) -> None:
        """Answer every deadline that there is once."""
        due, self.deadlines = self.deadlines, {}
        for one in due.values():
            self._take(list(self.judge.walk(Due(one.key, one.kind, one.due_at, one.args, Cause()), self.session)))

    def echo(self, count: int | None = None) -> None:
        back, self.under_way = self.under_way[:count], self.under_way[count or len(self.under_way) :]
        if back:
            self.project(*(event(one, source="/entresol/catalog") for one in back))

    def settle(self) -> "World":
        while self.deadlines or self.under_way:
            self.bite()
            self.echo()
        return self

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            if isinstance(one, Emit) and isinstance(one.data, facts.ScorecardChanged):
                self.under_way.append(one.data)
                self.said.append(one.data)
            elif isinstance(one, Deadline):
                assert one.cause is not None
                self.deadlines[one.key] = one

    @property
    def spoken(self) -> list[tuple[str, int]]:
        """(identifier, rank) of what was said since this was asked last."""
        said, self.said = [(one.identifier, one.rank) for one in self.said], []
        return said

    @property
    def shown(self) -> dict[str, int]:
        query = select(tables.standing.c.document).where(tables.standing.c.removed.is_(False))
        found = [adapter(Standing).validate_json(one) for one in self.session.execute(query).scalars()]
        return {one.identifier: one.rank for one in found}


@pytest.fixture
def world(session: Session) -> World:
    return World(session)


def test_entities_are_graded_when_the_scorecard_is_applied_and_when_they_change(world: World) -> None:
    world.project(service("cart"), service("shop", "team-shop"), service("other", blueprint="System"))
    assert world.project(scorecard()).settle().spoken == [("cart", 0), ("shop", 1)]
    assert world.shown == {"cart": 0, "shop": 1}
    assert world.project(service("cart", "team-cart", tier="gold")).spoken == [("cart", 2)]
    assert world.project(service("new", "team-new")).settle().spoken == [("new", 1)]
    assert world.shown == {"cart": 2, "shop": 1, "new": 1}


def test_only_what_is_another_than_before_is_said(world: World) -> None:
    world.project(scorecard(), service("cart", "team-cart")).settle()
    assert world.spoken == [("cart", 1)]
    world.project(service("cart", "team-cart", replicas=3), scorecard()).settle()
    assert world.spoken == []
    world.project(service("cart", "team-cart", tier="silver")).settle()
    assert world.spoken == [("cart", 1)], "the rule fails for another reason now"


def test_what_is_said_names_every_rule_the_level_before_and_why_a_rule_does_not_pass(world: World) -> None:
    world.project(scorecard(), service("cart", "team-cart")).settle()
    (first,) = world.said
    assert (first.level, first.previous, [one.passed for one in first.rules]) == ("bronze", None, [True, False])
    missing = first.rules[1].because
    assert missing is not None
    assert missing.startswith("`entity.properties.tier == 'gold'` fails: ")
    assert "tier" in missing
    world.project(service("cart", None, tier="silver")).settle()
    second = world.said[-1]
    assert (second.level, second.rank, second.previous) == (None, 0, "bronze")
    assert [one.because for one in second.rules] == [
        "`entity.team != null` is false",
        "`entity.properties.tier == 'gold'` is false",
    ]


def test_a_rule_that_is_no_rule_does_not_pass_and_says_so(world: World) -> None:
    world.project(service("cart"), scorecard(bronze="entity.identifier", silver="this is none")).settle()
    because = [one.because or "" for one in world.said[0].rules]
    assert because[0] == "`entity.identifier` must be true or false, but is text"
    assert "is not a CEL expression" in because[1]


def test_a_scorecard_that_can_t_be_read_keeps_no_entity_waiting(world: World) -> None:
    broken = facts.ManifestApplied(kind="Scorecard", name="broken", digest="d", manifest={"spec": {"levels": []}})
    world.project(event(broken), scorecard(), service("cart")).settle()
    assert world.shown == {"cart": 0}


def test_changes_that_overtake_their_own_echo_end_with_the_right_word(world: World) -> None:
    world.project(scorecard(), service("cart", "team-cart")).settle()
    assert world.spoken == [("cart", 1)]
    world.project(service("cart"))
    world.project(service("cart", "team-cart"))
    world.project(service("cart", "team-cart", tier="gold"), service("cart", "team-cart"))
    assert world.spoken == [("cart", 0), ("cart", 1)]
    world.echo(1)
    assert world.shown == {"cart": 0}
    world.settle()
    assert (world.shown, world.spoken) == ({"cart": 1}, [])


def test_a_memory_that_is_lost_while_something_is_under_way_is_made_good(world: World) -> None:
    world.project(scorecard(), service("cart", "team-cart")).settle()
    world.project(service("cart"))
    world.judge.forget()
    world.project(service("cart", "team-cart"))
    assert world.spoken == [("cart", 1), ("cart", 0)], "what is shown is what it is now"
    world.settle()
    assert (world.spoken, world.shown) == ([("cart", 1)], {"cart": 1})


def test_an_entity_that_goes_takes_its_standing_along_and_begins_anew(world: World) -> None:
    world.project(scorecard(), service("cart", "team-cart")).settle()
    world.project(event(facts.EntityWithdrawn(blueprint="Service", identifier="cart")))
    assert (world.said[-1].rank, world.said[-1].rules, world.said[-1].previous) == (0, [], "bronze")
    world.project(service("cart", "team-cart"))
    assert world.spoken == [("cart", 1), ("cart", 0), ("cart", 1)]
    assert world.settle().shown == {"cart": 1}


def test_a_scorecard_that_goes_takes_its_standings_along(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "BITE", 2)
    world.project(scorecard(), *(service(f"s{number}") for number in range(5))).settle()
    assert len(world.spoken) == 5
    world.project(event(facts.ManifestRemoved(kind="Scorecard", name="maturity"))).settle()
    assert all(one.rules == [] and one.level is None for one in world.said)
    assert (len(world.spoken), world.shown) == (5, {})
    world.project(service("s1", "team"))
    assert world.settle().spoken == []


def test_what_comes_back_after_its_scorecard_has_gone_is_taken_back(world: World) -> None:
    world.project(scorecard())
    world.project(service("cart"))
    world.project(event(facts.ManifestRemoved(kind="Scorecard", name="maturity")))
    world.bite()
    assert world.settle().shown == {}
    assert world.spoken == [("cart", 0), ("cart", 0)]


def test_a_scorecard_of_another_blueprint_leaves_the_old_one(world: World) -> None:
    world.project(service("cart"), service("shop", blueprint="System"), scorecard()).settle()
    assert world.shown == {"cart": 0}
    world.project(scorecard(blueprint="System", digest="sha256:bb")).settle()
    assert world.shown == {"shop": 0}


def test_many_entities_are_looked_at_in_bites_that_begin_anew_with_another_scorecard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "BITE", 10)
    world.project(*(service(f"s{number:02}") for number in range(25)))
    assert world.project(scorecard()).spoken == []
    world.bite()
    world.bite()
    assert len(world.spoken) == 10
    old = dict(world.deadlines)
    world.project(scorecard(bronze="entity.identifier < 's05'", digest="sha256:bb"))
    world.deadlines = old  # as if both had happened in one transaction
    world.settle()
    assert world.shown == {f"s{number:02}": int(number < 5) for number in range(25)}
    assert len(world.spoken) == 25


def test_a_rule_that_takes_too_long_does_not_pass_and_stops_nobody(world: World) -> None:
    endless = "[entity.identifier]" + ".map(x, x + x)" * 60 + " == []"
    world.project(service("cart", "team-cart"), scorecard(bronze=endless), scorecard("other")).settle()
    because = {one.scorecard: one.rules[0].because for one in world.said}
    assert (because.pop("maturity") or "").startswith("takes more")
    assert because == {"other": None}


def test_heavy_rules_are_looked_at_a_few_at_a_time_and_none_is_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "BITE_SECONDS", 0.0)
    deadline.create(world.session.connection())
    heavy = "entity.properties.tags.map(x, x).size() == 1"
    names = [f"s{number}" for number in range(4)]
    world.project(*(service(name, tags=[]) for name in names), scorecard(bronze=heavy)).settle()
    assert world.spoken == [(name, 0) for name in names]
    world.project(*(service(name, tags=["a"]) for name in names))
    assert world.spoken == [("s0", 1)], "the others wait for the next transactions"
    (walk,) = world.deadlines.values()
    world.bite()
    world.bite()
    row = {"key": walk.key, "kind": walk.kind, "due_at": walk.due_at, "cause": {}, "attempts": 0}
    args = dict(world.deadlines[walk.key].args)
    world.session.connection().execute(insert(deadline), {**row, "args": args})
    world.project(*(service(name, tags=[]) for name in names))
    assert world.deadlines[walk.key].args == {**args, "again": True}, "what goes on already is not begun anew"
    world.settle()
    assert world.shown == dict.fromkeys(names, 0)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_what_is_shown_depends_on_the_log_alone(size: int) -> None:
    log = [scorecard(), *(service(f"s{number % 3}", tier="gold" if number % 2 else "no") for number in range(12))]
    log += [event(facts.EntityWithdrawn(blueprint="Service", identifier="s1")), scorecard(bronze="true", digest="b")]

    def picture(fold: Callable[[Session], None]) -> list[Any]:
        with memory_session(tables.metadata) as session:
            fold(session)
            return [list(session.execute(select(table))) for table in tables.metadata.sorted_tables]

    whole: list[Event[Any]] = []

    def live(session: Session) -> None:
        world = World(session)
        for one in log:
            world.project(one)
            world.bite()
            echoes = [event(said, source="/entresol/catalog") for said in world.under_way]
            world.under_way.clear()
            whole.extend([one, *echoes])
            if echoes:
                world.project(*echoes)

    def rebuilt(session: Session) -> None:
        handle = projection(Settings().patience_seconds)
        for start in range(0, len(whole), size):
            list(handle(whole[start : start + size], session))

    assert picture(live) == picture(rebuilt)


def test_a_result_is_what_was_said_of_it() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    rule = RuleResult("a", "bronze", True)
    standing = Standing("s", "Service", "cart", "bronze", 1, at, [rule])
    assert standing.result == Result("bronze", 1, (rule,))
    assert Standing("s", "Service", "cart", None, 0, at).result is None

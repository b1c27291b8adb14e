"""Levels of quality that entities of a blueprint reach, and why an entity is on the level that it is on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    holds: str
    """An expression over the entity."""


@dataclass(frozen=True, slots=True)
class Level:
    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Scorecard:
    name: str
    digest: str
    blueprint: str
    levels: tuple[Level, ...]
    """From the lowest to the highest."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    name: str
    level: str
    passed: bool
    because: str | None = None
    """Why it did not pass."""


@dataclass(frozen=True, slots=True)
class Result:
    """Where an entity stands, rule by rule."""

    level: str | None
    rank: int
    """Of the level among all, from 1; 0 for none."""
    rules: tuple[RuleResult, ...]


@dataclass(slots=True)
class Standing:
    """What was said last about one entity and one scorecard. Stays as a mark when it was taken back."""

    scorecard: str
    blueprint: str
    identifier: str
    level: str | None
    rank: int
    changed_at: datetime
    rules: list[RuleResult] = field(default_factory=list)

    @property
    def result(self) -> Result | None:
        """None if it was taken back: a result always has rules."""
        return Result(self.level, self.rank, tuple(self.rules)) if self.rules else None


def described(name: str, digest: str, spec: Mapping[str, Any]) -> Scorecard:
    """The scorecard that a manifest describes."""
    levels = tuple(
        Level(level["name"], tuple(Rule(rule["name"], rule["holds"]) for rule in level["rules"]))
        for level in spec["levels"]
    )
    return Scorecard(name, digest, spec["blueprint"], levels)


def grade(scorecard: Scorecard, objection: Callable[[str], str | None]) -> Result:
    """The highest level whose rules pass together with those of every lower level.

    `objection` says why an expression does not hold for the entity, and nothing if it does.
    """
    rules: list[RuleResult] = []
    reached, rank = None, 0
    for place, level in enumerate(scorecard.levels, start=1):
        for rule in level.rules:
            because = objection(rule.holds)
            rules.append(RuleResult(rule.name, level.name, because is None, because))
        if all(one.passed for one in rules):
            reached, rank = level.name, place
    return Result(reached, rank, tuple(rules))

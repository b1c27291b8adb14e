"""Which of an offering's implementations does it: chosen by where a resource is made, and of what class it is.

The choice depends on the offering's `spec` and the context alone, so whoever asks again is told the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CREATE: Final = "create"
UPDATE: Final = "update"
ALIKE: Final[Mapping[str, tuple[str, ...]]] = {
    "adopt": (CREATE,),
    UPDATE: (UPDATE, CREATE),
    "reconcile": (UPDATE, CREATE),
    "rollback": (UPDATE, CREATE),
}
"""Actions that are done by the steps of another one, of the first that has any."""
DIMENSIONS: Final = ("project", "environment", "class")
"""What an implementation can be matched by; of two that match by as many, the one that matches by the first wins."""
KEEP: Final = "keep"
"""What becomes of finished steps if the offering does not say it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One implementation, and why it was chosen or not."""

    name: str
    matches: bool
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What does it."""

    name: str | None
    """None: the offering's own steps."""
    why: str
    candidates: tuple[Candidate, ...]
    """Every implementation, in the order of the offering."""


@dataclass(frozen=True, slots=True)
class Way:
    """How an action is done under an implementation."""

    steps: tuple[Mapping[str, Any], ...] | None
    """As the manifest has them; None where the offering does not say."""
    on_failure: str


def choose(spec: Mapping[str, Any], *, environment: str, project: str, class_: str | None = None) -> Choice:
    """The implementation that fits the context best, and of each why it does or does not.

    Every dimension that its `match` names has to fit. More dimensions win over fewer, then those that come first in
    DIMENSIONS; two that would still be equal are refused when the offering is applied. If none fits, it is the
    offering's own steps.
    """
    context = {"project": project, "environment": environment, "class": class_}
    offered: Sequence[Mapping[str, Any]] = spec.get("implementations") or ()
    fitting = [each for each in offered if all(context[one] in each["match"][one] for one in each["match"])]
    # max() takes the first of several that are equal.
    best = max(fitting, key=lambda each: _rank(each["match"]), default=None)
    candidates = tuple(Candidate(each["name"], each in fitting, _why(each, best, context)) for each in offered)
    if best is None:
        reason = "none of its implementations matches" if offered else "it has no implementations"
        return Choice(None, f"the offering's own steps: {reason}", candidates)
    return Choice(best["name"], f"{_told(best['match'], context)} matches", candidates)


def steps_of(spec: Mapping[str, Any], implementation: str | None, action: str) -> Way:
    """The steps of an action under the implementation of this name, and what becomes of them when one fails.

    What an implementation does not replace is done as the offering says. Whatever brings a resource to other inputs
    repeats the create where the update has no steps of its own; under an implementation that replaces only the create,
    it repeats that. Raises LookupError if there is no such implementation.
    """
    own: Mapping[str, Any] = spec["actions"]
    replaced: Mapping[str, Any] = {} if implementation is None else _named(spec, implementation)["actions"]
    alike = ALIKE.get(action, (action,))
    done = [way.get(one) for way in (replaced, own) for one in alike]
    said = [way.get(one) for one in alike for way in (replaced, own)]
    steps = next((each["steps"] for each in done if each and each.get("steps") is not None), None)
    on_failure = next((each["onFailure"] for each in said if each and each.get("onFailure")), KEEP)
    return Way(None if steps is None else tuple(steps), on_failure)


def _named(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for each in spec.get("implementations") or ():
        if each["name"] == name:
            found: Mapping[str, Any] = each
            return found
    raise LookupError(f"the offering has no implementation {name}")


def _rank(match: Mapping[str, Any]) -> tuple[int, tuple[bool, ...]]:
    return len(match), tuple(one in match for one in DIMENSIONS)


def _why(each: Mapping[str, Any], best: Mapping[str, Any] | None, context: Mapping[str, str | None]) -> str:
    match = each["match"]
    for one in (one for one in DIMENSIONS if one in match):
        if context[one] not in match[one]:
            return f"{one} is {context[one] or 'not given'}, not {' or '.join(match[one])}"
    assert best is not None, "what fits is never worse than nothing"
    told = _told(match, context)
    if each is best:
        return f"chosen: {told} matches"
    if _rank(match) == _rank(best["match"]):
        return f"{told} matches, but {best['name']} comes first"
    return f"{told} matches, but {best['name']} is more specific: {_told(best['match'], context)}"


def _told(match: Mapping[str, Any], context: Mapping[str, str | None]) -> str:
    return " and ".join(f"{one} {context[one]}" for one in DIMENSIONS if one in match)

"""Offerings, compiled: what may be asked of one version, and whether an ask fits.

Validators are compiled once per version and action. A version never changes, so nothing compiled goes stale; references
in a schema are never fetched, and patterns run in linear time, because schemas come from outside.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from entresol_manifests.durations import seconds
from entresol_manifests.inputs import WHOLE
from entresol_manifests.schemas import differences, validator

from entresol_intake.domain.asks import (
    ADOPT,
    APPLY,
    BUILT_IN,
    CREATE,
    DELETE,
    EXTEND,
    PAUSE,
    RECONCILE,
    ROLLBACK,
    UNPAUSE,
    UPDATE,
    Ask,
)
from entresol_intake.domain.faults import Fault, Invalid, pointer, prefixed

FILLED: Final = (CREATE, ADOPT)
"""Actions in which what is left out gets its default; a rollback names all that was."""
WITHOUT_INPUTS: Final = (PAUSE, UNPAUSE, RECONCILE)
LASTING: Final = (CREATE, APPLY, EXTEND, ADOPT, PAUSE)
"""What may be asked for how long. What exists already keeps its end, also if it is asked for once more."""
CLASSED: Final = (CREATE, APPLY, ADOPT)
"""What an implementation may be chosen for; what exists already keeps its own."""
OF_WHAT_WAS_REMOVED: Final = (DELETE, UNPAUSE)


@dataclass(frozen=True, slots=True)
class Fitting:
    """An ask that the offering allows, with everything settled that it left open."""

    ask: Ask
    version: str
    action: str
    inputs: dict[str, Any]
    lifetime_seconds: int | None


class Offering:
    """One version of an offering."""

    def __init__(self, document: Mapping[str, Any], removed: bool = False, stage: str | None = None) -> None:
        self.name: str = document["metadata"]["name"]
        self.version: str = document["metadata"]["version"]
        self.owner: str | None = document["metadata"].get("owner") or None
        self.removed = removed
        self.stage = stage
        self._spec: Mapping[str, Any] = document["spec"]
        self._checks: dict[str, Check] = {}

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*BUILT_IN, *self._spec["actions"])))

    @cached_property
    def max_seconds(self) -> float | None:
        longest = self._spec.get("lifetime", {}).get("max")
        return None if longest is None else seconds(longest)

    def check(self, action: str) -> "Check":
        """What the inputs of an action must fit; raise ValueError if the schema can't be compiled."""
        if action not in self._checks:
            own = self._spec["actions"].get(CREATE if action in WHOLE else action, {}).get("inputs")
            schema = own if own is not None else self._spec.get("inputs", {})
            if own is None and action not in WHOLE:
                schema = {key: value for key, value in schema.items() if key != "required"}
            self._checks[action] = Check(schema, fill=action in FILLED)
        return self._checks[action]

    def compile(self) -> list[Fault]:
        """Compile every validator now; return what can't be."""
        faults = []
        for action in (CREATE, *self._spec["actions"]):
            try:
                self.check(action)
            except ValueError as error:
                own = "inputs" in self._spec["actions"].get(action, {})
                place = pointer("spec", "actions", action, "inputs") if own else "/spec/inputs"
                faults.append(Fault(place, f"can't be used: {str(error).splitlines()[0]}"))
        return list(dict.fromkeys(faults))

    def fit(self, ask: Ask, *, exists: bool = False) -> Fitting:
        """Settle an ask; `exists` decides what `apply` means. Raise Invalid with all that stands against it."""
        action = (UPDATE if exists else CREATE) if ask.action == APPLY else ask.action
        faults: list[Fault] = []
        if action not in self.actions:
            raise Invalid(
                [Fault("/action", f"is not offered; {self.name} {self.version} has {', '.join(self.actions)}")]
            )
        if self.removed and action not in OF_WHAT_WAS_REMOVED:
            detail = f"{self.name} {self.version} was removed; what it provisioned can only be deleted"
            faults.append(Fault("/offering", f"{detail}, or updated to another version"))
        faults += _particulars(ask, action)
        environments = self._spec.get("environments")
        if environments is not None and ask.environment not in environments:
            faults.append(Fault("/environment", f"is not offered; {self.name} is for {', '.join(environments)}"))
        lifetime_seconds = self._lifetime(ask, action, faults)
        inputs = ask.inputs
        if self._takes_none(action):
            if inputs:
                faults.append(Fault("/inputs", f"{action} takes none"))
        else:
            check = self.check(action)
            inputs = check.filled(inputs)
            faults += prefixed("/inputs", check.faults(inputs))
        if faults:
            raise Invalid(faults)
        return Fitting(ask, self.version, action, inputs, lifetime_seconds)

    def _takes_none(self, action: str) -> bool:
        if action in (DELETE, EXTEND):
            return "inputs" not in self._spec["actions"].get(action, {})
        return action in WITHOUT_INPUTS

    def _lifetime(self, ask: Ask, action: str, faults: list[Fault]) -> int | None:
        if ask.lifetime is None:
            if action in (EXTEND, PAUSE):
                faults.append(Fault("/lifetime", f"is missing: {action} says how long from now"))
            return None
        if ask.action not in LASTING:
            hint = "; extend it" if action == UPDATE and "lifetime" in self._spec else ""
            faults.append(Fault("/lifetime", f"{ask.action} takes none{hint}"))
            return None
        if "lifetime" not in self._spec and action != PAUSE:
            faults.append(Fault("/lifetime", f"{self.name} lives until it is deleted"))
            return None
        try:
            asked = seconds(ask.lifetime)
        except ValueError:
            faults.append(Fault("/lifetime", "must be a duration such as 90s, 4h, 5d or 1d12h"))
            return None
        if asked < 1:
            faults.append(Fault("/lifetime", "must be a second at least"))
        if self.max_seconds is not None and asked > self.max_seconds and action != PAUSE:
            faults.append(Fault("/lifetime", f"exceeds the most that is offered, {self._spec['lifetime']['max']}"))
        return min(int(asked), 2**53)


class Check:
    """A compiled input schema, and the defaults of its top level."""

    def __init__(self, schema: Mapping[str, Any], *, fill: bool) -> None:
        self._schema = schema
        self._validator = validator(schema, formats=False)
        properties = schema.get("properties", {}) if fill else {}
        self._defaults = {
            name: each["default"] for name, each in properties.items() if isinstance(each, dict) and "default" in each
        }

    def filled(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs with the defaults of what they leave out."""
        missing = {name: deepcopy(value) for name, value in self._defaults.items() if name not in inputs}
        return inputs | missing if missing else inputs

    def faults(self, inputs: dict[str, Any]) -> list[Fault]:
        if self._validator.is_valid(inputs):
            return []
        return [Fault(each.pointer, each.message) for each in differences(inputs, self._schema, self._validator)]


def _particulars(ask: Ask, action: str) -> Iterator[Fault]:
    """What is there and does not belong to the action, or belongs to it and is not there."""
    if ask.class_ is not None and ask.action not in CLASSED:
        yield Fault("/class", f"{ask.action} takes none; a resource keeps the one that it was made with")
    if ask.orphan and action != DELETE:
        yield Fault("/orphan", f"{action} takes none")
    if action == PAUSE and ask.reason is None:
        yield Fault("/reason", "is missing: pause says why")
    if action != ROLLBACK and ask.snapshot is not None:
        yield Fault("/snapshot", f"{action} takes none")
    if action == ROLLBACK:
        if ask.version is None:
            yield Fault("/version", "is missing: rollback says which version that state had")
        if ask.snapshot is None:
            yield Fault("/snapshot", "is missing: rollback says which revision to go back to")

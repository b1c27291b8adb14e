"""Which version of an offering an ask means."""

from collections.abc import Mapping
from typing import Final

from entresol_intake.domain.asks import (
    ADOPT,
    APPLY,
    BEGINNINGS,
    CREATE,
    DELETE,
    ROLLBACK,
    UPDATE,
    Ask,
    highest,
    semantic,
)
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.domain.stages import DEFAULT, DEFECTIVE
from entresol_intake.offerings import Offering

MAKING: Final = (CREATE, ADOPT, UPDATE, ROLLBACK)
"""What a defective version is not for."""
MOVING: Final = (*MAKING, APPLY, DELETE)
"""What may name another version than the resource has."""


def choose(versions: Mapping[str, Offering], ask: Ask, provisioned: str | None = None) -> Offering:
    """The version that an ask means; raise Invalid if there is none, or if it is not for that.

    The one it names; for what exists, the one it was `provisioned` with; for something new, the default.
    """
    if not versions:
        raise Invalid([Fault("/offering", "there is no such offering")])
    chosen = _unnamed(versions, ask, provisioned) if ask.version is None else _named(versions, ask, provisioned)
    action = ask.action if ask.action != APPLY else CREATE if provisioned is None else UPDATE
    if chosen.stage == DEFECTIVE and action in MAKING:
        default = _default(versions)
        hint = f", such as {default.version}" if default is not None else ""
        detail = f"{chosen.version} is defective: nothing is made with it or updated to it; name another{hint}"
        raise Invalid([Fault("/version", detail)])
    return chosen


def _named(versions: Mapping[str, Offering], ask: Ask, provisioned: str | None) -> Offering:
    assert ask.version is not None
    if ask.version not in versions:
        raise Invalid([Fault("/version", f"is not offered; there are {_listed(versions)}")])
    if provisioned not in (None, ask.version) and ask.action not in MOVING:
        raise Invalid([Fault("/version", f"the resource has {provisioned}; only an update gives it another")])
    return versions[ask.version]


def _unnamed(versions: Mapping[str, Offering], ask: Ask, provisioned: str | None) -> Offering:
    if provisioned is not None and provisioned in versions and ask.action not in BEGINNINGS:
        return versions[provisioned]
    default = _default(versions)
    if default is not None:
        return default
    current = [version for version, each in versions.items() if not each.removed]
    if not current and ask.action != DELETE:
        raise Invalid([Fault("/offering", "there is no such offering")])
    if ask.action in (*BEGINNINGS, APPLY):
        sound = {version: each for version, each in versions.items() if each.stage != DEFECTIVE}
        raise Invalid([Fault("/version", f"is missing: no version is the default; name one of {_listed(sound)}")])
    chosen = highest(current or versions)
    assert chosen is not None
    return versions[chosen]


def _default(versions: Mapping[str, Offering]) -> Offering | None:
    return next((each for each in versions.values() if each.stage == DEFAULT and not each.removed), None)


def _listed(versions: Mapping[str, Offering]) -> str:
    current = sorted((version for version, each in versions.items() if not each.removed), key=semantic)
    return ", ".join(current) or "none"

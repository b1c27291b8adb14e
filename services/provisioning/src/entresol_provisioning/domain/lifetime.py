"""How long a resource lives, and when to say that its end is near."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from entresol_provisioning.domain.graph import Impossible

HOUR = 3600.0
USUAL_WARNINGS = (24 * HOUR, HOUR)
SHORT_LIFE_SECONDS = 2 * HOUR
REMINDER_SECONDS = HOUR
"""An expired resource that still exists is called expired again this often."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What an offering says; all absent: a resource lives until it is deleted."""

    default_seconds: float | None = None
    max_seconds: float | None = None
    warn_seconds: tuple[float, ...] | None = None


def first_end(lifetime: Lifetime, asked_seconds: int | None, created_at: datetime) -> datetime | None:
    """When a new resource expires; None if it lives until deleted. Never later than the offering's maximum."""
    seconds = asked_seconds if asked_seconds is not None else lifetime.default_seconds
    if seconds is None:
        seconds = lifetime.max_seconds
    if seconds is None:
        return None
    if lifetime.max_seconds is not None:
        seconds = min(seconds, lifetime.max_seconds)
    return created_at + timedelta(seconds=seconds)


def extended_end(
    lifetime: Lifetime, asked_seconds: int | None, created_at: datetime, expires_at: datetime | None, at: datetime
) -> datetime:
    """When an extended resource expires: the asked (else the default) lifetime from now.

    Raises Impossible if that is no extension, or later than the maximum, which counts from the creation.
    """
    seconds = asked_seconds if asked_seconds is not None else lifetime.default_seconds
    if expires_at is None:
        raise Impossible("it lives until it is deleted; there is nothing to extend")
    if seconds is None:
        raise Impossible("the request does not say for how long, and the offering has no default lifetime")
    end = at + timedelta(seconds=seconds)
    if end <= expires_at:
        raise Impossible(f"it lives until {expires_at:%Y-%m-%d %H:%M:%S} UTC anyway")
    if lifetime.max_seconds is not None and end > (latest := created_at + timedelta(seconds=lifetime.max_seconds)):
        raise Impossible(f"the offering lets it live until {latest:%Y-%m-%d %H:%M:%S} UTC at the longest")
    return end


def warnings(lifetime: Lifetime, begins_at: datetime, expires_at: datetime) -> list[datetime]:
    """When to say that the end is near, in order.

    Unless the offering says otherwise: a day and an hour before, or after a half and nine tenths of a life
    that is shorter than two hours. A warning that would come at or before the beginning is left out.
    """
    life = (expires_at - begins_at).total_seconds()
    before: Sequence[float]
    if lifetime.warn_seconds is not None:
        before = lifetime.warn_seconds
    elif life < SHORT_LIFE_SECONDS:
        before = (life / 2, life / 10)
    else:
        before = USUAL_WARNINGS
    return sorted({expires_at - timedelta(seconds=one) for one in before if 0 < one < life})

"""Until when something stands: a moment, or a length that is counted from now."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from entresol_manifests.durations import LONGEST, seconds

from entresol_intake.domain.shapes import Fields

FIELDS: Final = ("until", "for")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_end(
    fields: Fields, at: datetime, *, required: bool = False, longest_seconds: float = LONGEST
) -> datetime | None:
    """The end that `until` or `for` gives, in UTC and after `at`; what is wrong is added to the fields' faults."""
    until, length = fields.text("until", most=40), fields.text("for", most=40)
    if until is not None and length is not None:
        fields.refuse("for", "can't stand beside until")
    elif until is not None:
        return _moment(fields, until, at, longest_seconds)
    elif length is not None:
        return _length(fields, length, at, longest_seconds)
    elif required and not {"/until", "/for"} & {fault.pointer for fault in fields.faults}:
        fields.refuse("until", "is missing: say until when, or for how long")
    return None


def _moment(fields: Fields, text: str, at: datetime, longest_seconds: float) -> datetime | None:
    try:
        end = datetime.fromisoformat(text) if _RFC_3339.fullmatch(text) else None
    except ValueError:
        end = None
    if end is None:
        fields.refuse("until", "must be a time with its offset, such as 2026-11-21T10:00:00Z")
    elif end <= at:
        fields.refuse("until", "must lie in the future")
    elif end - at > timedelta(seconds=longest_seconds):
        fields.refuse("until", f"must not be further away than {longest_seconds / 86_400:g} days")
    else:
        return end.astimezone(UTC)
    return None


def _length(fields: Fields, text: str, at: datetime, longest_seconds: float) -> datetime | None:
    try:
        length = seconds(text)
    except ValueError:
        fields.refuse("for", "must be a duration such as 90s, 4h, 5d or 1d12h")
        return None
    if length <= 0:
        fields.refuse("for", "must be longer than nothing")
    elif length > longest_seconds:
        fields.refuse("for", f"must not be longer than {longest_seconds / 86_400:g} days")
    else:
        return at + timedelta(seconds=length)
    return None

"""When a request may begin, as far as windows have a say.

The windows that are concerned with a request are heard together:
- A deny window keeps it from beginning while it is open, whatever others allow.
- If any allow window is concerned, one of them has to be open.
- A window's `outlast` is about its own edge: where a deny window opens, or where the last allow window that was open
  closes. A run that is expected to reach past that edge begins all the same, waits, or is denied, as the window says
  that has the edge; two that share it are both heard.
- Whether a run outlasts is judged for the first time at which it could begin. So nothing depends on when between now
  and then the request is looked at.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, TypeAlias

HORIZON = timedelta(days=366)
"""What comes later is never."""
MOST_CHANGES = 2_000
"""Openings and closings that are looked at before giving up: a year of a window that opens twice a day."""
INSTANT = timedelta.resolution


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is open: from `begin` until before `end`, both aware UTC."""

    begin: datetime
    end: datetime


class Schedule(Protocol):
    """When a window is open."""

    def around(self, at: datetime) -> Span | None:
        """The time around `at` that is open, None if it is closed. What follows its end may be open as well."""
        ...

    def next_after(self, at: datetime) -> Span | None:
        """The first opening after `at`, None if there is none within HORIZON."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """A window that is concerned with the request."""

    name: str
    effect: Literal["allow", "deny"]
    because: str
    schedule: Schedule
    outlast: Literal["finish", "wait", "deny"] = "finish"
    expected_seconds: float | None = None
    """How long the run takes; None if nobody knows, and then it outlasts nothing."""
    override: tuple[str, ...] = ()
    """Who may let a held request through."""


@dataclass(frozen=True, slots=True)
class Open:
    """Nothing keeps it from beginning."""


@dataclass(frozen=True, slots=True)
class Held:
    """It may not begin yet."""

    windows: tuple[Window, ...]
    """Those that keep it from beginning now."""
    until: datetime
    """The first time at which none does; after `at`."""


@dataclass(frozen=True, slots=True)
class Denied:
    """It will not begin."""

    reason: str
    windows: tuple[Window, ...]


Outcome: TypeAlias = Open | Held | Denied


def look(windows: Sequence[Window], at: datetime, overridden: Collection[str] = ()) -> Outcome:
    """What the windows say of a request that would begin at `at`. Those named in `overridden` count as not there."""
    return _Search([one for one in windows if one.name not in overridden]).outcome(at)


class _Endless(Exception):
    """MOST_CHANGES were looked at."""


class _Search:
    def __init__(self, windows: Sequence[Window]) -> None:
        self._allow = [one for one in windows if one.effect == "allow"]
        self._deny = [one for one in windows if one.effect == "deny"]
        self._longest = max((_run(one) for one in self._allow if one.outlast != "finish"), default=timedelta(0))
        self._too_short: dict[str, Window] = {}
        self._changes = 0

    def outcome(self, at: datetime) -> Outcome:
        try:
            return self._first(at) or self._never(f"within {HORIZON.days} days")
        except _Endless:
            return self._never(f"in the next {MOST_CHANGES:,} openings and closings")

    def _first(self, at: datetime) -> Outcome | None:
        """Go from one time at which it may be open to the next, until one is and the run fits; None if none is."""
        held: tuple[Window, ...] = ()
        time: datetime | None = at
        while time is not None and time <= at + HORIZON:
            keeping, later = self._shut(time)
            if not keeping:
                outlasted = [(one, edge) for one, edge in self._edges(time) if time + _run(one) > edge]
                waiting = [(one, edge) for one, edge in outlasted if one.outlast == "wait"]
                if not waiting:
                    if outlasted:
                        return _denied(time, *outlasted[0])
                    return Held(held, time) if held else Open()
                keeping, later = [one for one, _ in waiting], max(edge for _, edge in waiting)
                self._too_short.update((one.name, one) for one in keeping)
            held = held or tuple(keeping)
            self._count()
            time = later
        return None

    def _never(self, when: str) -> Denied:
        if self._too_short:
            windows = tuple(self._too_short.values())
            run = _length(max(_run(one) for one in windows))
            return Denied(f"{_names(windows)}: a run of {run} fits into no time that is left open {when}", windows)
        windows = (*self._deny, *self._allow)
        return Denied(f"{_names(windows)}: there is no time to begin {when}", windows)

    def _shut(self, time: datetime) -> tuple[list[Window], datetime | None]:
        """The windows that keep a request from beginning, and until when at least; None if they always will."""
        denying = [(one, span.end) for one in self._deny if (span := one.schedule.around(time))]
        keeping = [one for one, _ in denying]
        ends = [end for _, end in denying]
        if self._allow and not self._open_allow(time):
            keeping += self._allow
            begins = [span.begin for one in self._allow if (span := one.schedule.next_after(time))]
            if not begins:
                return keeping, None
            ends.append(min(begins))
        return keeping, max(ends, default=None)

    def _edges(self, time: datetime) -> Iterator[tuple[Window, datetime]]:
        """What ends the time that is open at `time`, as far as a run may be so long and its end matters."""
        for one in self._deny:
            if one.outlast != "finish" and (span := one.schedule.next_after(time)):
                yield one, span.begin
        end, closing = time, self._open_allow(time)
        while closing and end < time + self._longest:
            if end > time:
                self._count()
            end = max(span.end for _, span in closing)
            closing = self._open_allow(end)
            if not closing:
                yield from ((one, end) for one, _ in self._open_allow(end - INSTANT) if one.outlast != "finish")

    def _open_allow(self, time: datetime) -> list[tuple[Window, Span]]:
        return [(one, span) for one in self._allow if (span := one.schedule.around(time))]

    def _count(self) -> None:
        self._changes += 1
        if self._changes > MOST_CHANGES:
            raise _Endless


def _denied(begin: datetime, window: Window, edge: datetime) -> Denied:
    reason = (
        f"{_names([window])}: a run of {_length(_run(window))} that begins at {_clock(begin)} "
        f"is not over at {_clock(edge)}, when it has to be"
    )
    return Denied(reason, (window,))


def _run(window: Window) -> timedelta:
    """What is longer than HORIZON is as long: nothing is known of later edges."""
    return timedelta(seconds=min(window.expected_seconds or 0, HORIZON.total_seconds()))


def _names(windows: Sequence[Window]) -> str:
    names = ", ".join(f"{one.name} ({one.because})" for one in windows)
    return f"window {names}" if len(windows) == 1 else f"windows {names}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _length(length: timedelta) -> str:
    """In words of two units at most, rounded up to seconds: 1d 4h, 90 min are 1h 30m."""
    seconds = int(-(-length.total_seconds() // 1))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0s"

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
MOST_CHANGES = 1_000
"""Openings and closings that are looked at before giving up."""


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
    concerned = tuple(one for one in windows if one.name not in overridden)
    search = _Search(concerned)
    begin = search.first_time(at)
    if begin is None:
        return Denied(search.why_never(at), concerned)
    if denying := search.outlasted(begin, "deny"):
        window, edge = denying[0]
        run = _length(timedelta(seconds=window.expected_seconds or 0))
        reason = (
            f"window {window.name}: {window.because}; a run of {run} that begins at {_clock(begin)} "
            f"would not be over at {_clock(edge)}"
        )
        return Denied(reason, tuple(one for one, _ in denying))
    if begin == at:
        return Open()
    return Held(search.keeping(at), begin)


class _Search:
    """One search through openings and closings, which ends after MOST_CHANGES of them."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._allow = tuple(one for one in windows if one.effect == "allow")
        self._deny = tuple(one for one in windows if one.effect == "deny")
        self._reaches = [_run(one) for one in self._allow if one.outlast != "finish"]
        self._changes = 0
        self._outlasted: dict[str, Window] = {}

    def first_time(self, at: datetime) -> datetime | None:
        """The first time from `at` on that is open and fits the runs that would wait; None if there is none."""
        time, last = at, at + HORIZON
        while time <= last and self._changes < MOST_CHANGES:
            self._changes += 1
            later = self._shut_until(time)
            if later == time:
                waiting = self.outlasted(time, "wait")
                if not waiting:
                    return time
                self._outlasted.update((one.name, one) for one, _ in waiting)
                later = max(edge for _, edge in waiting)
            if later is None:
                return None
            time = later
        return None

    def outlasted(self, begin: datetime, what: Literal["wait", "deny"]) -> list[tuple[Window, datetime]]:
        """The windows of that kind whose edge a run that begins at `begin` is expected to reach past; with the edge."""
        return [(one, edge) for one, edge in self._edges(begin) if one.outlast == what and edge - begin < _run(one)]

    def keeping(self, at: datetime) -> tuple[Window, ...]:
        """The windows that keep a request from beginning at `at`."""
        shut = [one for one in self._deny if one.schedule.around(at)]
        if not any(one.schedule.around(at) for one in self._allow):
            shut += self._allow
        return tuple(shut) or tuple(one for one, _ in self.outlasted(at, "wait"))

    def why_never(self, at: datetime) -> str:
        names = _names(tuple(self._outlasted.values()) or (*self._deny, *self._allow))
        if self._changes >= MOST_CHANGES:
            return f"{names}: no time to begin was found in the next {MOST_CHANGES:,} openings and closings"
        within = f"within {HORIZON.days} days from {_clock(at)}"
        if self._outlasted:
            run = _length(max(_run(one) for one in self._outlasted.values()))
            return f"{names}: a run of {run} fits into no time that is left open {within}"
        return f"{names}: no time to begin comes {within}"

    def _shut_until(self, time: datetime) -> datetime | None:
        """`time` if it is open then; else the next time at which it may be; None if that never comes."""
        ends = [span.end for one in self._deny if (span := one.schedule.around(time))]
        if ends:
            return max(ends)
        if not self._allow or any(one.schedule.around(time) for one in self._allow):
            return time
        begins = [span.begin for one in self._allow if (span := one.schedule.next_after(time))]
        return min(begins, default=None)

    def _edges(self, time: datetime) -> Iterator[tuple[Window, datetime]]:
        """Where windows end a run that begins at `time`, which is open. Edges no run reaches are left out."""
        for one in self._deny:
            if one.outlast != "finish" and (span := one.schedule.next_after(time)):
                yield one, span.begin
        if not self._reaches:
            return
        end, closing = time, self._open_allow(time)
        while closing and end - time < max(self._reaches) and self._changes < MOST_CHANGES:
            self._changes += 1
            end = max(span.end for _, span in closing)
            last, closing = [one for one, span in closing if span.end == end], self._open_allow(end)
            if not closing:
                yield from ((one, end) for one in last)

    def _open_allow(self, time: datetime) -> list[tuple[Window, Span]]:
        return [(one, span) for one in self._allow if (span := one.schedule.around(time))]


def _run(window: Window) -> timedelta:
    return timedelta(seconds=window.expected_seconds or 0)


def _names(windows: Sequence[Window]) -> str:
    return ("window " if len(windows) == 1 else "windows ") + ", ".join(one.name for one in windows)


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

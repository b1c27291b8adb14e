"""When a request may begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from entresol_policy.domain import windows
from entresol_policy.domain.windows import Denied, Held, Open, Outcome, Span, Window, look
from hypothesis import example, given, settings
from hypothesis import strategies as st

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
DAY = 1440


def at(minute: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minute)


@dataclass(frozen=True)
class Times:
    """Open in these spans of minutes after MIDNIGHT, which may touch."""

    spans: Sequence[tuple[int, int]]

    def around(self, time: datetime) -> Span | None:
        return next((Span(at(a), at(b)) for a, b in self.spans if at(a) <= time < at(b)), None)

    def next_after(self, time: datetime) -> Span | None:
        last = time + windows.HORIZON
        return next((Span(at(a), at(b)) for a, b in self.spans if time < at(a) <= last), None)


def allow(name: str, *spans: tuple[int, int], outlast: str = "finish", run: float | None = None) -> Window:
    expected = None if run is None else run * 60
    return Window(name, "allow", f"{name} only", Times(spans), outlast, expected)  # type: ignore[arg-type]


def deny(name: str, *spans: tuple[int, int], outlast: str = "finish", run: float | None = None) -> Window:
    expected = None if run is None else run * 60
    return Window(name, "deny", f"not in {name}", Times(spans), outlast, expected)  # type: ignore[arg-type]


OFFICE = (9 * 60, 17 * 60)
TOMORROW = (DAY + 9 * 60, DAY + 17 * 60)
NOON = (12 * 60, 13 * 60)


@pytest.mark.parametrize(
    ("concerned", "minute"),
    [
        ([], 0),
        ([allow("office", OFFICE)], 9 * 60),
        ([allow("office", OFFICE)], 17 * 60 - 0.001),
        ([allow("office", OFFICE), allow("night", (0, 300))], 60),
        ([deny("noon", NOON)], 13 * 60),
        ([deny("noon", NOON)], 12 * 60 - 0.001),
        ([allow("office", OFFICE, run=600)], 16 * 60),
        ([allow("office", OFFICE, outlast="wait", run=60)], 16 * 60),
        ([allow("office", OFFICE, outlast="deny", run=60)], 16 * 60),
        ([allow("office", OFFICE, outlast="wait")], 17 * 60 - 1),
        ([allow("office", OFFICE, outlast="wait", run=0)], 17 * 60 - 0.001),
        ([deny("noon", NOON, outlast="wait", run=60)], 11 * 60),
        # another window takes over where this one closes
        ([allow("office", OFFICE, outlast="wait", run=120), allow("late", (16 * 60, 20 * 60))], 16 * 60),
        ([allow("office", OFFICE, outlast="wait", run=120), allow("late", (17 * 60, 20 * 60))], 16 * 60),
        # the edge is the other's, who lets runs finish; noon is over before the run would be cut
        ([allow("office", OFFICE), deny("noon", NOON, outlast="deny", run=900)], 13 * 60),
        ([allow("office", OFFICE, outlast="wait", run=120), deny("noon", NOON)], 11 * 60 + 30),
    ],
)
def test_a_request_may_begin_where_windows_leave_it_open(concerned: list[Window], minute: float) -> None:
    assert look(concerned, at(minute)) == Open()


@pytest.mark.parametrize(
    ("concerned", "minute", "names", "until"),
    [
        ([allow("office", OFFICE)], 60, ["office"], 9 * 60),
        ([allow("office", OFFICE, TOMORROW)], 17 * 60, ["office"], DAY + 9 * 60),
        ([deny("noon", NOON)], 12 * 60, ["noon"], 13 * 60),
        ([allow("office", OFFICE), deny("noon", NOON)], 12 * 60, ["noon"], 13 * 60),
        ([allow("office", OFFICE), deny("night", (0, 8 * 60))], 60, ["night", "office"], 9 * 60),
        # both have to agree: the one opens while the other denies
        ([allow("office", OFFICE, TOMORROW), deny("freeze", (300, 18 * 60))], 60, ["office"], DAY + 9 * 60),
        ([deny("a", (0, 60)), deny("b", (60, 120)), deny("c", (110, 300))], 10, ["a"], 300),
        ([allow("office", OFFICE), allow("late", (18 * 60, 20 * 60))], 17 * 60, ["office", "late"], 18 * 60),
        # a run that would not be over waits
        ([allow("office", OFFICE, TOMORROW, outlast="wait", run=61)], 16 * 60, ["office"], DAY + 9 * 60),
        ([deny("noon", NOON, outlast="wait", run=61)], 11 * 60, ["noon"], 13 * 60),
        ([allow("office", OFFICE, TOMORROW, outlast="wait", run=300)], 60, ["office"], 9 * 60),
        ([allow("office", (0, 30), OFFICE, outlast="wait", run=60)], 10, ["office"], 9 * 60),
        # what opens first is too short for it
        ([allow("office", (60, 100), OFFICE, outlast="wait", run=60)], 10, ["office"], 9 * 60),
        # whether a run has to be over matters when it begins, not when it is held
        ([allow("office", OFFICE, outlast="deny", run=60)], 60, ["office"], 9 * 60),
    ],
)
def test_a_request_is_held_until_the_first_time_at_which_it_may_begin(
    concerned: list[Window], minute: int, names: list[str], until: int
) -> None:
    held = look(concerned, at(minute))
    assert isinstance(held, Held)
    assert sorted(one.name for one in held.windows) == sorted(names)
    assert held.until == at(until)
    assert look(concerned, held.until) == Open()


@pytest.mark.parametrize(
    ("concerned", "minute", "reason"),
    [
        ([allow("office", OFFICE)], 17 * 60, "window office (office only): there is no time to begin within 366 days"),
        ([allow("never"), deny("noon", NOON)], 60, "windows noon (not in noon), never (never only): there is no time"),
        ([allow("office", OFFICE), deny("freeze", OFFICE)], 60, "windows freeze (not in freeze), office (office only)"),
        ([deny("freeze", (0, 367 * DAY))], 60, "window freeze (not in freeze): there is no time to begin within"),
        (
            [allow("office", OFFICE, TOMORROW, outlast="wait", run=481)],
            60,
            "window office (office only): a run of 8h 1m fits into no time that is left open within 366 days",
        ),
        (
            [allow("office", OFFICE, TOMORROW, outlast="deny", run=90)],
            16 * 60,
            "window office (office only): a run of 1h 30m that begins at 2026-11-21 16:00 UTC is not over at "
            "2026-11-21 17:00 UTC, when it has to be",
        ),
        (
            [deny("noon", NOON, outlast="deny", run=61)],
            11 * 60,
            "window noon (not in noon): a run of 1h 1m that begins",
        ),
        ([deny("noon", NOON, outlast="deny", run=1e15)], 60, "window noon (not in noon): a run of 366d that begins"),
        # it will not fit when it opens either: say so now
        ([allow("office", OFFICE, outlast="deny", run=481)], 60, "window office (office only): a run of 8h 1m that"),
    ],
)
def test_a_request_that_will_not_begin_is_denied(concerned: list[Window], minute: int, reason: str) -> None:
    denied = look(concerned, at(minute))
    assert isinstance(denied, Denied)
    assert denied.reason.startswith(reason)


@pytest.mark.parametrize(
    ("overridden", "outcome"),
    [
        ((), "held"),
        ({"freeze"}, "held"),
        ({"office"}, "held"),
        ({"office", "freeze"}, "open"),
    ],
)
def test_an_overridden_window_counts_as_not_there(overridden: set[str], outcome: str) -> None:
    concerned = [allow("office", OFFICE), deny("freeze", (0, 60))]
    assert type(look(concerned, at(0), overridden)).__name__.lower() == outcome


def test_a_window_that_is_told_piece_by_piece_is_one_window() -> None:
    pieces = [(begin, begin + 100) for begin in range(0, 1000, 100)]
    assert look([allow("open", *pieces, outlast="wait", run=900)], at(50)) == Open()
    assert isinstance(look([allow("open", *pieces, outlast="wait", run=951)], at(50)), Denied)


@dataclass
class EveryOther:
    """Open in every other minute, for ever; counts how often it is asked."""

    odd: bool
    asked: int = 0

    def around(self, time: datetime) -> Span | None:
        self.asked += 1
        minute = (time - MIDNIGHT) // timedelta(minutes=1)
        return Span(at(minute), at(minute + 1)) if minute % 2 == self.odd else None

    def next_after(self, time: datetime) -> Span | None:
        self.asked += 1
        minute = (time - MIDNIGHT) // timedelta(minutes=1) + 1
        minute += minute % 2 != self.odd
        return Span(at(minute), at(minute + 1))


def every_other(effect: Literal["allow", "deny"], odd: bool, outlast: Literal["wait", "deny"], run: int) -> Window:
    return Window(f"{effect}-{odd}", effect, "because", EveryOther(odd), outlast, run * 60)


@pytest.mark.parametrize(
    "concerned",
    [
        [every_other("allow", False, "wait", 2)],
        [every_other("deny", True, "wait", 2)],
        [every_other("allow", False, "wait", 2), every_other("deny", True, "wait", 2)],
        [every_other("allow", False, "wait", 1), every_other("deny", False, "wait", 1)],
        # they take over from each other, and the closing that matters is never found
        [every_other("allow", False, "deny", 5000), every_other("allow", True, "deny", 5000)],
        # nor is it here, from each of the times that are tried
        [
            every_other("allow", False, "wait", 300),
            every_other("allow", True, "wait", 300),
            every_other("deny", True, "wait", 2),
        ],
    ],
)
def test_a_search_that_does_not_end_is_given_up_and_lets_nothing_begin(concerned: list[Window]) -> None:
    denied = look(concerned, at(0))
    assert isinstance(denied, Denied)
    assert denied.reason.endswith("in the next 2,000 openings and closings")
    for window in concerned:
        assert isinstance(window.schedule, EveryOther)
        assert window.schedule.asked <= 6 * windows.MOST_CHANGES


LAST = 300
spans = st.lists(st.tuples(st.integers(0, LAST - 60), st.integers(1, 60)), max_size=5)


@st.composite
def some_window(draw: st.DrawFn, name: str) -> Window:
    """Its spans are apart or touch."""
    taken: list[tuple[int, int]] = []
    for begin, length in sorted(draw(spans)):
        start = max(begin, taken[-1][1]) if taken else begin
        taken.append((start, start + length))
    make = draw(st.sampled_from([allow, deny]))
    run = draw(st.none() | st.integers(0, 90))
    return make(name, *taken, outlast=draw(st.sampled_from(["finish", "wait", "deny"])), run=run)


def minutes(window: Window) -> set[int]:
    assert isinstance(window.schedule, Times)
    return {minute for a, b in window.schedule.spans for minute in range(a, b)}


def by_hand(concerned: Sequence[Window], start: int) -> tuple[str, int | None, set[str]]:
    """The outcome, found by trying every minute: what, when, and which windows keep it from beginning at `start`."""
    times = {one.name: minutes(one) for one in concerned}
    allowing = [one.name for one in concerned if one.effect == "allow"]
    denying = [one.name for one in concerned if one.effect == "deny"]
    allowed = set().union(*(times[name] for name in allowing))

    def shut(minute: int) -> set[str]:
        names = {name for name in denying if minute in times[name]}
        return names | set(allowing) if allowing and minute not in allowed else names

    def outlasted(minute: int, what: str) -> set[str]:
        names = set()
        for one in concerned:
            run = range(minute, minute + int((one.expected_seconds or 0) / 60))
            if one.outlast == what and one.effect == "deny" and any(later in times[one.name] for later in run):
                names.add(one.name)
            if one.outlast == what and one.effect == "allow":
                closed = next((later for later in run if later not in allowed), None)
                if closed is not None and closed - 1 in times[one.name]:
                    names.add(one.name)
        return names

    kept = shut(start) or outlasted(start, "wait")
    for minute in range(start, 2 * LAST):
        if not shut(minute) and not outlasted(minute, "wait"):
            if outlasted(minute, "deny"):
                return "denied", None, kept
            return ("held" if kept else "open"), minute, kept
    return "denied", None, kept


def told(outcome: Outcome, start: int) -> tuple[str, int | None]:
    if isinstance(outcome, Held):
        return "held", int((outcome.until - MIDNIGHT) / timedelta(minutes=1))
    return (type(outcome).__name__.lower(), start) if isinstance(outcome, Open) else ("denied", None)


several = st.integers(0, 4).flatmap(lambda count: st.tuples(*(some_window(f"w{n}") for n in range(count))))


@settings(max_examples=300, deadline=None)
@given(several, st.integers(0, LAST))
@example((allow("w0", (0, 10), outlast="wait", run=20), allow("w1", (5, 10), outlast="deny", run=20)), 0)
def test_the_outcome_is_what_trying_every_minute_finds(concerned: tuple[Window, ...], start: int) -> None:
    what, when, kept = by_hand(concerned, start)
    outcome = look(concerned, at(start))
    assert told(outcome, start) == (what, when)
    if isinstance(outcome, Held):
        assert {one.name for one in outcome.windows} == kept


@settings(max_examples=100, deadline=None)
@given(several, st.integers(0, LAST), st.floats(0, 1, exclude_max=True))
def test_it_does_not_matter_when_a_request_is_looked_at_while_it_waits(
    concerned: tuple[Window, ...], start: int, part: float
) -> None:
    held = look(concerned, at(start))
    if isinstance(held, Held):
        meanwhile = min(at(start) + part * (held.until - at(start)), held.until - timedelta.resolution)
        again = look(concerned, meanwhile)
        assert isinstance(again, Held)
        assert again.until == held.until

"""When a window is open."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from entresol_policy.calendar import Schedule
from entresol_policy.domain.windows import Denied, Held, Open, Span, Window, look
from hypothesis import given, settings
from hypothesis import strategies as st

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(begin: str, end: str) -> Span:
    return Span(utc(begin), utc(end))


@pytest.mark.parametrize(
    ("cron", "duration", "zone", "at", "around", "after"),
    [
        # office hours on a Saturday, at the first instant, inside, at the first that is over
        ("0 9 * * 1-5", 8 * HOUR, "UTC", "2026-11-21T10:00", None, ("2026-11-23T09:00", "2026-11-23T17:00")),
        (
            *("0 9 * * 1-5", 8 * HOUR, "UTC", "2026-11-23T09:00"),
            *(("2026-11-23T09:00", "2026-11-23T17:00"), ("2026-11-24T09:00", "2026-11-24T17:00")),
        ),
        (
            *("0 9 * * 1-5", 8 * HOUR, "UTC", "2026-11-23T16:59:59.999999"),
            *(("2026-11-23T09:00", "2026-11-23T17:00"), ("2026-11-24T09:00", "2026-11-24T17:00")),
        ),
        ("0 9 * * 1-5", 8 * HOUR, "UTC", "2026-11-23T17:00", None, ("2026-11-24T09:00", "2026-11-24T17:00")),
        ("0 9 * * 1-5", 8 * HOUR, "UTC", "2026-11-23T08:59:59", None, ("2026-11-23T09:00", "2026-11-23T17:00")),
        # over midnight, of the day before
        (
            *("0 22 * * *", 8 * HOUR, "Asia/Kolkata", "2026-11-21T00:00"),
            *(("2026-11-20T16:30", "2026-11-21T00:30"), ("2026-11-21T16:30", "2026-11-22T00:30")),
        ),
        # every other hour for an hour and a half: they don't run into each other; for two hours they do
        (
            *("0 */2 * * *", 1.5 * HOUR, "UTC", "2026-11-21T10:10"),
            *(("2026-11-21T10:00", "2026-11-21T11:30"), ("2026-11-21T12:00", "2026-11-21T13:30")),
        ),
        (
            *("0 8-16/2 * * *", 2 * HOUR, "UTC", "2026-11-21T10:10"),
            *(("2026-11-21T08:00", "2026-11-21T18:00"), ("2026-11-22T08:00", "2026-11-22T18:00")),
        ),
        # Friday to Sunday, a day and two hours each
        (
            *("0 0 * * 5-7", 26 * HOUR, "UTC", "2026-11-21T10:10"),
            *(("2026-11-20T00:00", "2026-11-23T02:00"), ("2026-11-27T00:00", "2026-11-30T02:00")),
        ),
        # the same with a day each, which touch
        (
            *("0 0 * * 5-7", 24 * HOUR, "UTC", "2026-11-21T10:10"),
            *(("2026-11-20T00:00", "2026-11-23T00:00"), ("2026-11-27T00:00", "2026-11-30T00:00")),
        ),
        # what is open for more than a year
        ("0 0 1 1 *", 400 * DAY, "UTC", "2026-11-21T00:00", ("2026-01-01T00:00", "2027-02-05T00:00"), None),
        ("0 0 29 2 *", 800 * DAY, "UTC", "2026-11-21T00:00", None, None),
        ("0 0 29 2 *", DAY, "UTC", "2027-02-27T23:59", None, None),
        ("0 0 29 2 *", DAY, "UTC", "2027-02-28T00:00", None, ("2028-02-29T00:00", "2028-03-01T00:00")),
        ("0 12 29 2 *", HOUR, "UTC", "2027-02-28T11:59", None, None),
        ("0 12 29 2 *", HOUR, "UTC", "2027-02-28T12:00", None, ("2028-02-29T12:00", "2028-02-29T13:00")),
        # a day of the month or a day of the week, the last of the month, the third Thursday
        ("0 0 1 * MON", HOUR, "UTC", "2026-11-24T00:00", None, ("2026-11-30T00:00", "2026-11-30T01:00")),
        ("0 0 L * *", HOUR, "UTC", "2026-02-10T00:00", None, ("2026-02-28T00:00", "2026-02-28T01:00")),
        ("0 0 * * THU#3", HOUR, "UTC", "2026-11-21T00:00", None, ("2026-12-17T00:00", "2026-12-17T01:00")),
    ],
)
def test_a_window_opens_by_its_cron_expression_for_its_length(
    cron: str,
    duration: timedelta,
    zone: str,
    at: str,
    around: tuple[str, str] | None,
    after: tuple[str, str] | None,
) -> None:
    schedule = Schedule(cron, duration, zone)
    assert schedule.around(utc(at)) == (around and span(*around))
    assert schedule.next_after(utc(at)) == (after and span(*after))


@pytest.mark.parametrize(
    ("cron", "zone", "day", "begins"),
    [
        # 02:00 to 03:00 is skipped: once, when clocks go on; by the clock: not at all
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["01:00"]),
        ("15,45 2 * * *", "Europe/Berlin", "2026-03-29", ["01:00"]),
        ("30 1-3 * * *", "Europe/Berlin", "2026-03-29", ["00:30", "01:00", "01:30"]),
        ("0 2-4 * * *", "Europe/Berlin", "2026-03-29", ["01:00", "02:00"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-29", []),
        # 02:00 to 03:00 comes twice: once, at the first; by the clock: twice
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["00:30"]),
        ("30 1-3 * * *", "Europe/Berlin", "2026-10-25", ["23:30", "00:30", "02:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25", ["00:00", "00:30", "01:00", "01:30"]),
        ("30 2 * * *", "America/New_York", "2026-03-08", ["07:00"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", ["05:30"]),
        ("*/30 1 * * *", "America/New_York", "2026-11-01", ["05:00", "05:30", "06:00", "06:30"]),
        ("30 2 * * *", "Asia/Kolkata", "2026-03-29", ["21:00"]),
        # half an hour: 02:00 to 02:30 is skipped, 01:30 to 02:00 comes twice; the hours after it are whole
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["15:30"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["15:30", "15:45"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-04", ["16:00", "16:15", "16:30", "16:45"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["14:45"]),
        ("*/15 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["14:00", "14:15", "14:30", "14:45", "15:00", "15:15"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", "2026-04-05", ["15:30", "15:45", "16:00", "16:15"]),
        # midnight itself is skipped
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", ["22:00"]),
        ("*/20 0 * * *", "Africa/Cairo", "2026-04-24", []),
        # at the end of 29 December 2011 it became the 31st; since 2021 clocks stay as they are
        ("0 9 * * *", "Pacific/Apia", "2011-12-31", ["10:00", "19:00"]),
        ("*/30 9 * * *", "Pacific/Apia", "2011-12-31", ["19:00", "19:30"]),
        ("0 2 * * *", "Pacific/Apia", "2026-09-27", ["13:00"]),
    ],
)
def test_where_clocks_change_a_window_opens_as_cron_would(cron: str, zone: str, day: str, begins: list[str]) -> None:
    """What opens on that day of the zone, in UTC."""
    begin, end = local(day, zone), local(str(date.fromisoformat(day) + DAY), zone)
    assert [f"{one:%H:%M}" for one in starts(Schedule(cron, timedelta(seconds=1), zone), begin, end)] == begins


def local(day: str, zone: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def starts(schedule: Schedule, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Of a window that is open for less than a minute."""
    at = begin - timedelta.resolution
    while (opening := schedule.next_after(at)) and opening.begin < end:
        yield opening.begin
        at = opening.begin


def starts_by_hand(cron: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Look at a clock every minute, as cron does. Only for expressions with every day."""
    minutes, hours = (CronSim(cron, begin).minutes, CronSim(cron, begin).hours)
    by_clock = re.match(r"\S*\*|\S+ \*", cron) is not None
    found, at = [], begin
    while at < end:
        now = at.astimezone(ZoneInfo(zone))
        shown = now.replace(tzinfo=None, fold=0)
        before = (at - MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        if by_clock:
            seen = [shown]
        elif now.fold:
            seen = []
        else:  # with what was skipped just before
            seen = [shown - n * MINUTE for n in range(max(1, (shown - before) // MINUTE))]
        if any(one.minute in minutes and one.hour in hours for one in seen):
            found.append(at)
        at += MINUTE
    return found


CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-30"),
    ("Asia/Kolkata", "2026-03-29"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Pacific/Apia", "2026-04-05"),
    ("Pacific/Apia", "2011-12-31"),
    ("UTC", "2026-03-29"),
]


def fields(last: int) -> st.SearchStrategy[str]:
    number = st.integers(0, last)
    several = st.lists(number, min_size=1, max_size=4).map(lambda all_: ",".join(map(str, all_)))
    stepped = st.integers(1, 20).map(lambda step: f"*/{step}")
    ranged = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    return several | stepped | ranged | st.just("*")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), fields(59), fields(23))
def test_openings_are_those_that_looking_at_the_clock_finds(change: tuple[str, str], minute: str, hour: str) -> None:
    zone, day = change
    cron = f"{minute} {hour} * * *"
    begin, end = local(day, zone) - 6 * HOUR, local(day, zone) + 9 * HOUR
    assert list(starts(Schedule(cron, timedelta(seconds=1), zone), begin, end)) == starts_by_hand(
        cron, zone, begin, end
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([change for change in CHANGES if change[0] in ("Europe/Berlin", "America/New_York", "UTC")]),
    fields(59),
    fields(23),
    st.sampled_from(["* * *", "* * 7", "28-31 * *", "L * *", "* 3 *", "29 * SAT", "LW * *", "* * SUN#5"]),
)
def test_openings_are_those_of_cronsim_where_clocks_change_by_an_hour(
    change: tuple[str, str], minute: str, hour: str, days: str
) -> None:
    zone, day = change
    cron = f"{minute} {hour} {days}"
    begin, end = local(day, zone) - 6 * HOUR, local(day, zone) + 9 * HOUR
    theirs: list[datetime] = []
    for one in CronSim(cron, (begin - timedelta(seconds=1)).astimezone(ZoneInfo(zone))):
        if one.astimezone(UTC) >= end:
            break
        theirs.append(one.astimezone(UTC))
    assert list(starts(Schedule(cron, timedelta(seconds=1), zone), begin, end)) == sorted(set(theirs))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CHANGES),
    fields(59),
    fields(23),
    st.integers(1, 3000),
    st.integers(-3000, 3000),
)
def test_it_is_open_for_its_length_from_each_start(
    change: tuple[str, str], minute: str, hour: str, length: int, offset: int
) -> None:
    zone, day = change
    cron = f"{minute} {hour} * * *"
    at = local(day, zone) + offset * MINUTE
    begun = starts_by_hand(cron, zone, at - length * MINUTE, at + 2 * DAY)
    schedule = Schedule(cron, length * MINUTE, zone)
    around, after = schedule.around(at), schedule.next_after(at)
    assert (around is not None) == any(one <= at < one + length * MINUTE for one in begun)
    if around is not None:
        assert around.begin <= at < around.end
        assert any(one + length * MINUTE == around.end for one in begun) or around.end > at + 2 * DAY
        assert not any(one <= around.end < one + length * MINUTE for one in begun) or around.end > at + 31 * DAY
    if after is not None:
        assert after.begin > at
        assert schedule.around(after.begin) == after
        assert schedule.around(after.begin - timedelta.resolution) is None


def test_the_length_is_elapsed_time() -> None:
    night = Schedule("0 22 * * *", 8 * HOUR, "Europe/Berlin")
    assert night.around(utc("2026-03-29T00:30")) == span("2026-03-28T21:00", "2026-03-29T05:00")  # until 07:00 there
    assert night.around(utc("2026-10-25T00:30")) == span("2026-10-24T20:00", "2026-10-25T04:00")  # until 05:00 there


def test_a_daily_window_of_24_hours_is_shut_in_the_hour_that_a_day_has_more() -> None:
    daily = Schedule("0 0 * * *", 24 * HOUR, "Europe/Berlin")
    open_before = daily.around(utc("2026-10-25T21:59"))
    assert open_before is not None
    assert open_before.end == utc("2026-10-25T22:00")
    assert daily.around(utc("2026-10-25T22:30")) is None
    assert daily.around(utc("2026-10-25T23:00")) is not None


def test_what_is_always_open_is_told_a_month_at_a_time() -> None:
    daily, at = Schedule("0 0 * * *", 26 * HOUR, "UTC"), utc("2026-11-21T10:00")
    part = daily.around(at)
    assert part is not None
    assert part.begin <= at - 31 * DAY
    assert at + 31 * DAY <= part.end < at + 34 * DAY
    assert daily.around(part.end) is not None
    assert daily.next_after(at) is None


@pytest.mark.parametrize(
    ("cron", "duration"),
    [
        ("* * * * *", MINUTE),
        ("* * * * *", 400 * DAY),
        ("*/2 * * * *", MINUTE),
        ("0 0 29 2 *", 3660 * DAY),
        ("0-59 0-23 * * *", MINUTE),
    ],
)
def test_a_question_looks_at_no_more_days_than_it_has_to(
    cron: str, duration: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    days: list[date] = []
    match_day = CronSim.match_day

    def watched(self: CronSim, day: date) -> bool:
        days.append(day)
        return match_day(self, day)

    monkeypatch.setattr(CronSim, "match_day", watched)
    schedule = Schedule(cron, duration, "Europe/Berlin")
    schedule.around(utc("2026-11-21T10:17"))
    schedule.next_after(utc("2026-11-21T10:17"))
    assert len(days) < 5_000


@pytest.mark.parametrize(
    ("cron", "duration", "zone", "words"),
    [
        ("", HOUR, "UTC", "cron '': it takes five fields"),
        ("0 9 * *", HOUR, "UTC", "it takes five fields: minute, hour, day of month, month, day of week"),
        ("0 0 9 * * *", HOUR, "UTC", "it takes five fields"),
        ("@daily", HOUR, "UTC", "it takes five fields"),
        ("60 9 * * *", HOUR, "UTC", "cron '60 9 * * *': bad minute"),
        ("0 9-8 * * *", HOUR, "UTC", "bad hour"),
        ("0 9 * * MO", HOUR, "UTC", "bad day-of-week"),
        ("0 0 30 2 *", HOUR, "UTC", "bad day-of-month, or no such day ever comes"),
        ("0 9 * * *", timedelta(0), "UTC", "a window is open for more than no time and 3,660 days at most"),
        ("0 9 * * *", -HOUR, "UTC", "a window is open for more than no time"),
        ("0 9 * * *", 3661 * DAY, "UTC", "3,660 days at most"),
        ("0 9 * * *", HOUR, "Europe/Berlyn", "time zone 'Europe/Berlyn' is not known; it takes a name such as"),
        ("0 9 * * *", HOUR, "", "time zone '' is not known"),
        ("0 9 * * *", HOUR, "Europe", "time zone 'Europe' is not known"),
        ("0 9 * * *", HOUR, "../../etc/passwd", "is not known"),
        ("0 9 * * *", HOUR, "/etc/localtime", "is not known"),
        ("0 9 * * *", HOUR, "Europe/Berlin\0", "is not known"),
        ("0 9 * * *", HOUR, "x" * 5000, "is not known"),
        ("0 9 * * *", HOUR, "\ud800", "is not known"),
    ],
)
def test_what_is_not_usable_is_refused_with_words(cron: str, duration: timedelta, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Schedule(cron, duration, zone)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("0123456789*/,-#LWMONFRI ²", max_size=6), min_size=5, max_size=5))
def test_any_expression_is_usable_or_refused(parts: list[str]) -> None:
    try:
        schedule = Schedule(" ".join(parts), HOUR, "Europe/Berlin")
    except ValueError:
        return
    schedule.around(utc("2026-03-29T01:00"))
    schedule.next_after(utc("2026-03-29T01:00"))


def test_a_real_calendar_says_when_a_request_may_begin() -> None:
    office = Schedule("0 9 * * 1-5", 8 * HOUR, "Europe/Berlin")
    freeze = Schedule("0 0 21 12 *", 12 * DAY, "Europe/Berlin")
    concerned = [
        Window("office", "allow", "somebody is there", office, "wait", 3600),
        Window("freeze", "deny", "year end", freeze),
    ]
    assert look(concerned, utc("2026-12-18T15:00")) == Open()
    held = look(concerned, utc("2026-12-18T15:01"))
    assert isinstance(held, Held)
    assert held.until == utc("2027-01-04T08:00")


def test_a_run_that_is_longer_than_every_opening_of_a_year_is_denied_and_does_not_wait_for_ever() -> None:
    twice_a_day = Schedule("0 8,14 * * *", 4 * HOUR, "Europe/Berlin")
    denied = look(
        [Window("shifts", "allow", "somebody is there", twice_a_day, "wait", 5 * 3600)], utc("2026-11-21T10:00")
    )
    assert isinstance(denied, Denied)
    assert denied.reason == (
        "window shifts (somebody is there): a run of 5h fits into no time that is left open within 366 days"
    )

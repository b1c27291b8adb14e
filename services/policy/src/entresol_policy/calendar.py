"""When a window is open: a cron expression in a time zone, and for how long from there.

The expression says wall-clock times and is read by cronsim, as Debian's cron reads it; the length is elapsed time.
What happens when clocks change is Debian's as well:
- Where minute or hour begin with `*`, it opens by the clock: not at times that are skipped, twice at times that come
  twice.
- Otherwise it opens once: for a time that is skipped, when clocks go on; of a time that comes twice, at the first.

Which instants these are is worked out here. cronsim's own stepping loses starts where clocks change by half an hour,
and from within the repeated hour it answers with what has been.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from entresol_policy.domain.windows import HORIZON, INSTANT, Span

LONGEST = timedelta(days=3_660)
"""A window that is open for ten years is always open."""
MERGED = timedelta(days=31)
"""How far openings that run into each other are followed, before and after the time that is asked about."""
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Pattern: TypeAlias = Sequence[tuple[timedelta, timedelta]]
"""The openings that begin on one day, after its midnight; in order, and apart from each other."""


class Schedule:
    """The openings of a window. Openings of it that overlap or touch are one.

    What a question costs depends on the days it looks at, some thousands at most, and not on how often the window
    opens on them.
    """

    def __init__(self, cron: str, duration: timedelta, zone: str) -> None:
        """Raise ValueError, with words for who wrote it, if one of them is not usable."""
        if not timedelta(0) < duration <= LONGEST:
            raise ValueError(f"a window is open for more than no time and {LONGEST.days:,} days at most")
        self._duration = duration
        self._zone = _zone(zone)
        self._cron = _read(cron)
        self._by_clock = any(part.startswith("*") for part in self._cron.parts[1:3])
        self._times = [time(hour, minute) for hour in sorted(self._cron.hours) for minute in sorted(self._cron.minutes)]
        self._usual = self._merged(timedelta(hours=one.hour, minutes=one.minute) for one in self._times)
        self._unusual = lru_cache(maxsize=16)(self._day_of_change)

    def around(self, at: datetime) -> Span | None:
        """The opening in which `at` lies; None if it is shut then.

        Where openings run into each other for longer than MERGED, it is the part of them around `at`.
        """
        span = self._latest(at)
        if span is None or span.end <= at:
            return None
        begin, end = span.begin, span.end
        while end < at + MERGED and (later := self._latest(end)) and later.end > end:
            end = later.end
        while begin > at - MERGED and (earlier := self._latest(begin - INSTANT)) and earlier.end >= begin:
            begin = earlier.begin
        return Span(begin, end)

    def next_after(self, at: datetime) -> Span | None:
        """The first opening that begins after `at`; None if there is none within 366 days."""
        last = at + HORIZON
        shut = at
        while shut <= last and (now := self.around(shut)):
            shut = now.end
        day = shut.astimezone(self._zone).date()
        while day <= last.astimezone(self._zone).date():
            for begin, _ in self._openings(day):
                if shut < begin <= last:
                    return self.around(begin)
            day += DAY
        return None

    def _latest(self, at: datetime) -> Span | None:
        """The opening that began last, at `at` or before; None if it is over for sure."""
        day = at.astimezone(self._zone).date()
        first = (at - self._duration).astimezone(self._zone).date()
        while day >= first:
            if self._opens_on(day):
                midnight, pattern = self._day(day)
                found = bisect_right(pattern, at - midnight, key=lambda one: one[0])
                if found:
                    begin, end = pattern[found - 1]
                    return Span(midnight + begin, midnight + end)
            day -= DAY
        return None

    def _openings(self, day: date) -> Iterable[tuple[datetime, datetime]]:
        if self._opens_on(day):
            midnight, pattern = self._day(day)
            for begin, end in pattern:
                yield midnight + begin, midnight + end

    def _opens_on(self, day: date) -> bool:
        return day.month in self._cron.months and self._cron.match_day(day)

    def _day(self, day: date) -> tuple[datetime, Pattern]:
        """The midnight with which the day begins, and its openings."""
        begin, end = (datetime.combine(one, time(), self._zone) for one in (day, day + DAY))
        same = begin.utcoffset() == end.utcoffset()
        return begin.astimezone(UTC), self._usual if same else self._unusual(day)

    def _day_of_change(self, day: date) -> Pattern:
        midnight = datetime.combine(day, time(), self._zone).astimezone(UTC)
        starts: list[datetime] = []
        skipped_until = datetime.combine(day, time())
        for one in self._times:
            local = datetime.combine(day, one)
            first, second = self._instant(local, fold=0), self._instant(local, fold=1)
            if first < second:
                starts += [first, second] if self._by_clock else [first]
            elif first == second:
                starts.append(first)
            elif not self._by_clock:
                if skipped_until <= local:
                    skipped_until = self._end_of_skipped(local)
                starts.append(self._instant(skipped_until, fold=0))
        return self._merged(sorted(one - midnight for one in starts))

    def _end_of_skipped(self, local: datetime) -> datetime:
        while self._instant(local, fold=0) > self._instant(local, fold=1):
            local += MINUTE
        return local

    def _instant(self, local: datetime, fold: int) -> datetime:
        """The two folds are the same instant but where clocks change: of a time that is skipped, the first is later."""
        return local.replace(tzinfo=self._zone, fold=fold).astimezone(UTC)

    def _merged(self, starts: Iterable[timedelta]) -> Pattern:
        merged: list[tuple[timedelta, timedelta]] = []
        for start in starts:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], start + self._duration)
            else:
                merged.append((start, start + self._duration))
        return merged


def _read(cron: str) -> CronSim:
    if len(cron.split()) != 5:
        raise ValueError(f"cron {cron!r}: it takes five fields: minute, hour, day of month, month, day of week")
    try:
        return CronSim(cron, EPOCH)
    except CronSimError as error:
        raise ValueError(f"cron {cron!r}: {str(error).lower()}, or no such day ever comes") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a directory of zones
        raise ValueError(f"time zone {name!r} is not known; it takes a name such as Europe/Berlin") from None

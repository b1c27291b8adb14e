"""Many requests made of a few real ones: their rows and messages again, under other ids, names and times.

What is copied is changed only in what tells one request from another, and everywhere in the same way, so rows of five
databases and the messages on the bus still fit each other. Ids stay UUIDs of their version, those of version 7 with
the time that their row tells.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from entresol_eventing.envelope import subject_key

NAME = "fill"
"""Names of requests that are copied begin with this, then a number of seven digits: `fill-0000042`."""
_TOKEN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[57][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?"
    rf"|{NAME}-\d{{7}}"
    r"|(?<![0-9a-f:])[0-9a-f]{32}(?![0-9a-f])"
)
_SUBJECT = re.compile(rf'"subject":"([^"]*{NAME}-\d{{7}})"')
_RANDOM = (1 << 62) - 1 | ((1 << 12) - 1) << 64
"""The bits of a UUID that are neither its version, nor its variant, nor a time."""

Value = str | bytes | int | float | None
Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """How the copy of a given number differs from what it is made of."""

    number: int
    """From 1; no two copies of the same requests may have the same."""
    names: int
    """How many requests are copied."""
    seed: int
    older: timedelta
    mask: int = field(init=False)

    def __post_init__(self) -> None:
        chance = random.Random(f"{self.seed} {self.number}")
        object.__setattr__(self, "mask", chance.getrandbits(128) & _RANDOM)

    def token(self, token: str) -> str:
        """The same token as the copy has it."""
        if token.startswith(NAME):
            return f"{NAME}-{int(token[-7:]) + self.number * self.names:07d}"
        if token[4] == "-":
            moment = datetime.fromisoformat(token) - self.older
            text = moment.isoformat(token[10], "microseconds" if "." in token else "seconds")
            return text[: len(token)]
        value = int(token.replace("-", ""), 16) ^ self.mask
        if token[14] == "7":
            value -= int(self.older.total_seconds() * 1000) << 80
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def tokens(text: str) -> list[str]:
    """Everything in a text that may tell one request from another."""
    return _TOKEN.findall(text)


def digests(texts: Iterable[str]) -> dict[str, str]:
    """Subjects that NATS has as a digest, by that digest; they hold a name, so a copy has another digest."""
    subjects = {subject for text in texts for subject in _SUBJECT.findall(text)}
    return {key: subject for subject in subjects if (key := subject_key(subject)) != subject}


class Pattern:
    """Rows of one table, or messages, in which everything that a copy changes is known by place."""

    def __init__(self, rows: Sequence[Values], numbered: Sequence[int], hashed: Mapping[str, str]) -> None:
        self._numbered = frozenset(numbered)
        self._hashed = hashed
        self._rows = [[self._part(index, value) for index, value in enumerate(row)] for row in rows]
        self._tokens = sorted({token for row in self._rows for _, _, tokens in row for token in tokens})
        numbers = [int(row[index] or 0) for row in rows for index in numbered]
        self.first = min(numbers, default=0)
        self.span = max(numbers) - self.first + 1 if numbers else 0
        """How far the numbers of one copy reach."""

    def _part(self, index: int, value: Value) -> tuple[Value, bool, tuple[str, ...]]:
        """The value with gaps, whether it is bytes, and what stands in the gaps."""
        if not isinstance(value, str | bytes):
            return value, False, ()
        text = value.decode() if isinstance(value, bytes) else value
        tokens = tuple(one for one in _TOKEN.findall(text) if self._changes(one))
        if not tokens:
            return value, False, ()
        gaps = _TOKEN.sub(lambda match: "%s" if self._changes(match[0]) else match[0], text.replace("%", "%%"))
        return gaps, isinstance(value, bytes), tokens

    def _changes(self, token: str) -> bool:
        return len(token) != 32 or token in self._hashed

    def copy(self, copy: Copy, ahead: int = 0) -> Iterator[Values]:
        """The rows as the copy has them, with what is numbered so much ahead."""
        renamed = {one: self._renamed(one, copy) for one in self._tokens}
        for row in self._rows:
            values: list[Value] = []
            for index, (value, is_bytes, tokens) in enumerate(row):
                if tokens:
                    text = str(value) % tuple([renamed[one] for one in tokens])
                    values.append(text.encode() if is_bytes else text)
                elif index in self._numbered and isinstance(value, int):
                    values.append(value + ahead)
                else:
                    values.append(value)
            yield tuple(values)

    def _renamed(self, token: str, copy: Copy) -> str:
        if (subject := self._hashed.get(token)) is not None:
            return subject_key(_TOKEN.sub(lambda match: copy.token(match[0]), subject))
        return copy.token(token)

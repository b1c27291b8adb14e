"""What a user sees: tables for people, or pure JSON on stdout with every remark on stderr.

Whatever comes from a server is untrusted text: it passes `clean`, and never as markup, so that no name or
reason can move the cursor, colour the screen or hide a line.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from entresol.failures import Failure, Refused, place
from entresol.rows import Rows

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PIPE_WIDTH = 110

STATE_STYLES = {
    "succeeded": "green",
    "provisioned": "green",
    "granted": "green",
    "delivered": "green",
    "created": "green",
    "changed": "yellow",
    "running": "cyan",
    "allowed": "cyan",
    "planned": "cyan",
    "planning": "cyan",
    "held": "yellow",
    "active": "yellow",
    "lifted": "green",
    "revoked": "green",
    "closed": "dim",
    "waiting-for-approval": "yellow",
    "pending": "yellow",
    "waiting": "yellow",
    "retrying": "yellow",
    "released": "green",
    "redriven": "green",
    "expiring": "yellow",
    "suspended": "yellow",
    "paused": "yellow",
    "undone": "yellow",
    "default": "green",
    "proposed": "cyan",
    "deprecated": "yellow",
    "defective": "red",
    "not undone": "red",
    "refused": "red",
    "failed": "red",
    "denied": "red",
    "rejected": "red",
    "expired": "red",
    "cancelled": "red",
    "stalled": "red",
}


class Format(StrEnum):
    """What `--output` takes."""

    TABLE = "table"
    JSON = "json"


def clean(value: object) -> str:
    """The value as text that can't steer a terminal; control characters become `�`."""
    return _CONTROL.sub("�", str(value))


def cell(value: object, style: str = "") -> Text:
    """One untrusted value for a table: nothing for None, JSON for what is not a scalar."""
    if value is None:
        return Text("")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Text(clean(text), style=style)


def _json(document: Any, indent: int | None = None) -> str:
    """JSON that can't steer a terminal either: it leaves some control characters as they are, but need not."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=str)
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def state(value: object) -> Text:
    """A state in its colour."""
    return cell(value, STATE_STYLES.get(str(value), ""))


def local(value: str) -> str:
    """A time as it is written in an event, in the user's zone, with its date."""
    return f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M:%S}"


def moment(value: object) -> Text:
    """A time as it is written in an event, in the user's zone; today without its date."""
    if not isinstance(value, str) or not value:
        return Text("")
    try:
        at = datetime.fromisoformat(value).astimezone()
    except ValueError:
        return cell(value)
    today = at.date() == datetime.now(UTC).astimezone().date()
    return Text(at.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M"))


def span(milliseconds: float) -> str:
    """A duration for people: `12 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, large, part, small in ((3600, "min", 60, "s"), (86400, "h", 3600, "min"), (10**12, "d", 86400, "h")):
        if seconds < size:
            rest = int(seconds % part) // (part // 60 if part < 86400 else 3600)
            return f"{int(seconds // part)} {large}" + (f" {rest} {small}" if rest else "")
    return f"{seconds:.0f} s"


def short(identifier: object) -> str:
    """The part of an id that tells it from others: the milliseconds and the first random bits of a UUIDv7."""
    text = str(identifier)
    return text[:18] if len(text) == 36 and text[8] == "-" else text


def table(*columns: str, rows: Iterable[Sequence[object]], title: str | None = None) -> Rows:
    """A plain table; cells that are not rich text are untrusted values. What is long belongs into the last column."""
    return Rows(columns, [[value if isinstance(value, Text) else cell(value) for value in row] for row in rows], title)


def fields(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values below each other; pairs without a value are left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}) and not (isinstance(value, Text) and not value.plain):
            made.add_row(name, value if isinstance(value, Text) else cell(value))
    return made


class Terminal:
    """Where a command writes."""

    def __init__(self, output: Format = Format.TABLE) -> None:
        self.json = output is Format.JSON
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    @property
    def live(self) -> bool:
        """Whether progress may be drawn over itself."""
        return self.out.is_terminal and not self.json

    @property
    def asks(self) -> bool:
        """Whether somebody sits there who can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.json

    def result(self, document: Any, *people: RenderableType) -> None:
        """What was asked for: the document as JSON, or for people; their text is broken only on a terminal."""
        if self.json:
            print(_json(document, indent=2))
            return
        for part in people:
            self.out.print(part, soft_wrap=isinstance(part, Text) and not self.out.is_terminal)

    def line(self, document: Any, text: RenderableType) -> None:
        """One of many results: a line of JSON, or of text, which is broken only on a terminal."""
        if self.json:
            print(_json(document), flush=True)
        else:
            self.out.print(text, soft_wrap=not self.out.is_terminal)

    def remark(self, text: RenderableType) -> None:
        """Something beside the result; never on stdout where that is JSON."""
        (self.err if self.json else self.out).print(text)

    def warn(self, text: RenderableType) -> None:
        self.err.print(text)

    def fail(self, failure: Failure) -> None:
        """Say why the command ends; with `--output json` as JSON on stderr."""
        if self.json:
            print(_json(failure.document()), file=sys.stderr)
            return
        self.err.print(Text.assemble(("error: ", "bold red"), clean(failure.message)))
        if isinstance(failure, Refused):
            for pointer, detail in failure.violations:
                where = place(pointer)
                self.err.print(Text.assemble("  ", (clean(where), "bold"), ": " if where else "", clean(detail)))
        for hint in failure.hints:
            self.err.print(Text(f"  {hint}", style="dim"), soft_wrap=not self.err.is_terminal)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)

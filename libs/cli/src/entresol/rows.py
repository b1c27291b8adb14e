"""Rows of a table, for any width of a terminal: no width hides a column.

What is long stands in the last column. Columns for which no room is left beside the others stand below their row, each
with its name.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2
_ROOM = 32
"""Characters in which a sentence can still be read."""


class Rows:
    """A plain table that puts its last columns below the others where it has to."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
        self._columns = columns
        self._rows = rows
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        cells = [[Text(one) for one in self._columns], *self._rows]
        widths = [max(_width(row[position]) for row in cells) for position in range(len(self._columns))]
        fitting = _fitting(widths, options.max_width)
        yield self._beside() if fitting == len(widths) else self._below(widths[:fitting])

    def _beside(self) -> Table:
        made = _grid(title=self._title, title_justify="left", header_style="bold", title_style="bold")
        for column in self._columns:
            made.add_column(column, overflow="fold", no_wrap=column != self._columns[-1])
        for row in self._rows:
            made.add_row(*row)
        return made

    def _below(self, widths: Sequence[int]) -> Table:
        made = _grid(show_header=False)
        made.add_column(overflow="fold")
        if self._title is not None:
            made.add_row(Text(self._title, style="bold"))
        made.add_row(_line([Text(one, style="bold") for one in self._columns], widths))
        for row in self._rows:
            made.add_row(_line(row, widths))
            for name, cell in zip(self._columns[len(widths) :], row[len(widths) :], strict=True):
                if cell:
                    made.add_row(Padding(Text.assemble((f"{name}: " if name else "", "dim"), cell), (0, 0, 0, 4)))
        return made


def _fitting(widths: Sequence[int], most: int) -> int:
    """How many columns find room beside each other; the last one may be folded, but not to shreds."""
    *others, last = widths
    ends = list(accumulate(width + _GAP for width in others))
    if not ends or ends[-1] + min(_ROOM, last) <= most:
        return len(widths)
    return max(1, sum(end - _GAP <= most for end in ends))


def _line(row: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(row, widths, strict=False):
        line.append_text(cell).append(" " * (width - _width(cell) + _GAP))
    line.rstrip()
    return line


def _grid(**settings: object) -> Table:
    return Table(box=None, pad_edge=False, **settings)  # type: ignore[arg-type]


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))

"""Rows of a table, for any width of a terminal.

What is long stands in the last column. Where too little is left for it beside the others, it stands below them, so
that no width hides a column.
"""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2
_ROOM = 32
"""Characters in which a sentence can still be read."""


class Rows:
    """A plain table that folds its last column below the others where it has to."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
        self._columns = columns
        self._rows = rows
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        cells = [[Text(one) for one in self._columns], *self._rows]
        widths = [max(_width(row[position]) for row in cells) for position in range(len(self._columns))]
        room = options.max_width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
        yield self._beside() if room >= min(_ROOM, widths[-1]) else self._below(widths[:-1])

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
        header = [Text(one, style="bold") for one in self._columns]
        for row in [header, *self._rows]:
            line = Text()
            for cell, width in zip(row[:-1], widths, strict=True):
                line.append_text(cell).append(" " * (width - _width(cell) + _GAP))
            line.rstrip()
            made.add_row(line)
            if row[-1].plain:
                made.add_row(Padding(row[-1], (0, 0, 0, 4)))
        return made


def _grid(**settings: object) -> Table:
    return Table(box=None, pad_edge=False, **settings)  # type: ignore[arg-type]


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))

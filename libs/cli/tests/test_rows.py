"""Tables at the widths that people have."""

import io

import pytest
from entresol.terminal import table
from rich.console import Console

REASON = "policy sizes, rule 0, can't be evaluated: `request.inputs.size` is missing"


def drawn(width: int, *rows: tuple[str, ...], title: str | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(table("request", "resource", "because", rows=rows, title=title))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_no_width_hides_or_cuts_what_a_table_says(width: int) -> None:
    lines = drawn(width, ("01a1feb5-2208-7b73", "shop/prod/deployment/cart", REASON), title="Changes")
    assert all(len(line) <= width for line in lines)
    said = " ".join(" ".join(lines).split())
    for text in ("Changes", "01a1feb5-2208-7b73", "shop/prod/deployment/cart", REASON):
        assert text in said


def test_what_is_long_stands_beside_where_there_is_room_and_else_below() -> None:
    row = ("r1", "shop/prod/deployment/cart", REASON)
    assert drawn(110, row)[1] == f"r1       shop/prod/deployment/cart  {REASON}"
    header, first, reason, *_ = drawn(60, row)
    assert (header, first) == ("request  resource", "r1       shop/prod/deployment/cart")
    assert reason.startswith("    because: policy sizes")
    assert drawn(30, row)[:3] == ["request", "r1", "    resource:"]


def test_what_is_short_needs_little_room_and_nothing_needs_no_line() -> None:
    assert drawn(44, ("r1", "shop/prod/deployment/cart", "no"))[1] == "r1       shop/prod/deployment/cart  no"
    assert len(drawn(35, ("r1", "shop/prod/deployment/cart", ""), ("r2", "shop/dev/deployment/cart", "no"))) == 4


def test_a_column_without_a_name_stands_below_without_one_too() -> None:
    console = Console(file=io.StringIO(), width=30, markup=False, highlight=False)
    console.print(
        table("version", "published", "", rows=[("1.0.0", "2026-11-19 03:00", "by user:ada, tried for a week")])
    )
    assert "    by user:ada" in console.file.getvalue()  # type: ignore[attr-defined]

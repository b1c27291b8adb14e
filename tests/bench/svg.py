"""A few plain charts as SVG, drawn by hand: bars and lines, readable on light and on dark pages."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#7a8a99", "#9c755f")
INK = "#767b85"
"""For text and lines: grey enough for both kinds of page."""
LEFT, RIGHT, TOP, BOTTOM = 64.0, 24.0, 58.0, 40.0
"""Margins around what is drawn."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart's place on the picture, and which values its edges stand for."""

    x: float
    y: float
    width: float
    height: float
    least_x: float
    most_x: float
    most_y: float
    logarithmic: bool = False

    def at(self, x: float, y: float) -> tuple[float, float]:
        least, most, value = self.least_x, self.most_x, x
        if self.logarithmic:
            least, most, value = math.log10(least), math.log10(most), math.log10(x)
        share = (value - least) / (most - least) if most > least else 0.5
        inner = self.width - LEFT - RIGHT
        floor = self.y + self.height - BOTTOM
        return self.x + LEFT + share * inner, floor - y / self.most_y * (self.height - TOP - BOTTOM)


def picture(width: float, height: float, parts: Iterable[str]) -> str:
    """The whole document."""
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="system-ui, sans-serif" font-size="12">\n{inside}\n</svg>\n'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", size: float = 12, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}" font-size="{size:g}"{weight}>'
        f"{escape(words)}</text>"
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}" fill="{colour}"/>'
    )


def ceiling(value: float) -> float:
    """The next number whose quarters are round."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def bars(
    x: float, y: float, width: float, title: str, rows: Mapping[str, Sequence[float]], kinds: Sequence[str], unit: str
) -> tuple[list[str], float]:
    """Horizontal bars, one per kind for each row; return them and the height that they take."""
    thick, gap, label = 11.0, 9.0, 100.0
    most = ceiling(max(value for values in rows.values() for value in values))
    scale = (width - label - RIGHT - 70) / most
    parts = [text(x, y + 16, title, size=14, bold=True)]
    parts += legend(x, y + 36, kinds)
    top = y + 50
    for name, values in rows.items():
        middle = top + thick * len(values) / 2
        parts.append(text(x + label - 8, middle + 4, name, anchor="end"))
        for index, value in enumerate(values):
            at = top + index * thick
            parts.append(rectangle(x + label, at, value * scale, thick - 1.5, COLOURS[index]))
            parts.append(text(x + label + value * scale + 5, at + 9, f"{value:.2f} {unit}", size=10))
        top += thick * len(values) + gap
    return parts, top - y


def legend(x: float, y: float, names: Sequence[str]) -> list[str]:
    parts = []
    for index, name in enumerate(names):
        parts.append(rectangle(x, y - 9, 10, 10, COLOURS[index % len(COLOURS)]))
        parts.append(text(x + 14, y, name, size=11))
        x += 26 + 6.6 * len(name)
    return parts


def lines(
    frame: Frame, title: str, series: Mapping[str, Sequence[tuple[float, float]]], unit: str, below: str
) -> list[str]:
    """Lines through points, one for each series, with a dot at each point if there are few."""
    parts = [text(frame.x, frame.y + 16, title, size=14, bold=True)]
    parts += legend(frame.x, frame.y + 36, list(series))
    parts += _axes(frame, unit, below)
    for index, points in enumerate(series.values()):
        colour = COLOURS[index % len(COLOURS)]
        places = [frame.at(*point) for point in points]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) <= 12:
            parts += [f'<circle cx="{one:.1f}" cy="{other:.1f}" r="3" fill="{colour}"/>' for one, other in places]
    return parts


def _axes(frame: Frame, unit: str, below: str) -> list[str]:
    parts = []
    for step in range(5):
        value = frame.most_y * step / 4
        left, down = frame.at(frame.least_x, value)
        right, _ = frame.at(frame.most_x, value)
        parts.append(
            f'<line x1="{left:.1f}" y1="{down:.1f}" x2="{right:.1f}" y2="{down:.1f}" stroke="{INK}" '
            f'stroke-opacity="{0.8 if step == 0 else 0.25}"/>'
        )
        parts.append(text(left - 6, down + 4, f"{value:g} {unit}", anchor="end", size=10))
    for value in _marks(frame):
        across, down = frame.at(value, 0)
        parts.append(text(across, down + 16, f"{value:,.0f}", anchor="middle", size=10))
    across, down = frame.at(frame.most_x, 0)
    parts.append(text(across, down + 32, below, anchor="end", size=11))
    return parts


def _marks(frame: Frame) -> list[float]:
    """Where the lower edge has its numbers."""
    if not frame.logarithmic:
        return [frame.most_x * step / 4 for step in range(5) if frame.most_x * step / 4 >= frame.least_x]
    lowest, highest = math.ceil(math.log10(frame.least_x) - 0.05), math.floor(math.log10(frame.most_x) + 0.05)
    return [min(max(10.0**power, frame.least_x), frame.most_x) for power in range(lowest, highest + 1)]

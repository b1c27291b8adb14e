"""The page and its picture: well formed whatever was measured, and drawn from the figures alone."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.figures import Curve, Figures, Point, Requests, Row, Sample, Share, Soak, Spread
from tests.bench.page import drawing, page, write
from tests.bench.svg import Frame, ceiling, text

NAMES = ("intake", "policy", "provisioning", "catalog", "notification", "bus")
MACHINE = {"cores": "2 (<quick> & quiet)", "Python": "3.11.7"}


def _share(name: str) -> Share:
    one = Spread(median=0.5, least=0.4, most=0.7)
    return Share(name=name, most_ms=one, most_core=one, half_ms=one, half_core=one)


def _requests(database: str) -> Requests:
    rate = Spread(median=1500, least=1400, most=1600)
    return Requests(
        command="python -m tests.bench",
        database=database,
        machine=MACHINE,
        repetitions=3,
        cores=2,
        rows=[Row(what=what, per_second=rate, p50_ms=rate, p99_ms=rate) for what in ("idle", "one", "64", "half")],
        floors=[Row(what="nats-py alone", per_second=rate)],
        shares=[_share(name) for name in NAMES],
        load=_share("load"),
        idle_cores=rate,
        elsewhere_cores=rate,
        resident_mib=dict.fromkeys(NAMES, 100.0),
    )


@pytest.fixture(name="figures")
def _figures() -> Figures:
    points = [
        Point(
            stored=stored,
            ms=dict.fromkeys(NAMES, 0.7),
            per_second=1500,
            p50_ms=7,
            p99_ms=9,
            resident_mib=dict.fromkeys(NAMES, 100.0),
            database_mib=dict.fromkeys(NAMES, 10.0),
            start_seconds=2,
        )
        for stored in (1000, 10_000, 100_000)
    ]
    samples = [
        Sample(
            requests=requests,
            seconds=requests / 1000,
            resident_mib=dict.fromkeys(NAMES, 100.0 + requests / 100),
            files=dict.fromkeys(NAMES, 20),
            threads=dict.fromkeys(NAMES, 5),
        )
        for requests in range(0, 4001, 100)
    ]
    shared = {"command": "python -m tests.bench", "database": "sqlite", "machine": MACHINE}
    return Figures(
        sqlite=_requests("sqlite"),
        postgresql=_requests("postgresql"),
        curve=Curve(points=points, **shared),
        soak=Soak(requests=4000, per_second=1000, samples=samples, **shared),
    )


@pytest.mark.parametrize("left_out", ["sqlite", "postgresql", "curve", "soak"])
def test_the_picture_is_well_formed_also_when_a_part_was_not_measured(figures: Figures, left_out: str) -> None:
    picture = ElementTree.fromstring(drawing(figures.model_copy(update={left_out: None})))  # noqa: S314  (our own)
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for element in picture.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.attrib.get(name, 0)) <= width
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(element.attrib.get(name, 0)) <= height


def test_nothing_measured_is_an_empty_picture() -> None:
    assert len(ElementTree.fromstring(drawing(Figures()))) == 0  # noqa: S314


def test_the_page_shows_what_was_measured_and_growth_where_there_is_some(figures: Figures) -> None:
    told = page(figures)
    assert "1,500 (1,400–1,600)" in told
    assert "on SQLite" in told
    assert "on PostgreSQL" in told
    assert "| 100,000 | 0.70 |" in told
    assert "| intake | 104.5 | 135.5 | +10581.3 | 20 → 20 | 5 → 5 |" in told


def test_what_is_written_is_read_again_and_draws_the_same_page(figures: Figures, tmp_path: Path) -> None:
    write(figures, tmp_path)
    again = Figures.read(tmp_path / "bench.json")
    assert again == figures
    assert (tmp_path / "bench.md").read_text(encoding="utf-8") == page(again)
    assert (tmp_path / "bench.svg").read_text(encoding="utf-8") == drawing(again)


def test_words_are_escaped() -> None:
    assert "&lt;b&gt; &amp;" in text(0, 0, "<b> &")


@pytest.mark.parametrize(
    ("value", "edge"), [(0, 1), (0.3, 0.3), (1, 1), (1.01, 2), (5, 6), (81, 100), (100, 100), (230, 300)]
)
def test_an_axis_ends_at_a_round_number(value: float, edge: float) -> None:
    assert ceiling(value) == pytest.approx(edge)


def test_a_frame_puts_powers_of_ten_at_equal_distances() -> None:
    frame = Frame(0, 0, 500, 200, 1e3, 1e5, 10, logarithmic=True)
    left, middle, right = (frame.at(x, 0)[0] for x in (1e3, 1e4, 1e5))
    assert middle - left == pytest.approx(right - middle)
    assert frame.at(1e3, 10)[1] < frame.at(1e3, 0)[1]

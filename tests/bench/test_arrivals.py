"""Percentiles and arrivals, by plain numbers."""

from itertools import pairwise

import pytest

from tests.bench.arrivals import arrivals, percentile, quarter_means


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (0.91, 10), (0.99, 10), (1.0, 10)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert percentile(list(range(1, 11)), share) == value


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_arrivals_are_the_same_for_the_same_seed_and_come_at_the_rate() -> None:
    times = arrivals(500, 20, seed=7)
    assert times == arrivals(500, 20, seed=7) != arrivals(500, 20, seed=8)
    assert times == sorted(times)
    assert len(times) == 10_000
    assert times[-1] == pytest.approx(20, rel=0.05)


def test_arrivals_come_by_chance_and_not_in_step() -> None:
    times = arrivals(500, 20, seed=7)
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)  # as of an exponential distribution


def test_growth_shows_between_the_first_and_the_last_quarter() -> None:
    assert quarter_means([1, 3, 9, 9, 9, 9, 5, 7]) == (2, 6)
    assert quarter_means([4]) == (4, 4)

"""When requests are to arrive, and what is told of many measurements: plain functions of plain numbers."""

import random
from collections.abc import Sequence
from itertools import accumulate


def arrivals(per_second: float, seconds: float, seed: int) -> list[float]:
    """Seconds after the start at which requests arrive by chance at that rate, as independent people's do.

    Fixed in advance: an answer that comes late delays no arrival, so it is not hidden from the figures.
    """
    chance = random.Random(seed)
    return list(accumulate(chance.expovariate(per_second) for _ in range(max(1, round(per_second * seconds)))))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them doesn't exceed (nearest rank); they must be in order."""
    if not ordered:
        raise ValueError("no values")
    rank = -(-len(ordered) * share // 1)  # upwards: 0.99 of 10 values are all of them
    return ordered[min(len(ordered), max(1, int(rank))) - 1]


def quarter_means(values: Sequence[float]) -> tuple[float, float]:
    """Means of the first and of the last quarter."""
    part = max(1, len(values) // 4)
    return sum(values[:part]) / part, sum(values[-part:]) / part

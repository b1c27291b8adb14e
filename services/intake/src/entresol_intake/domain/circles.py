"""Offerings that require each other in a circle: none of them could ever be made.

What is required only on a condition may end the circle, so it is not followed here; provisioning looks again whenever
something is required.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

Version: TypeAlias = tuple[str, str]
"""An offering's name and one of its versions."""
Offered: TypeAlias = Callable[[str], Mapping[str, Mapping[str, Any]]]
"""Tells the specs of the offering of a name by their versions; none if there is no such offering."""


def circle(start: Version, offered: Offered, default: Callable[[str], str | None]) -> tuple[Version, ...]:
    """The shortest way on which the version requires itself, from itself to itself; nothing if there is none.

    Asks only for what is required on the way. What names no version requires the default one.
    """
    before: dict[Version, Version] = {}
    waiting = deque([start])
    while waiting:
        one = waiting.popleft()
        for needed in _required(one, offered, default):
            if needed == start:
                way = [start, one]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return tuple(reversed(way))
            if needed not in before:
                before[needed] = one
                waiting.append(needed)
    return ()


def told(way: tuple[Version, ...]) -> str:
    return " → ".join(" ".join(one) for one in way)


def _required(one: Version, offered: Offered, default: Callable[[str], str | None]) -> Iterator[Version]:
    for each in offered(one[0])[one[1]].get("requires", ()):
        version: str | None = each.get("version") or default(each["offering"])
        if "when" not in each and version is not None and version in offered(each["offering"]):
            yield each["offering"], version

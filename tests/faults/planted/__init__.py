"""Bugs of the kind that real engineers make, each put into a process by replacing a few lines of it.

They are there to be caught: a judge that has never found anything proves nothing. `tests.faults.trust` runs each one
through its scenario, and the same scenario without it.
"""

from tests.faults.planted.table import BUGS, Bug

__all__ = ["BUGS", "Bug", "plant"]


def plant(name: str) -> None:
    """Give this process the bug. Raises KeyError for an unknown one, AttributeError if what it breaks is not there."""
    BUGS[name].plant()

"""How a bug gets in: something of a module or class is replaced under its own name."""

from collections.abc import Callable
from typing import Any


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of an attribute in its place; raise AttributeError if there is none of that name."""
    setattr(owner, name, make(getattr(owner, name)))

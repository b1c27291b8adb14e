"""Webhooks: one module for each kind of sender, with one function that checks a delivery and says what it means."""

from collections.abc import Callable, Mapping
from typing import Final

from entresol_intake.hooks import github
from entresol_intake.hooks.delivery import Delivery, Posted, Refused

KINDS: Final[Mapping[str, Callable[[Posted], Delivery]]] = {"github": github.read}
"""By the `kind` of the Source manifest."""

__all__ = ["KINDS", "Delivery", "Posted", "Refused"]

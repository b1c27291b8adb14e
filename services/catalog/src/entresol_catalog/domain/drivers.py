"""A driver, as it was announced last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(slots=True)
class Driver:
    name: str
    available: bool
    """Whether it can work where provisioning runs."""
    summary: str | None
    settings: dict[str, Any] | None
    """JSON Schema of a step's `with`; None: it does not say."""
    outputs: dict[str, Any] | None
    """JSON Schema of what its steps give; None: that depends on the step."""
    announced_at: datetime
    withdrawn: bool = False

"""Provisioning that writes down which failpoints it comes by, and crashes at none: so all visits to them are known."""

import os
from collections import Counter
from pathlib import Path

from entresol_eventing import failpoints
from entresol_provisioning import app

COUNTED = "ENTRESOL_COUNTED"
"""Names the file."""


class _Counting(failpoints._Armed):
    """Armed everywhere."""

    def reach(self, point: str) -> None:
        with self.lock, Path(os.environ[COUNTED]).open("a", encoding="utf-8") as file:
            file.write(f"{point}\n")


def main() -> None:
    """Run provisioning, as its own main does."""
    failpoints._armed = _Counting("", 0, "")
    failpoints.arm = lambda text: None
    app.main()


def visits(file: Path) -> Counter[str]:
    """How often it came by each place."""
    return Counter(file.read_text(encoding="utf-8").split() if file.exists() else ())

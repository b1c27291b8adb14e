"""The CEL engine, without the command that its package imports along with it.

The command needs three libraries for terminals: most of the time that a process takes until it can evaluate. `cel` is
imported from here only, so that whoever comes first leaves it out.
"""

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
import cel  # noqa: E402 (the line above is for this one)

__all__ = ["cel"]

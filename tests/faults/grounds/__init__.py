"""What drivers act upon, each with a ledger of its own: who asks it sees what has happened, whatever the platform says.

An effect is one line such as `apply thing-1/second large`, and what stands is told by name: by a repository's commits
and files, terraform's state and a file that its modules write to, an API's own books, a program's, a cluster's.
"""

from collections.abc import Mapping

from tests.faults.grounds.clusters import Cluster
from tests.faults.grounds.ground import SIZES, STEPS, Ground
from tests.faults.grounds.modules import Modules
from tests.faults.grounds.orders import Orders
from tests.faults.grounds.programs import Answered, Needing, Programs, Undone
from tests.faults.grounds.repositories import Remote, Repository
from tests.faults.grounds.templates import Made

__all__ = ["GROUNDS", "SIZES", "STEPS", "Ground"]

GROUNDS: Mapping[str, type[Ground]] = {
    "gitops": Repository,
    "gitops-remote": Remote,
    "terraform": Modules,
    "http": Orders,
    "exec": Programs,
    "scaffold": Made,
    "kubernetes": Cluster,
    "suspended": Answered,
    "compensated": Undone,
    "required": Needing,
}
"""Every driver that touches the world, and what else a run may go through."""

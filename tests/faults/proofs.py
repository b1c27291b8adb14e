"""The proofs in the order of the guarantees."""

from tests.faults import kills, publishing
from tests.faults.trials import Proof

PROOFS: tuple[Proof, ...] = (*kills.PROOFS, *publishing.PROOFS)

"""The proofs in the order of the guarantees."""

from tests.faults.trials import Proof

PROOFS: tuple[Proof, ...] = ()

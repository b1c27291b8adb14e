"""The proofs in the order of the guarantees."""

from tests.faults import (
    backlog,
    cancellations,
    cluster,
    consumers,
    crashes,
    kills,
    order,
    outages,
    publishing,
    rebuilds,
    refills,
    writers,
)
from tests.faults.trials import Proof

PROOFS: tuple[Proof, ...] = (
    *kills.PROOFS,
    *crashes.PROOFS,
    *publishing.PROOFS,
    *order.PROOFS,
    *outages.PROOFS,
    *consumers.PROOFS,
    *cluster.PROOFS,
    *backlog.PROOFS,
    *writers.PROOFS,
    *cancellations.PROOFS,
    *rebuilds.PROOFS,
    *refills.PROOFS,
)

"""The proofs in the order of the guarantees."""

from tests.faults import backlog, cluster, consumers, kills, order, outages, publishing, writers
from tests.faults.trials import Proof

PROOFS: tuple[Proof, ...] = (
    *kills.PROOFS,
    *publishing.PROOFS,
    *order.PROOFS,
    *outages.PROOFS,
    *consumers.PROOFS,
    *cluster.PROOFS,
    *backlog.PROOFS,
    *writers.PROOFS,
)

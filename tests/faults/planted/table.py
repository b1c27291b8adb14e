"""Which bug is planted where, in which scenario it must be caught, and as what."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.judge.findings import (
    CONTRADICTED,
    DISORDERED,
    DOUBLED,
    INCONSISTENT,
    LOST,
    OVERSTEPPED,
    STUCK,
    UNEXPLAINED,
)
from tests.faults.planted import committing, deciding, driving, publishing, reading, working


@dataclass(frozen=True, slots=True)
class Bug:
    plant: Callable[[], None]
    where: str
    """The service that has it; `tally` is the small reader of `tests.faults.tally`."""
    scenario: str
    """Of `tests.faults.scenarios`, of `tests.faults.drivers` or, for a tally, of `tests.faults.tallied`."""
    kind: str
    """What the judge must call it."""

    @property
    def name(self) -> str:
        return self.plant.__name__.replace("_", "-")

    @property
    def words(self) -> str:
        return (self.plant.__doc__ or "").strip()


_ALL = (
    Bug(committing.acknowledged_before_commit, "policy", "crashes-after-commits", STUCK),
    Bug(committing.published_before_commit, "policy", "crashes-around-publishing", UNEXPLAINED),
    Bug(committing.outbox_after_commit, "policy", "crashes-after-commits", STUCK),
    Bug(committing.relay_ahead_of_itself, "policy", "crashes-around-publishing", UNEXPLAINED),
    Bug(committing.pruned_unpublished, "intake", "backlog-over-a-restart", LOST),
    Bug(committing.two_writers, "tally", "second-instance", DOUBLED),
    Bug(committing.cause_forgotten, "policy", "plain-load", UNEXPLAINED),
    Bug(committing.wrong_key, "policy", "plain-load", INCONSISTENT),
    Bug(committing.deadlines_in_memory, "policy", "deadlines-over-a-restart", STUCK),
    Bug(reading.copies_unnoticed, "policy", "copies", STUCK),
    Bug(reading.inbox_unwritten, "policy", "copies", DOUBLED),
    Bug(reading.read_from_now_on, "policy", "absence", STUCK),
    Bug(reading.position_one_too_far, "catalog", "crashes-after-commits", INCONSISTENT),
    Bug(reading.gap_ignored, "tally", "lost-delivery", LOST),
    Bug(reading.failure_swallowed, "tally", "failing-handler", LOST),
    Bug(reading.rest_of_batch_dropped, "tally", "failing-handler", LOST),
    Bug(reading.parked_key_forgotten, "tally", "failing-handler", DISORDERED),
    Bug(reading.park_in_memory, "tally", "failing-handler", LOST),
    Bug(reading.dead_letter_deleted, "tally", "poison", LOST),
    Bug(publishing.failed_publish_skipped, "intake", "outage", LOST),
    Bug(publishing.backlog_newest_first, "intake", "backlog-over-a-restart", DISORDERED),
    Bug(publishing.batch_one_by_one, "provisioning", "plain-load", DISORDERED),
    Bug(deciding.reservation_forgotten, "policy", "gates", OVERSTEPPED),
    Bug(deciding.answers_counted_twice, "policy", "gates", OVERSTEPPED),
    Bug(deciding.old_grants_counted, "policy", "gates", OVERSTEPPED),
    Bug(deciding.locks_in_memory, "policy", "gates", OVERSTEPPED),
    Bug(working.accepted_before_commit, "intake", "crashes-before-commits", LOST),
    Bug(working.idempotency_key_ignored, "intake", "plain-load", DOUBLED),
    Bug(working.expiry_unguarded, "policy", "deadlines-over-a-restart", DOUBLED),
    Bug(working.end_in_two_transactions, "provisioning", "crashes-after-commits", STUCK),
    Bug(working.second_verdict_counted, "provisioning", "unknown-commits", DOUBLED),
    Bug(driving.commit_not_looked_for, "provisioning", "crashes-around-effects", DOUBLED),
    Bug(driving.call_not_looked_for, "provisioning", "crashes-after-calls", DOUBLED),
    Bug(driving.end_of_program_ignored, "provisioning", "crashes-after-programs", DOUBLED),
    Bug(working.cancellation_ignored, "provisioning", "cancellation", CONTRADICTED),
    Bug(working.delivered_before_it_was, "notification", "crashes-around-effects", LOST),
    Bug(working.batch_folded_by_type, "catalog", "absence", DISORDERED),
)
BUGS = {bug.name: bug for bug in _ALL}

"""The first proof at its smallest scale, so that a change that loses requests is seen by `make test`."""

import random
from pathlib import Path

import pytest

from tests.faults.kills import prove_requests_end_once
from tests.faults.trials import SQLITE, Scale, Trial


# urllib leaves a connection to the collector when the server is killed in the middle of an answer.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.timeout(400)
def test_every_request_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    evidence = prove_requests_end_once(Trial(Scale.SHORT, SQLITE, seed, tmp_path, None, print))
    assert not evidence.breaches, "\n".join(evidence.breaches)
    assert evidence.counts["kills"] == 24
    assert evidence.counts["requests"] >= 120

"""`python -m tests.faults.judge DIR`: print counts as JSON and a line for each finding; exit 1 if there is any."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from tests.faults.judge import books, effects, gates, order, requests
from tests.faults.judge.findings import KINDS, Finding
from tests.faults.judge.records import Records, read


def find(records: Records) -> list[Finding]:
    """Everything that the promises don't allow."""
    return [one for part in (requests, gates, order, books, effects) for one in part.judge(records)]


def count(records: Records, findings: list[Finding]) -> dict[str, int]:
    """What there was, and how much of each kind was found."""
    found = Counter(one.kind for one in findings)
    requests_told = {one["request"] for one in records.told if one["told"] == "accepted"}
    repeats = 0 if records.sink is None else len(records.sink) - len({one["delivery"] for one in records.sink})
    return {
        "requests": len(requests_told),
        "events": len(records.log),
        "copies": records.copies,
        "commits": len(records.commits),
        "notices": len(records.sink or ()) - repeats,
        "repeated notices": repeats,
        **{kind: found[kind] for kind in KINDS},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.judge", description=__doc__)
    parser.add_argument("directory", type=Path, help="where judge.json, told.jsonl, log.jsonl and sink.jsonl are")
    records = read(parser.parse_args().directory)
    findings = find(records)
    print(json.dumps(count(records, findings)))
    for one in findings:
        print(one)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the cases of files, and say where policy decides otherwise than was expected."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entresol_manifests.findings import meant

from entresol_policy.trying.cases import Case, CaseFile, Faults, read_cases
from entresol_policy.trying.stage import Found, Stage, stage


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected."""

    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case."""

    case: Case
    found: Found
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file: its results, or the faults because of which none of its cases was run."""

    path: Path
    results: tuple[Result, ...] = ()
    faults: tuple[str, ...] = ()
    policies: tuple[tuple[Path, str], ...] = ()
    """The policies that its cases were about: where they are written, and their names."""


def run(paths: Iterable[Path]) -> Iterator[Report]:
    """The report of each case file, in order."""
    for path in paths:
        try:
            yield _run(read_cases(path))
        except Faults as faults:
            yield Report(path, faults=faults.lines)


def never_matched(reports: Sequence[Report]) -> list[tuple[Path, str]]:
    """The policies that no case of any file made say anything; where they are written, and their names."""
    about: dict[tuple[Path, str], bool] = {}
    for report in reports:
        standings = [one.found.policies for one in report.results]
        for path, name in report.policies:
            key = (path.resolve(), name)
            heard = any(one.get(name) in ("matched", "waived") for one in standings)
            about[key] = about.get(key, False) or heard
    shown = {(path.resolve(), name): path for report in reports for path, name in report.policies}
    return [(shown[key], key[1]) for key, heard in about.items() if not heard]


def _run(file: CaseFile) -> Report:
    with stage([one.document for one in file.manifests]) as prepared:
        results = tuple(_play(prepared, one) for one in file.cases)
    policies = (one for one in file.manifests if one.document["kind"] == "Policy")
    named = tuple((one.origin.path, one.document["metadata"]["name"]) for one in policies)
    return Report(file.path, results, policies=named)


def _play(prepared: Stage, case: Case) -> Result:
    begun = time.perf_counter()
    found = prepared.play(case.given)
    seconds = time.perf_counter() - begun
    return Result(case, found, tuple(_differences(case.expect, found)), seconds)


def _differences(expect: Mapping[str, Any], found: Found) -> Iterator[Difference]:
    if "outcome" in expect and expect["outcome"] != found.outcome:
        yield Difference("outcome", expect["outcome"], found.outcome)
    reasons = [*found.reasons, *found.refused]
    for text in expect.get("because", ()):
        if not any(text in reason for reason in reasons):
            yield Difference("because", f"“{text}” in a reason", "; ".join(reasons) or "no reason")
    for what in ("approvers", "holds"):
        if what in expect and set(expect[what]) != set(getattr(found, what)):
            yield Difference(what, _listed(expect[what]), _listed(getattr(found, what)))
    for name, standing in expect.get("policies", {}).items():
        known = found.policies.get(name)
        if known is None:
            there = f"there is none of that name{meant(name, found.policies)}"
            yield Difference(f"policy {name}", standing, there)
        elif known != standing:
            yield Difference(f"policy {name}", standing, known)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

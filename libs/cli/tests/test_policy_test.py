"""`entresol policy test`: what it prints, writes and exits with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import pytest
import yaml
from typer.testing import Result

Run = Callable[..., Result]

POLICY = """
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: sizes}
spec:
  rules:
    - deny: request.inputs.size == "large"
      because: too large
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: production}
spec:
  when: request.environment == "prod"
  rules:
    - approve: {from: ["group:platform"]}
      because: production needs a second pair of eyes
"""
REQUEST = {"offering": "database", "project": "shop", "environment": "dev", "name": "orders"}
LARGE = {"name": "large ones are denied", "given": {"request": {"inputs": {"size": "large"}}}}
PROD = {"name": "production asks", "given": {"request": {"environment": "prod", "inputs": {"size": "small"}}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies.yaml").write_text(POLICY)
    return tmp_path


def write(folder: Path, *cases: dict[str, Any], name: str = "sizes.test.yaml") -> None:
    (folder / name).write_text(yaml.safe_dump({"given": {"request": REQUEST}, "cases": list(cases)}))


def test_cases_that_end_as_expected_exit_with_0(run: Run, folder: Path) -> None:
    write(folder, LARGE | {"expect": {"outcome": "deny"}}, PROD | {"expect": {"outcome": "approve"}})
    result = run("policy", "test", str(folder))
    assert result.exit_code == 0, result.output
    assert "sizes.test.yaml  2 cases" in result.stdout
    assert "2 cases, 0 failed" in result.stdout
    assert not result.stderr


def test_a_case_that_ends_otherwise_shows_what_was_expected_found_and_why(run: Run, folder: Path) -> None:
    write(folder, LARGE | {"expect": {"outcome": "allow", "approvers": ["group:x"]}})
    result = run("policy", "test", str(folder))
    assert result.exit_code == 1
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "outcome allow deny" in rows
    assert "approvers group:x none" in rows
    assert "outcome deny: too large" in rows
    assert "sizes 0 denies too large" in rows
    assert "not concerned: production" in rows
    assert "policy production never matched in any case" in result.stderr


def test_json_on_stdout_is_pure(run: Run, folder: Path) -> None:
    write(folder, LARGE | {"expect": {"outcome": "allow"}})
    result = run("policy", "test", str(folder), "-o", "json")
    document = json.loads(result.stdout)
    assert (document["cases"], document["failed"], result.exit_code) == (1, 1, 1)
    (case,) = document["files"][0]["cases"]
    assert case["differences"] == [{"what": "outcome", "expected": "allow", "found": "deny"}]
    assert case["policies"] == {"production": "unconcerned", "sizes": "matched"}
    assert document["never_matched"] == [{"file": str(folder / "policies.yaml"), "policy": "production"}]


def test_junit_is_what_ci_systems_read_whatever_a_case_is_called(run: Run, folder: Path) -> None:
    odd = '\x1b[31m <b> & "quotes" \ufffe'
    write(folder, LARGE | {"name": odd, "expect": {"outcome": "allow"}}, PROD | {"expect": {"outcome": "approve"}})
    (folder / "bad.test.yaml").write_text("cases: 1")
    result = run("policy", "test", str(folder), "--junit", str(folder / "results.xml"))
    assert result.exit_code == 2
    suites = parse(folder / "results.xml").getroot()  # noqa: S314 our own file
    assert suites.tag == "testsuites"
    assert [(suites.get(key)) for key in ("tests", "failures", "errors")] == ["3", "1", "1"]
    bad, good = suites
    assert bad.find("testcase/error").get("message").endswith("/cases: must be a list")  # type: ignore[union-attr]
    failed, passed = good
    assert failed.get("name") == '�[31m <b> & "quotes" �'
    assert failed.get("classname", "").endswith(".sizes")
    assert failed.find("failure").get("message") == "outcome: expected allow, found deny"  # type: ignore[union-attr]
    assert float(passed.get("time", "-1")) > 0
    assert passed.find("failure") is None


def test_a_file_that_is_not_usable_is_told_by_its_line_and_the_others_are_run(run: Run, folder: Path) -> None:
    write(folder, LARGE | {"expect": {"outcome": "deny"}})
    (folder / "bad.test.yaml").write_text("given:\n  requst: {}\ncases: []\n")
    result = run("policy", "test", str(folder))
    assert result.exit_code == 2
    text = " ".join(result.stdout.split())
    assert "bad.test.yaml:2: /given/requst: unknown field requst; did you mean request?" in text
    assert "1 case, 0 failed, 1 file can't be used" in text


@pytest.mark.parametrize(("where", "told"), [("", "no cases in"), ("missing", "no such file or directory")])
def test_where_nothing_is_to_be_tested_is_an_error(run: Run, folder: Path, where: str, told: str) -> None:
    result = run("policy", "test", str(folder / where))
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


def test_manifests_beside_cases_can_be_checked_and_applied_as_before(run: Run, folder: Path) -> None:
    write(folder, LARGE | {"expect": {"outcome": "deny"}})
    result = run("validate", str(folder))
    assert result.exit_code == 0, result.output


def test_help_shows_a_file_as_it_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = [line.strip(" │") for line in run("policy", "test", "--help").stdout.splitlines()]
    begin = shown.index("cases:")
    lines = run("policy", "test", "--help").stdout.splitlines()[begin : begin + 4]
    indents = [len(line) - len(line.lstrip()) for line in lines]
    assert [one - indents[0] for one in indents] == [0, 2, 4, 4]


def test_help_breaks_its_paragraphs_where_the_terminal_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "is judged at the time of each decision" in run("policy", "replay", "--help").stdout

"""Cases in files, what policy makes of them, and how it is told what is wrong with one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from entresol_policy.trying.cases import Faults, find, merged, read_cases
from entresol_policy.trying.running import Report, Result, never_matched, run

POLICIES = """
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: production}
spec:
  when: request.environment == "prod"
  plan: true
  rules:
    - approve: {from: ["group:platform", "group:sre"]}
      because: production needs a second pair of eyes
---
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
metadata: {name: lifetimes}
spec:
  mode: audit
  rules:
    - deny: request.lifetime_seconds != null && request.lifetime_seconds > 86400
      because: it stays for long
    - breakGlass: {by: ["group:oncall"], review: {from: ["group:audit"]}}
      when: request.environment == "stage"
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: emergencies}
spec:
  when: request.environment == "stage"
  rules:
    - breakGlass: {by: ["group:oncall"], review: {from: ["group:audit"]}}
---
apiVersion: entresol.dev/v1
kind: Window
metadata: {name: nights}
spec: {effect: deny, cron: "0 22 * * *", duration: 8h, because: nobody is awake}
---
apiVersion: entresol.dev/v1
kind: Quota
metadata: {name: databases}
spec: {when: resource.offering == "database", per: resource.project, limit: 2, because: ask the data team for more}
"""
REQUEST = {
    "offering": "database",
    "project": "shop",
    "environment": "dev",
    "name": "orders",
    "inputs": {"size": "small"},
}
LOCK = {"scope": {"project": "shop"}, "reason": "the shop moves", "exempt": ["group:sre"]}
PROD = {"request": {"environment": "prod"}, "plan": {"adds": 1}}
QUESTION = {"from": ["user:bob"], "because": "it has drifted"}
AGREES = {"by": "user:bob", "groups": ["platform"], "answer": "granted"}
OTHERS = [{"project": "shop", "environment": "dev", "offering": "database", "name": name} for name in ("a", "b")]

Try = Callable[..., Result]


def written(folder: Path, **document: Any) -> Path:
    """A folder with the policies and a case file."""
    (folder / "policies.yaml").write_text(POLICIES)
    path = folder / "all.test.yaml"
    path.write_text(yaml.safe_dump({"given": {"request": REQUEST}, **document}, sort_keys=False))
    return path


def report_of(path: Path) -> Report:
    (report,) = run([path])
    assert not report.faults
    return report


@pytest.fixture
def play(tmp_path: Path) -> Try:
    """What becomes of one case; what is given goes on top of a small database in dev."""

    def one(given: dict[str, Any], **expect: Any) -> Result:
        case = {"name": "a case", "given": given, "expect": expect or {"outcome": "allow"}}
        return report_of(written(tmp_path, cases=[case])).results[0]

    return one


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ({}, {"outcome": "allow", "policies": {"production": "unconcerned", "sizes": "passed"}}),
        (
            {"request": {"inputs": {"size": "large"}}},
            {"outcome": "deny", "because": ["too large"], "policies": {"sizes": "matched"}},
        ),
        (
            {"request": {"lifetime_seconds": 100_000}},
            {"outcome": "allow", "because": ["it stays for long"], "policies": {"lifetimes": "matched"}},
        ),
        (
            {"request": {"environment": "prod"}},
            {"outcome": "plan", "because": ["production looks at the plan"], "approvers": []},
        ),
        (PROD, {"outcome": "approve", "because": ["pair of eyes"], "approvers": ["group:sre", "group:platform"]}),
        (PROD | {"answers": [AGREES]}, {"outcome": "allow"}),
        (
            PROD | {"actor": {"id": "user:bob"}, "answers": [AGREES]},
            {"outcome": "approve", "because": ["own request"]},
        ),
        (
            PROD | {"answers": [AGREES | {"answer": "rejected", "reason": "not today"}]},
            {"outcome": "reject", "because": ["user:bob: not today"]},
        ),
        ({"answers": [AGREES]}, {"outcome": "allow", "because": ["nobody was asked when user:bob answered"]}),
        ({"now": "2026-11-21T23:00:00+01:00"}, {"outcome": "hold", "holds": ["nights"], "because": ["is awake"]}),
        ({"now": "2026-11-21T21:59:59Z"}, {"outcome": "allow", "holds": []}),
        ({"locks": [LOCK]}, {"outcome": "hold", "holds": ["lock"], "because": ["the shop moves"]}),
        ({"locks": [LOCK], "now": "2026-11-21T22:00:00Z"}, {"outcome": "hold", "holds": ["lock", "nights"]}),
        ({"locks": [LOCK], "actor": {"groups": ["sre"]}}, {"outcome": "allow"}),
        ({"resources": OTHERS, "request": {"action": "adopt"}}, {"outcome": "deny", "because": ["2 of 2 used"]}),
        ({"resources": OTHERS, "request": {"action": "reconcile", "name": "a"}}, {"outcome": "allow"}),
        (
            {"request": {"action": "rollback", "class": "fast", "snapshot": {"revision": 1}}},
            {"outcome": "allow", "policies": {"sizes": "passed"}},
        ),
        (
            {"request": {"action": "delete", "orphan": True, "question": QUESTION}},
            {
                "outcome": "approve",
                "because": ["it has drifted"],
                "approvers": ["user:bob"],
                "policies": {"question": "matched"},
            },
        ),
        ({"request": {"question": QUESTION}, "answers": [AGREES | {"groups": []}]}, {"outcome": "allow"}),
        (
            {"request": {"requirement": {"request_id": "r", "resource_id": "shop/dev/app/a", "name": "db"}}},
            {"outcome": "allow"},
        ),
        ({"locks": [LOCK | {"until": "2024-12-31T00:00:00Z"}]}, {"outcome": "allow"}),
        ({"resources": OTHERS}, {"outcome": "deny", "because": ["2 of 2 used", "ask the data team"]}),
        ({"resources": OTHERS, "request": {"project": "ledger"}}, {"outcome": "allow"}),
        (
            {"request": {"inputs": {"size": "large"}}, "waivers": [{"waives": "Policy/sizes"}]},
            {"outcome": "allow", "because": ["too large"], "policies": {"sizes": "waived"}},
        ),
        (
            {
                "request": {"inputs": {"size": "large"}},
                "waivers": [{"waives": "Policy/sizes", "scope": {"project": "ledger"}}],
            },
            {"outcome": "deny"},
        ),
        (
            {"request": {"inputs": {"size": "large"}, "environment": "stage", "break_glass": "it burns"},
             "actor": {"groups": ["oncall"]}},
            {"outcome": "break-glass", "because": ["too large"], "approvers": ["group:audit"],
             "policies": {"emergencies": "matched"}},
        ),
        ({"request": {"environment": "prod"}, "plan": None}, {"outcome": "plan"}),
    ],
)  # fmt: skip
def test_a_case_ends_as_the_service_decides(play: Try, given: dict[str, Any], expect: dict[str, Any]) -> None:
    result = play(given, **expect)
    assert result.differences == ()
    assert result.passed


def test_a_rule_that_cannot_be_evaluated_is_an_error_and_denies(tmp_path: Path) -> None:
    path = written(tmp_path, cases=[{"name": "x", "expect": {"outcome": "deny", "policies": {"sizes": "error"}}}])
    document = yaml.safe_load(path.read_text())
    del document["given"]["request"]["inputs"]
    path.write_text(yaml.safe_dump(document))
    assert report_of(path).results[0].differences == ()


def test_what_is_not_as_expected_is_told_with_what_was_found(play: Try) -> None:
    expect = {
        "outcome": "deny",
        "because": ["too small"],
        "approvers": ["user:x"],
        "holds": ["nights"],
        "policies": {"size": "matched", "sizes": "matched"},
    }
    told = [(one.what, one.expected, one.found) for one in play({}, **expect).differences]
    assert told == [
        ("outcome", "deny", "allow"),
        ("because", "“too small” in a reason", "no reason"),
        ("approvers", "user:x", "none"),
        ("holds", "nights", "none"),
        ("policy size", "matched", "there is none of that name; did you mean sizes?"),
        ("policy sizes", "matched", "passed"),
    ]


def test_one_case_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    large = {"request": {"inputs": {"size": "large"}}}
    cases = [
        {"name": "waived", "given": large | {"waivers": [{"waives": "Policy/sizes"}]}, "expect": {"outcome": "allow"}},
        {"name": "not waived", "given": large, "expect": {"outcome": "deny"}},
        {"name": "locked", "given": {"locks": [LOCK]}, "expect": {"outcome": "hold"}},
        {"name": "not locked", "expect": {"outcome": "allow"}},
        {"name": "full", "given": {"resources": OTHERS}, "expect": {"outcome": "deny"}},
        {"name": "empty", "expect": {"outcome": "allow"}},
        {"name": "asked", "given": PROD, "expect": {"outcome": "approve"}},
        {"name": "asked again", "given": PROD | {"answers": [AGREES]}, "expect": {"outcome": "allow"}},
    ]
    assert [one.case.name for one in report_of(written(tmp_path, cases=cases)).results if not one.passed] == []


def test_each_answer_goes_to_the_first_question_that_asks_its_author(tmp_path: Path) -> None:
    extra = (
        POLICIES.split("---")[0]
        .replace("production}", "second}")
        .replace('"group:platform", "group:sre"', '"user:eve"')
    )
    (tmp_path / "more.yaml").write_text(extra)
    eve = {"by": "user:eve", "answer": "granted"}
    cases = [
        {"name": "eve", "given": PROD | {"answers": [eve]}, "expect": {"outcome": "approve"}},
        {"name": "both", "given": PROD | {"answers": [eve, AGREES]}, "expect": {"outcome": "allow"}},
        {
            "name": "named",
            "given": PROD | {"answers": [AGREES | {"policy": "second"}]},
            "expect": {"outcome": "approve", "because": ["not an approver"]},
        },
    ]
    assert [one.differences for one in report_of(written(tmp_path, cases=cases)).results] == [(), (), ()]


def test_policies_that_never_said_anything_are_named(tmp_path: Path) -> None:
    cases = [{"name": "large", "given": {"request": {"inputs": {"size": "large"}}}, "expect": {"outcome": "deny"}}]
    first = report_of(written(tmp_path, cases=cases))
    idle = {name for _, name in never_matched([first])}
    assert idle == {"production", "lifetimes", "emergencies"}
    second = tmp_path / "more.test.yaml"
    second.write_text(
        yaml.safe_dump(
            {"given": {"request": REQUEST}, "cases": [{"name": "x", "given": PROD, "expect": {"outcome": "approve"}}]}
        )
    )
    assert {name for _, name in never_matched([first, report_of(second)])} == {"lifetimes", "emergencies"}


def test_what_is_given_goes_on_top_key_by_key() -> None:
    below = {"request": {"name": "a", "inputs": {"size": "small", "tags": ["x"]}}, "locks": [LOCK]}
    above = {"request": {"inputs": {"tags": ["y"]}}, "locks": []}
    expected = {"request": {"name": "a", "inputs": {"size": "small", "tags": ["y"]}}, "locks": []}
    assert merged(below, above) == expected
    assert below["locks"] == [LOCK]


def test_case_files_are_found_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.test.yaml", "a/z.test.yml", ".git/c.test.yaml", "b.yaml", ".d.test.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(one.relative_to(tmp_path)) for one in find([tmp_path, tmp_path / "b.test.yaml"])] == [
        "b.test.yaml",
        "a/z.test.yml",
    ]


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "x.test.yaml"
    path.write_text(text)
    with pytest.raises(Faults) as caught:
        read_cases(path)
    return [line.removeprefix(f"{folder}/") for line in caught.value.lines]


GIVEN = "given: {request: {offering: database, project: shop, environment: dev, name: orders}}\n"
CASE = "cases:\n  - name: x\n    expect: {outcome: allow}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.test.yaml:1: a case file holds one document, but this one 0"),
        ("a: b\n---\nc: d\n", "x.test.yaml:1: a case file holds one document, but this one 2"),
        ("cases: [", "x.test.yaml:2:1: not YAML"),
        (GIVEN, "x.test.yaml:1: /cases: cases is missing"),
        (GIVEN + "cases: []", "x.test.yaml:2: /cases: must have at least 1 item"),
        (GIVEN + CASE + "policy: []", "x.test.yaml:5: /policy: unknown field policy; did you mean policies?"),
        (
            GIVEN.replace("environment", "enviroment") + CASE,
            "x.test.yaml:1: /given/request/enviroment: unknown field enviroment; did you mean environment?",
        ),
        (
            GIVEN + CASE + "    given: {request: {inputs: [a]}}",
            "x.test.yaml:5: /cases/0/given/request/inputs: must be a map",
        ),
        (
            GIVEN + CASE + "    given: {now: 2026-11-21 10:00}",
            "x.test.yaml:5: /cases/0/given/now: must be a time with its zone, such as 2026-11-21T10:00:00Z",
        ),
        (GIVEN + CASE.replace("allow", "perhaps"), "x.test.yaml:4: /cases/0/expect/outcome: must be one of deny, plan"),
        (GIVEN + CASE.replace("outcome: allow", ""), "x.test.yaml:4: /cases/0/expect: must have at least 1 field"),
        (
            CASE,
            "x.test.yaml:2: /cases/0/given/request: offering is missing; `given` may say it for every case",
        ),
        (GIVEN + CASE + CASE[7:], "x.test.yaml:5: /cases/1/name: an earlier case has this name already"),
        (GIVEN + "policies: [none.yaml]\n" + CASE, "x.test.yaml:2: /policies/0: there is no such file or directory"),
        (GIVEN + CASE, "x.test.yaml:1: /policies: no policy, window or quota lies beside it in "),
    ],
)
def test_a_case_file_that_is_not_usable_is_told_by_line_and_pointer(tmp_path: Path, text: str, told: str) -> None:
    assert faults(tmp_path, text)[0].startswith(told)


def test_manifests_that_are_not_usable_are_told_in_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES.replace("request.inputs.size ==", "request.input.size =="))
    assert faults(tmp_path, GIVEN + CASE)[0].startswith("p.yaml:17: /spec/rules/0/deny: ")
    (tmp_path / "p.yaml").write_text(POLICIES)
    (tmp_path / "q.yaml").write_text(POLICIES)
    assert f"q.yaml:4: /metadata/name: Policy production is in {tmp_path}/p.yaml:2 already" in faults(
        tmp_path, GIVEN + CASE
    )


def test_cases_may_be_about_no_manifests_at_all(tmp_path: Path) -> None:
    cases = [{"name": "locked", "given": {"locks": [LOCK]}, "expect": {"outcome": "hold", "policies": {}}}]
    assert report_of(written(tmp_path, policies=[], cases=cases)).results[0].differences == ()


def test_a_file_that_is_not_usable_does_not_keep_others_from_being_run(tmp_path: Path) -> None:
    good = written(tmp_path, cases=[{"name": "x", "expect": {"outcome": "allow"}}])
    bad = tmp_path / "bad.test.yaml"
    bad.write_text("cases: 1")
    first, second = run([bad, good])
    assert first.faults
    assert not first.results
    assert second.results[0].passed

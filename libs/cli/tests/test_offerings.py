"""What can be asked for: the commands about offerings and their versions, against doors with canned answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Document = dict[str, Any]
Run = Callable[..., Result]

SPEC: Document = {
    "description": "A database of one's own",
    "environments": ["dev", "prod"],
    "inputs": {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"enum": ["small", "large"]},
            "copies": {"type": "integer", "default": 1, "description": "How many"},
            "anything": True,
        },
    },
    "lifetime": {"default": "5d", "max": "30d"},
    "requires": [{"name": "net", "offering": "network", "version": "1.0.0", "id": "shared-net"}],
    "drift": {"every": "10m", "mode": "correct"},
    "implementations": [
        {"name": "cheap", "match": {"environment": ["dev"]}, "actions": {}},
        {"name": "fast", "match": {"environment": ["prod", "dev"], "class": ["fast"]}, "actions": {}},
    ],
    "actions": {"create": {"steps": []}, "rotate": {"steps": []}},
    "outputs": {"host": "x"},
}


def version(number: str, stage: str | None = None, **more: Any) -> Document:
    return {
        "version": number,
        "stage": stage,
        "staged_at": None,
        "staged_by": "user:ada" if stage else None,
        "reason": None,
        "applied_at": "2026-11-20T03:00:00Z",
        "removed": False,
        "resources": 2,
        **more,
    }


VERSIONS = [
    version("2.1.0", "proposed", resources=0),
    version("2.0.0", "default"),
    version("1.1.0", "defective", reason="it loses backups", resources=1),
    version("1.0.0", None, removed=True),
]


def offering(number: str = "2.0.0", versions: list[Document] = VERSIONS, **more: Any) -> Document:
    stage = next((one["stage"] for one in versions if one["version"] == number), None)
    metadata = {"name": "database", "version": number, "title": "Database", "owner": "group:data"}
    manifest = {"kind": "Offering", "metadata": metadata, "spec": SPEC}
    return {
        "kind": "Offering",
        "name": "database",
        "version": number,
        "stage": stage,
        "manifest": manifest,
        "resources": 2,
        "versions": versions,
        **more,
    }


@pytest.fixture
def published(doors: Any) -> Any:
    """A platform with one offering in four versions."""

    def answer(call: Any) -> tuple[int, Document]:
        asked = call.query.get("version", "2.0.0")
        known = [one["version"] for one in VERSIONS]
        return (200, offering(asked)) if asked in known else (404, {"title": "Not found"})

    doors.answers["GET", "/catalog/v1/offerings/database"] = answer
    doors.lists("/catalog/v1/offerings", offering("1.0.0"), offering("2.0.0"), offering("10.0.0"))
    return doors


def test_the_list_has_every_version_the_highest_first(run: Run, published: Any) -> None:
    result = run("offering", "list")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[1] for row in rows[1:]] == ["10.0.0", "2.0.0", "1.0.0"]
    assert ["database", "2.0.0", "default", "2", "Database"] in rows
    assert len(json.loads(run("offering", "list", "-o", "json").stdout)) == 3
    published.lists("/catalog/v1/offerings")
    assert "no offerings yet" in run("offering", "list").stdout


def test_an_offering_is_shown_with_its_contract_and_versions(run: Run, published: Any) -> None:
    result = run("offering", "show", "database")
    assert result.exit_code == 0, result.output
    for text in (
        "database@2.0.0  default",
        "A database of one's own",
        "5d unless something else is asked for, 30d at most",
        "net: network@1.0.0, shared as shared-net",
        "looked for every 10m; correct",
        "cheap: for environment dev",
        "fast: for environment prod or dev and class fast",
        "create, rotate",
    ):
        assert text in result.stdout, text
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["size", "small", "or", "large", "required"] in rows
    assert ["copies", "integer", "1", "How", "many"] in rows
    assert any(row[:3] == ["1.1.0", "defective", "1"] and "backups," in row for row in rows)
    assert "not offered any more" in result.stdout
    run("offering", "show", "database@1.1.0")
    assert published.received[-1].query == {"version": "1.1.0"}


def test_an_offering_shows_which_step_comes_after_which(run: Run, published: Any) -> None:
    found = offering()
    spec = found["manifest"]["spec"]
    steps = [
        {"name": "app", "driver": "kubernetes", "needs": ["mailer", "network"]},
        {"name": "network", "driver": "terraform"},
        {"name": "mailer", "driver": "http", "needs": ["network"], "when": "inputs.mail"},
        {"name": "docs", "driver": "gitops"},
    ]
    cheap = {"name": "cheap", "match": {"environment": ["dev"]}, "actions": {"create": {"steps": steps[3:]}}}
    more = {"actions": {"create": {"steps": steps}, "rotate": {}}, "implementations": [cheap]}
    found["manifest"] = found["manifest"] | {"spec": spec | more}
    published.says("GET", "/catalog/v1/offerings/database", 200, found)
    assert (
        """
steps
├── create
│   ├── network  terraform
│   │   └── mailer  http  if inputs.mail
│   │       └── app  kubernetes  and after network
│   └── docs  gitops
└── create, implementation cheap
    └── docs  gitops

"""
        in run("offering", "show", "database").stdout
    )


@pytest.mark.parametrize("command", ["show", "impact"])
def test_an_unknown_offering_is_told_with_those_there_are(run: Run, published: Any, command: str) -> None:
    result = run("offering", command, "databse")
    assert result.exit_code == 3
    assert "no offering databse" in result.stderr
    assert "there are database" in result.stderr
    result = run("offering", command, "database", "--version", "9.0.0")
    assert result.exit_code == 3
    assert "there are 1.0.0, 2.0.0, 10.0.0" in result.stderr
    assert run("offering", command, "database@1.0.0", "--version", "2.0.0").exit_code == 2


def explained(run: Run, *arguments: str) -> str:
    result = run("offering", "explain", "database", "-p", "shop", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_explain_says_which_version_and_implementation_and_why(run: Run, published: Any) -> None:
    told = explained(run, "-e", "dev")
    assert "2.0.0: it is the default, and none is named" in told
    assert "cheap: environment dev matches" in told
    assert "✓  cheap           chosen: environment dev matches" in told
    assert "·  fast            class is not given, not fast" in told
    assert "refused" not in told
    assert "fast: environment prod and class fast matches" in explained(run, "-e", "prod", "--class", "fast")
    own = explained(run, "-e", "prod")
    assert "the offering's own steps: none of its implementations matches" in own


def test_explain_says_when_nothing_would_be_made(run: Run, published: Any) -> None:
    assert "not offered in test, only in dev, prod" in explained(run, "-e", "test")
    defective = explained(run, "-e", "dev", "--version", "1.1.0")
    assert "it is named, though it is defective" in defective
    assert "✗ it would be refused: 1.1.0 is defective" in defective
    assert "it is named, though it is proposed" in explained(run, "-e", "dev", "--version", "2.1.0")
    nothing = offering(versions=[version("2.0.0", "deprecated")])
    published.says("GET", "/catalog/v1/offerings/database", 200, nothing)
    assert "no version is the default, so one has to be named" in explained(run, "-e", "dev")


def test_explain_as_json_has_every_candidate(run: Run, published: Any) -> None:
    document = json.loads(explained(run, "-e", "dev", "-o", "json"))
    assert (document["version"], document["implementation"], document["refused"]) == ("2.0.0", "cheap", None)
    assert [(one["name"], one["matches"]) for one in document["candidates"]] == [("cheap", True), ("fast", False)]


def runs(name: str, number: str, stage: str | None, environment: str = "dev") -> Document:
    one = {"project": "shop", "environment": environment, "name": name, "owner": "user:ada"}
    return {**one, "id": f"shop/{environment}/database/{name}", "version": number, "stage": stage}


def test_impact_tells_who_runs_what_and_what_that_means(run: Run, published: Any) -> None:
    there = [runs("a", "1.1.0", "defective"), runs("b", "2.0.0", "default"), runs("c", "1.1.0", "defective", "prod")]
    published.lists("/catalog/v1/offerings/database/impact", *there, runs("d", "1.0.0", "deprecated"))
    result = run("offering", "impact", "database")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[-1] for row in rows[1:5]] == ["b", "a", "c", "d"]
    assert (
        "2 resources run database@1.1.0, defective: nothing is made with it or updated to it any more" in result.stdout
    )
    assert "deleting it, and updating it to another version, work" in result.stdout
    assert "1 resource runs database@1.0.0, deprecated" in result.stdout
    assert "--action update --version 2.0.0" in result.stdout
    assert "1 resource runs database@2.0.0, default: who names no version gets it" in result.stdout
    assert run("offering", "impact", "database@1.1.0", "-p", "shop").exit_code == 0
    assert published.last("GET", "/catalog/v1/offerings/database/impact").query["version"] == "1.1.0"
    assert len(json.loads(run("offering", "impact", "database", "-o", "json").stdout)["resources"]) == 4
    published.lists("/catalog/v1/offerings/database/impact")
    assert "no resource runs database@1.1.0" in run("offering", "impact", "database@1.1.0").stdout


@pytest.mark.parametrize(
    ("command", "stage", "means"),
    [
        ("promote", "default", "who names no version gets it"),
        ("deprecate", "deprecated", "nothing new is made with it unless it is named"),
        ("defect", "defective", "nothing is made with it or updated to it any more"),
    ],
)
def test_a_version_is_brought_to_a_stage(run: Run, published: Any, command: str, stage: str, means: str) -> None:
    path = "/intake/v1/offerings/database/1.1.0/stage"
    published.says("POST", path, 202, {"name": "database", "version": "1.1.0", "stage": stage})
    result = run("offering", command, "database", "1.1.0", "--reason", "so it is")
    assert result.exit_code == 0, result.output
    assert published.last("POST", path).body == {"stage": stage, "reason": "so it is"}
    assert f"database@1.1.0 is {stage} now: {means}" in result.stdout
    assert ("entresol offering impact database" in result.stdout) is (command != "promote")
    document = json.loads(run("offering", command, "database@1.1.0", "--reason", "x", "-o", "json").stdout)
    assert document["stage"] == stage


def test_who_takes_the_default_away_is_told_so(run: Run, published: Any) -> None:
    for number, told in (("2.0.0", True), ("1.1.0", False)):
        path = f"/intake/v1/offerings/database/{number}/stage"
        published.says("POST", path, 202, {"name": "database", "version": number, "stage": "deprecated"})
        said = run("offering", "deprecate", "database", number).stdout
        assert ("no version of database is the default now: entresol offering promote" in said) is told


def test_which_version_must_be_said_and_must_be_there(run: Run, published: Any) -> None:
    result = run("offering", "promote", "database")
    assert result.exit_code == 2
    assert "which version of database?" in result.stderr
    assert "there are 1.0.0, 2.0.0, 10.0.0" in result.stderr
    assert run("offering", "promote", "database", "9.0.0").exit_code == 3
    assert run("offering", "defect", "database", "1.1.0").exit_code == 2
    assert run("offering", "promote", "@1.0.0").exit_code == 2


def test_a_stage_that_is_refused_says_why(run: Run, published: Any) -> None:
    problem = {"title": "Not valid", "violations": [{"pointer": "/stage", "detail": "it is the default"}]}
    published.says("POST", "/intake/v1/offerings/database/2.0.0/stage", 422, problem)
    result = run("offering", "deprecate", "database", "2.0.0")
    assert result.exit_code == 2
    assert "it is the default" in result.stderr


def test_what_is_proposed_is_applied_as_such(run: Run, doors: Any, tmp_path: Path) -> None:
    manifest = tmp_path / "route.yaml"
    manifest.write_text(
        "apiVersion: entresol.dev/v1\nkind: Destination\nmetadata: {name: a}\nspec: {repository: a.git}\n"
    )
    doors.says("POST", "/intake/v1/manifests", 202, {"results": [{"kind": "Destination", "name": "a"}]})
    assert run("apply", str(manifest), "--proposed").exit_code == 0
    assert doors.last("POST", "/intake/v1/manifests").query == {"proposed": "true"}
    assert run("apply", str(manifest)).exit_code == 0
    assert doors.last("POST", "/intake/v1/manifests").query == {}


def test_a_request_may_name_a_class(run: Run, accepting: Any) -> None:
    assert run("request", "database", "orders", "-p", "shop", "-e", "dev", "--class", "cheap").exit_code == 0
    assert accepting.last("POST", "/intake/v1/requests").body["class"] == "cheap"
    problem = {"title": "Not valid", "violations": [{"pointer": "/class", "detail": "not a slug"}]}
    accepting.says("POST", "/intake/v1/requests", 422, problem)
    assert "--class: not a slug" in run("request", "database", "o", "-p", "p", "-e", "d", "--class", "!").stderr


def test_what_an_offering_says_can_not_steer_the_terminal(run: Run, doors: Any) -> None:
    hostile = "a\x1b[2Jb\u202e"
    bad = offering(name=hostile, version=hostile)
    bad["manifest"]["metadata"] = {"title": hostile, "owner": hostile}
    bad["versions"] = [version(hostile, hostile, reason=hostile)]
    doors.says("GET", "/catalog/v1/offerings/database", 200, bad)
    doors.lists("/catalog/v1/offerings", bad)
    doors.lists("/catalog/v1/offerings/database/impact", runs(hostile, hostile, hostile))
    for command in (
        ("list",),
        ("show", "database"),
        ("impact", "database"),
        ("explain", "database", "-p", "p", "-e", "dev"),
    ):
        result = run("offering", *command)
        assert result.exit_code == 0, result.output
        assert not set("\x1b\u202e") & set(result.output)


@pytest.mark.parametrize("name", ["list", "show", "explain", "impact", "promote", "deprecate", "defect"])
def test_help_has_an_example_and_exit_codes(run: Run, name: str) -> None:
    text = run("offering", name, "--help").stdout
    assert f"entresol offering {name}" in text
    assert "Exit codes" in text

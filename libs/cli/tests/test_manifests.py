"""Applying and validating manifests: faults with their place before anything is sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entresol.commandline import build
from entresol.terminal import Terminal
from entresol_manifests.digest import digest
from typer.testing import CliRunner, Result

Run = Callable[..., Result]

DOMAIN = """\
apiVersion: entresol.dev/v1
kind: Blueprint
metadata: {name: Domain}
spec:
  schema: {properties: {}}
---
apiVersion: entresol.dev/v1
kind: Entity
metadata: {name: Orders}
spec: {blueprint: Domain}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    (tmp_path / "domain.yaml").write_text(DOMAIN)
    return tmp_path / "domain.yaml"


def test_applying_sends_all_manifests_in_one_batch(run: Run, doors: Any, manifests: Path) -> None:
    results = [
        {"kind": "Blueprint", "name": "Domain", "version": None, "result": "created"},
        {"kind": "Entity", "name": "Orders", "version": None, "result": "unchanged"},
    ]
    doors.says("POST", "/intake/v1/manifests", 202, {"results": results})
    result = run("apply", str(manifests))
    assert result.exit_code == 0, result.output
    assert "1 created, 1 unchanged" in result.stdout
    sent = doors.last("POST", "/intake/v1/manifests").body
    assert [document["kind"] for document in sent] == ["Blueprint", "Entity"]
    assert json.loads(run("apply", str(manifests), "-o", "json").stdout) == results


def test_applying_waits_until_the_catalog_shows_what_is_new(run: Run, doors: Any, manifests: Path) -> None:
    looks: list[Any] = []

    def listed(call: Any) -> tuple[int, Any]:
        looks.append(call.query)
        sent = doors.last("POST", "/intake/v1/manifests").body[0]
        return 200, {"items": [{"digest": "sha256:1" if len(looks) < 3 else digest(sent)}]}

    results = [{"kind": "Blueprint", "name": "Domain", "result": "changed"}, {"result": "unchanged"}]
    doors.says("POST", "/intake/v1/manifests", 202, {"results": results})
    doors.answers["GET", "/catalog/v1/manifests"] = listed
    assert run("apply", str(manifests), "--dry-run").exit_code == 0
    assert not looks
    assert run("apply", str(manifests)).exit_code == 0
    assert [(one["kind"], one["name"]) for one in looks] == [("Blueprint", "Domain")] * 3


@pytest.mark.parametrize(
    ("broken", "line"),
    [(DOMAIN.replace("spec: {blueprint: Domain}", "spec: {blueprnt: Domain}"), 10), (DOMAIN + "  : [", 11)],
    ids=["schema", "syntax"],
)
def test_a_fault_is_told_with_its_line_and_nothing_is_sent(
    run: Run, doors: Any, tmp_path: Path, broken: str, line: int
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(broken)
    validated = run("validate", str(file))
    assert validated.exit_code == 1
    assert f"{file}:{line}:" in validated.stdout
    applied = run("apply", str(file))
    assert applied.exit_code == 2
    assert f"{file}:{line}:" in applied.stderr
    assert doors.received == []


def test_sound_manifests_validate_without_a_server(run: Run, doors: Any, manifests: Path) -> None:
    result = run("validate", str(manifests), "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"manifests": 2, "faults": []})
    assert doors.received == []


def test_a_missing_path_is_told(run: Run, tmp_path: Path) -> None:
    result = run("apply", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "no such file or directory" in result.stderr


def test_manifests_are_read_from_the_standard_input(run: Run, doors: Any, manifests: Path) -> None:
    text = manifests.read_text()
    doors.says("POST", "/intake/v1/manifests", 202, {"results": []})
    assert CliRunner().invoke(build(), ["apply", "-"], input=text).exit_code == 0
    assert len(doors.last("POST", "/intake/v1/manifests").body) == 2
    wrong = CliRunner().invoke(build(), ["validate", "-"], input=text.replace("kind: ", " kind: ", 1))
    assert (wrong.exit_code, wrong.stdout[:4]) == (1, "-:2:")
    assert "-: holds no manifests" in CliRunner().invoke(build(), ["validate", "-"], input="").stdout


def test_importing_a_catalog_takes_only_blueprints_and_entities(
    run: Run, doors: Any, manifests: Path, tmp_path: Path
) -> None:
    doors.says("POST", "/intake/v1/manifests", 202, {"results": []})
    assert run("catalog", "import", str(manifests)).exit_code == 0
    (tmp_path / "channel.yaml").write_text(
        "apiVersion: entresol.dev/v1\nkind: Channel\nmetadata: {name: log}\nspec: {kind: log}\n"
    )
    result = run("catalog", "import", str(tmp_path))
    assert result.exit_code == 2
    assert "Channel" in result.stderr


def test_who_sits_at_a_terminal_is_shown_what_hangs_on_it_and_asked(
    run: Run, doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "asks", True)
    doors.lists("/catalog/v1/offerings/database/impact", *({"id": f"shop/dev/database/{n}"} for n in range(12)))
    needs = {"spec": {"requires": [{"name": "db", "offering": "database"}]}}
    app = {"name": "app", "version": "1.0.0", "manifest": needs}
    doors.lists("/catalog/v1/offerings", app, {"name": "database", "version": "1.0.0", "manifest": {"spec": {}}})
    doors.says("DELETE", "/intake/v1/manifests/Offering/database", 202, {})

    def answering(answer: str, *more: str) -> Result:
        return CliRunner().invoke(build(), ["remove", *(more or ("Offering/database",))], input=answer)

    asked = answering("n\n")
    assert asked.exit_code == 1
    assert "shop/dev/database/9 and 2 more" in asked.stderr
    assert "these offerings require it: app@1.0.0" in asked.stderr
    assert "Remove Offering/database? [y/N]" in asked.stderr
    assert "nothing was removed" in asked.stderr
    assert not [one for one in doors.received if one.method == "DELETE"]
    assert answering("y\n").stdout.splitlines()[-1] == "removed Offering/database"
    doors.says("DELETE", "/intake/v1/manifests/Policy/p", 202, {})
    assert "what it denied" in answering("", "Policy/p").stderr
    assert answering("", "Policy/p", "--yes").exit_code == 0


def test_a_manifest_is_taken_out_of_force_by_kind_and_name(run: Run, doors: Any) -> None:
    doors.says("DELETE", "/intake/v1/manifests/Policy/no-surprises", 202, {})
    result = run("remove", "Policy/no-surprises")
    assert (result.exit_code, result.stdout.strip()) == (0, "removed Policy/no-surprises")
    doors.says("DELETE", "/intake/v1/manifests/Entity/component:default/cart", 202, {})
    assert run("remove", "Entity/component:default/cart", "--version", "component").exit_code == 0
    assert doors.received[-1].query == {"version": "component"}
    assert run("remove", "Policy/never-was").exit_code == 3
    assert run("remove", "no-surprises").exit_code == 2

"""Paths that may be written to."""

import pytest
from entresol_manifests.paths import is_harmless
from entresol_manifests.schemas import differences, validator

GOOD = ("a", "a/b.yaml", ".github/workflows", ".gitignore", ".g", ".git.x", "..a", "é/ü", "x" * 200)
BAD = ("", ".", "..", "...", "../x", "a/../b", "a//b", "/a", "a/", "-x", "a/-x", "a\\b", "a:b", "a\nb", "x" * 201)
GIT = (".git", "x/.GIT/hooks", ".git /x", ".git./x", "git~1/config")


@pytest.mark.parametrize("path", GOOD)
def test_a_plain_path_may_be_written_to(path: str) -> None:
    assert is_harmless(path)


@pytest.mark.parametrize("path", [*BAD, *GIT, "/".join("ab" * 300)])
def test_what_could_lead_elsewhere_may_not(path: str) -> None:
    assert not is_harmless(path)


def test_a_schema_can_ask_for_such_a_path_or_for_a_folder() -> None:
    schema = {"properties": {"file": {"format": "relative-path"}, "folder": {"format": "relative-folder"}}}
    check = validator(schema)
    assert differences({"file": "a/b", "folder": "/a/"}, schema, check) == []
    assert differences({"folder": ""}, schema, check) == []
    found = differences({"file": "a/", "folder": "/../a/"}, schema, check)
    assert [one.pointer for one in found] == ["/file", "/folder"]
    assert {one.message for one in found} == {
        "must be a relative path, without .., .git, and names that begin with a dash"
    }

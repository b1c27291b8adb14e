"""Inputs as they are typed on the command line."""

from pathlib import Path
from typing import Any

import pytest
from entresol.failures import Code, Failure
from entresol.inputs import load, merge, parse


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("size=small", {"size": "small"}),
        ("replicas=3", {"replicas": 3}),
        ("debug=true", {"debug": True}),
        ("nothing=null", {"nothing": None}),
        ('tags=["a", "b"]', {"tags": ["a", "b"]}),
        ('tags:=["a"]', {"tags": ["a"]}),
        ('answer="3"', {"answer": "3"}),
        ("version=1.10", {"version": "1.10"}),
        ("revision=4e10", {"revision": "4e10"}),
        ("version:=1.10", {"version": 1.1}),
        ("not-a-number=NaN", {"not-a-number": "NaN"}),
        ("url=http://host:80/?a=b", {"url": "http://host:80/?a=b"}),
        ("expression=a:=b", {"expression": "a:=b"}),
        ("empty=", {"empty": ""}),
        ("database.size=small", {"database": {"size": "small"}}),
        ("lines=a\nb", {"lines": "a\nb"}),
    ],
)
def test_a_pair_means(typed: str, meant: dict[str, Any]) -> None:
    assert parse([typed]) == meant


@pytest.mark.parametrize("typed", ["size", "=small", ":=3", "tags:=[", "tags:=NaN", ""])
def test_a_pair_that_makes_no_sense_is_refused(typed: str) -> None:
    with pytest.raises(Failure) as refused:
        parse([typed])
    assert refused.value.code is Code.INVALID


def test_a_dotted_name_does_not_reach_into_text() -> None:
    with pytest.raises(Failure, match="not an object"):
        parse(["database=small", "database.size=3"])


def test_later_inputs_win_and_objects_are_merged() -> None:
    merged = merge({"a": 1, "env": {"LOG": "info", "X": "1"}}, {"a": 2, "env": {"LOG": "debug"}})
    assert merged == {"a": 2, "env": {"LOG": "debug", "X": "1"}}


@pytest.mark.parametrize(
    ("content", "says"),
    [("a: [", "values.yaml:1"), ("- a", "mapping"), (b"\xff\xfe", "UTF-8")],
    ids=["syntax", "list", "bytes"],
)
def test_a_file_that_holds_no_inputs_is_refused_with_its_place(tmp_path: Path, content: str | bytes, says: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Failure, match=says):
        load(file)


def test_a_missing_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="No such file"):
        load(tmp_path / "missing.yaml")

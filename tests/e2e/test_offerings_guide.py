"""docs/offerings.md does what it says: its files are written, and its commands run in their order."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from entresol.demo.child import running

from tests.e2e.conftest import THING
from tests.e2e.people import Town, town

GUIDE = (Path(__file__).parents[2] / "docs" / "offerings.md").read_text()
FENCE = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
FAILS = "# fails"


def parts() -> list[tuple[str, str]]:
    """Files by their name, and command lines, in the order of the page."""
    found: list[tuple[str, str]] = []
    for fence in FENCE.finditer(GUIDE):
        if fence["language"] == "sh":
            found += [("", line) for line in fence["body"].splitlines()]
        else:
            found.append((fence["file"], fence["body"]))
    return found


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The platform that the page starts from: with the starter and its policies."""
    data = tmp_path_factory.mktemp("platform") / "data"
    with running(data) as child:
        for found in town(child):
            found.apply(data, THING)
            yield found


@pytest.mark.timeout(120)
def test_who_follows_the_guide_arrives(place: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for file, text in parts():
        if file:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
            continue
        command, _, remark = text.partition("#")
        program, *arguments = shlex.split(command)
        assert program == "entresol"
        run = place.admin.fails if f"#{remark}" == FAILS else place.admin.does
        assert run(*arguments), text
        commands += 1
    assert commands > 30

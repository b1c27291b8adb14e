"""docs/policies.md does what it says: its commands are taken from the page and run, its manifests applied before.

Its cases are run by policy's own tests.
"""

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.people import Town

GUIDE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
BLOCKS = [found[1] for found in re.finditer(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)]
MANIFESTS = [block for block in BLOCKS if not re.search(r"^cases:", block, re.MULTILINE)]
COMMANDS = [
    line
    for found in re.finditer(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for line in found[1].splitlines()
]
NEEDED = """\
apiVersion: entresol.dev/v1
kind: Blueprint
metadata: {name: service}
spec: {schema: {properties: {runbook: {type: string}, lifecycle: {type: string}}}}
"""


@pytest.fixture(scope="module")
def published(place: Town, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A platform with the starter's offerings, on which everything from the guide is in force."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "guide.yaml").write_text("---\n".join([NEEDED, *MANIFESTS]))
    place.admin.does("apply", "--starter")
    place.admin.does("apply", str(folder / "guide.yaml"))
    return place


def test_the_guide_has_manifests_and_commands_and_no_example_of_another_kind() -> None:
    assert set(re.findall(r"^```(\w*)\n.*?^```", GUIDE, re.MULTILINE | re.DOTALL)) == {"yaml", "sh"}
    assert len(MANIFESTS) > 8
    assert len(COMMANDS) > 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_does_something(published: Town, command: str, tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "production.yaml").write_text(MANIFESTS[0])
    program, *arguments = shlex.split(command)
    assert program == "entresol"
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert published.admin.does(*arguments)
    finally:
        os.chdir(before)

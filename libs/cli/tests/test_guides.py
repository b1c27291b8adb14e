"""The commands that the guides name, also in the midst of a sentence, exist and take what is given to them."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from entresol.commandline import _GUIDES, build
from typer.core import TyperGroup
from typer.main import get_command

ROOT = Path(__file__).parents[3]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(entresol [^`]+)`")


def commands() -> Iterator[tuple[str, str]]:
    """Guide and command; a command without arguments only names what the text is about."""
    for guide in GUIDES:
        text = guide.read_text("utf-8")
        blocks = "\n".join(found[2] for found in _BLOCK.finditer(text) if found[1] in ("", "sh"))
        lines = re.findall(r"^(?:\$ )?(entresol .+)$", blocks.replace("\\\n", ""), re.MULTILINE)
        for command in dict.fromkeys([*lines, *_INLINE.findall(_BLOCK.sub("", text))]):
            yield guide.name, " ".join(command.split())


program = cache(lambda: get_command(build()))


@pytest.mark.parametrize(("guide", "command"), list(commands()))
def test_a_command_that_a_guide_names_takes_what_is_given_to_it(guide: str, command: str) -> None:
    words = shlex.split(command.partition(" | ")[0], comments=True)[1:]
    taken = program()
    context = taken.make_context("entresol", [], resilient_parsing=True)
    while isinstance(taken, TyperGroup):
        _, found, words = taken.resolve_command(context, words)
        assert found is not None, guide
        taken, context = found, found.make_context(found.name, [], parent=context, resilient_parsing=True)
    if "…" in words:
        known = {option for each in taken.params for option in each.opts}
        assert known.issuperset(word for word in words if word.startswith("-"))
    elif words and words != ["--help"]:
        taken.make_context(taken.name, words, parent=context.parent)


def test_the_help_points_to_guides_that_exist_from_commands_that_exist() -> None:
    taken = program()
    assert isinstance(taken, TyperGroup)
    for guide, names in _GUIDES.items():
        assert (ROOT / "docs" / f"{guide}.md").exists()
        assert taken.commands.keys() >= set(names)
        assert all(f"docs/{guide}.md" in str(taken.commands[name].epilog) for name in names)

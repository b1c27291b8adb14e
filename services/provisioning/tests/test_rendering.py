"""Templates from outside: they can neither reach out nor run on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from entresol_provisioning.rendering import Renderer, RenderFailed


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    made = Renderer(seconds=0.5)
    yield made
    await made.close()


SCOPE: dict[str, Any] = {"inputs": {"name": "cart", "text": "a\nadmin: true", "list": [1, 2]}}


async def test_names_and_contents_are_templates(renderer: Renderer) -> None:
    files = {"{{ inputs.name }}.yaml": "name: {{ inputs.name | tojson }}\n", "plain": "${not: ours}\n"}
    assert await renderer.render(files, SCOPE) == {"cart.yaml": 'name: "cart"\n', "plain": "${not: ours}\n"}


async def test_the_child_lives_on_between_calls(renderer: Renderer) -> None:
    await renderer.render({"a": "b"}, {})
    child = renderer._child
    await renderer.render({"a": "c"}, {})
    assert renderer._child is child


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ inputs.list.append(3) }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "names /etc/passwd, but each template stands alone"),
        ("{{ inputs.nothing }}", "nothing"),
        ("a\n{% if %}", "line 2"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("name: {{ inputs.text }}", "line break"),
        ("{{ range(10000000) | list }}", "OverflowError"),
    ],
)
async def test_a_bad_template_is_told_and_harms_nobody(renderer: Renderer, template: str, reason: str) -> None:
    with pytest.raises(RenderFailed, match=reason):
        await renderer.render({"bad": template}, SCOPE)
    assert await renderer.render({"good": "x"}, {}) == {"good": "x"}


async def test_a_line_break_is_written_only_as_json(renderer: Renderer) -> None:
    assert await renderer.render({"a": "{{ inputs.text | tojson }}"}, SCOPE) == {"a": '"a\\nadmin: true"'}


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** (9 ** 9)) }}",
    ],
)
async def test_an_endless_template_is_stopped_and_the_next_one_rendered(renderer: Renderer, template: str) -> None:
    with pytest.raises(RenderFailed, match="took longer"):
        await renderer.render({"endless": template}, {})
    assert await renderer.render({"good": "x"}, {}) == {"good": "x"}


async def test_a_greedy_template_ends_without_harm(renderer: Renderer) -> None:
    with pytest.raises(RenderFailed):
        await renderer.render({"greedy": "{{ ('x' * 2000000000) ~ ('y' * 2000000000) }}"}, {})
    assert await renderer.render({"good": "x"}, {}) == {"good": "x"}


async def test_two_templates_must_not_become_one_file(renderer: Renderer) -> None:
    with pytest.raises(RenderFailed, match="two templates are rendered as cart"):
        await renderer.render({"cart": "", "{{ inputs.name }}": ""}, SCOPE)


async def test_a_missing_value_is_marked_as_unknown(renderer: Renderer) -> None:
    with pytest.raises(RenderFailed) as failure:
        await renderer.render({"a": "{{ steps.database.outputs.host }}"}, {"steps": {}})
    assert failure.value.unknown

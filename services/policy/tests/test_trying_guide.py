"""The cases in the guide to policies, held against the manifests that stand before them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from entresol_policy.trying.running import run

GUIDE = Path(__file__).parents[3] / "docs" / "policies.md"
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def examples() -> Iterator[tuple[int, str, str]]:
    """Line, manifests and cases."""
    text = GUIDE.read_text("utf-8")
    manifests = ""
    for found in _YAML.finditer(text):
        if re.search(r"^cases:", found[1], re.MULTILINE):
            yield text.count("\n", 0, found.start()) + 1, manifests, found[1]
        else:
            manifests = found[1]


def test_the_guide_has_examples_with_cases() -> None:
    assert len(list(examples())) > 2


@pytest.mark.parametrize(
    ("line", "manifests", "cases"), [pytest.param(*one, id=f"line-{one[0]}") for one in examples()]
)
def test_the_guide_says_what_happens(line: int, manifests: str, cases: str, tmp_path: Path) -> None:
    (tmp_path / "manifests.yaml").write_text(manifests)
    path = tmp_path / "guide.test.yaml"
    path.write_text(cases)
    (report,) = run([path])
    assert report.faults == ()
    assert {one.case.name: one.differences for one in report.results if not one.passed} == {}

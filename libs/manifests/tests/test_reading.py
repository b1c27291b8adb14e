"""Files become manifests with a place for every part; whatever else they hold becomes a ManifestError."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from entresol_manifests import json_text, yaml_text
from entresol_manifests.reading import ManifestError, read
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

POLICY = """\
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: first}
spec:
  rules:
    - deny: "true"
      because: no
"""


def only(path: Path, text: str | bytes) -> Any:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (manifest,) = read([path])
    return manifest


def test_documents_of_one_file_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(f"# two\n{POLICY}---\n{POLICY.replace('first', 'second')}---\n# nothing here\n")
    first, second = read([path])
    assert [first.document["metadata"]["name"], second.document["metadata"]["name"]] == ["first", "second"]
    assert (first.origin.path, first.origin.line, second.origin.line) == (path, 2, 10)
    assert [first.line_of(pointer) for pointer in ("", "/spec", "/spec/rules/0", "/spec/rules/0/because")] == [
        2,
        5,
        7,
        8,
    ]
    assert second.line_of("/spec/rules/0/because/nearest/known") == 16
    assert first.line_of("/nowhere") == 2


def test_directories_are_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/.hidden.yaml", ".git/c.yaml", "notes.txt", "b.test.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(POLICY.replace("first", name.replace("/", "-").partition(".")[0] or "hidden"))
    (tmp_path / "c.json").write_text(json.dumps({"apiVersion": "entresol.dev/v1", "kind": "Entity"}))
    assert [str(each.origin.path.relative_to(tmp_path)) for each in read([tmp_path])] == ["b.yaml", "c.json", "a/z.yml"]


def test_plain_words_mean_what_yaml_1_2_says(tmp_path: Path) -> None:
    text = (
        "apiVersion: entresol.dev/v1\nkind: Trigger\non: yes\ndate: 2026-01-01\ntime: 12:30:00\n1: 0o17\nnull: ~\n"
        "numbers: [012, 0x1f, 1e3, -.5, 1_000, '1', !!str 1, 1.0]\nflags: [true, False, no]\n"
    )
    document = only(tmp_path / "x.yaml", text).document
    assert document["on"] == "yes"
    assert document["date"] == "2026-01-01"
    assert document["time"] == "12:30:00"
    assert (document["1"], document["null"]) == (15, None)
    assert document["numbers"] == [12, 31, 1000.0, -0.5, "1_000", "1", "1", 1.0]
    assert document["flags"] == [True, False, "no"]


def test_anchors_and_merges_are_copied(tmp_path: Path) -> None:
    text = "apiVersion: entresol.dev/v1\nkind: X\na: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a\n"
    document = only(tmp_path / "x.yaml", text).document
    assert (document["b"], document["c"]) == ({"x": 3, "y": [2]}, {"x": 1, "y": [2]})
    assert document["c"]["y"] is not document["a"]["y"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("name", "text", "line", "column", "words"),
    [
        ("x.yaml", "a: 1\nb: 2\na: 3\n", 3, 1, "the key 'a' is there twice"),
        ("x.yaml", "a:\n\tb: 1\n", 2, 1, "never with tabs"),
        ("x.yaml", "a: [1\nb: 2", 2, 2, "is a ] missing"),
        ("x.yaml", "a:\n  b: 1\n c: 2\n", 3, 2, "is it indented as the lines it belongs with"),
        ("x.yaml", "a: 1\n  b: 2\n", 2, 4, "is it indented too far"),
        ("x.yaml", "- a\nb: 1\n", 2, 1, "is it indented as the items above it"),
        ("x.yaml", "a: @x\n", 1, 4, "quote a text that begins with it"),
        ("x.yaml", "a: {{ x }}\n", 1, 5, "quote a text that begins with {"),
        ("x.yaml", BOMB, 6, 1, "more than 100000 values"),
        ("x.yaml", "a: *nothing\n", 1, 4, "names no earlier anchor"),
        ("x.yaml", "a: &a [*a]\n", 1, 8, "names no earlier anchor"),
        ("x.yaml", "a: !!python/object:os.system x\n", 1, 4, "is not allowed here"),
        ("x.yaml", "a: .nan\n", 1, 4, "no finite number"),
        ("x.yaml", "a: 1e999\n", 1, 4, "no finite number"),
        ("x.yaml", 'a: "x\\0"\n', 1, 4, "NUL"),
        ("x.yaml", "? [a]\n: b\n", 1, 3, "a key that is no plain text"),
        ("x.yaml", "[" * 70 + "]" * 70, 1, 66, "deeper than 64"),
        ("x.yaml", "a: \x01\n", 1, 4, "not allowed"),
        ("x.yaml", b"a: 1\nb: \xff\n", 2, 1, "not UTF-8"),
        ("x.yaml", "just text\n", 1, 1, "not a manifest"),
        ("x.yaml", "kind: Policy\n", 1, 1, "apiVersion: entresol.dev/v1"),
        ("x.yaml", "a: x\napiVersion: apps/v1\nkind: Deployment\n", 2, 1, "apiVersion: entresol.dev/v1"),
        ("x.yaml", "apiVersion: score.dev/v1b1\nmetadata: {name: x}\n", 1, 1, "Score files are not supported yet"),
        ("x.json", '{"a": 1,\n "a": 2}', 2, 2, "the key 'a' is there twice"),
        ("x.json", "{\n  “identifier”: “Resource”\n}", 2, 3, "typographic quote “ (U+201C)"),
        ("x.json", '{"a": “b”}', 1, 7, 'replace the typographic quotes by "'),
        ("x.json", '{"a": NaN}', 1, 7, "a value is missing here"),
        ("x.json", '{"a": 1e999}', 1, 7, "too large"),
        ("x.json", '{"a": "\\ud800"}', 1, 7, "surrogate"),
        ("x.json", '{"a": "\\u0000"}', 1, 7, "NUL"),
        ("x.json", '{"a": 1,}', 1, 9, "a text in double quotes is missing"),
        ("x.json", '{"a" 1}', 1, 6, "a colon is missing"),
        ("x.json", "[1 2]", 1, 4, "a comma or ] is missing"),
        ("x.json", "{} {}", 1, 4, "more text after the end"),
        ("x.json", "[" * 100_000, 1, 66, "deeper than 64"),
        ("x.json", "", 1, 1, "a value is missing"),
        ("x.json", '{"a": "b\n"}', 1, 9, "invalid control character"),
        ("x.json", "[" + "1," * 100_001 + "1]", 1, 1, "more than 100000 values"),
        ("x.txt", "", 1, 1, "ends in none of .yaml, .yml, .json"),
        ("x.yaml", "a" * (1024 * 1024 + 1), 1, 1, "larger than 1024 KiB"),
    ],
)
def test_what_can_not_be_read_says_where_and_why(
    tmp_path: Path, name: str, text: str | bytes, line: int, column: int, words: str
) -> None:
    with pytest.raises(ManifestError) as failure:
        only(tmp_path / name, text)
    assert words in str(failure.value)
    assert str(failure.value).startswith(f"{tmp_path / name}:{line}:")
    if "more than" not in words:
        assert failure.value.column == column


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or directory"):
        read([tmp_path / "nothing.yaml"])


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(POLICY)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(ManifestError, match="leads outside"):
        read([tmp_path / "manifests"])


YAMLISH = st.text(alphabet=st.sampled_from(list("abc:-[]{}#&*!|>'\"%@`,? \n\t~0123.<=")), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | YAMLISH.map(str.encode)
)
def test_garbage_raises_nothing_but_manifest_errors(tmp_path: Path, content: bytes) -> None:
    for name in ("garbage.yaml", "garbage.json"):
        (tmp_path / name).write_bytes(content)
        with contextlib.suppress(ManifestError):
            assert read([tmp_path / name]) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abé/~", max_size=4), inner, max_size=5),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 2]))
def test_json_is_read_as_the_standard_library_reads_it(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert json_text.parse(text).value == value


@given(JSON)
def test_every_member_of_a_json_text_has_a_line(value: Any) -> None:
    parsed = json_text.parse(json.dumps(value, indent=1))
    members = sum(1 for _ in _members(value))
    assert len(parsed.lines) == members


def _members(value: Any) -> Any:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _members(item)


@given(JSON)
def test_json_written_in_yaml_is_the_same(value: Any) -> None:
    text = json.dumps({"value": value}, ensure_ascii=True)
    assume("\\ud" not in text and "\\u00" not in text)  # escapes that YAML has otherwise
    (parsed,) = yaml_text.parse_all(text)
    assert parsed.value == {"value": value}

"""JSON at the doors: what parsers disagree about is refused, with the reason."""

import contextlib
import json

import pytest
from entresol_eventing.http import MAX_DEPTH, Problem, strict_json
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a": 1, "a": 2}', "key twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "key twice"),
        (b'["\\u0000"]', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'["\\ud800"]', "surrogate"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "levels"),
        (b"[" * 5000 + b"]" * 5000, "levels"),
        (b"1" * 5000, "integer"),
        (b'{"a": 1e400}', "too large"),
    ],
)
def test_what_parsers_disagree_about_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Problem) as refused:
        strict_json(raw)
    assert refused.value.status == 400
    assert reason in refused.value.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"a": "[[[["}',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b'["\\ud83d\\ude00", "\\\\u0000"]',
        b'"' + b"[" * 500 + b'"',
    ],
)
def test_what_is_merely_unusual_is_read(raw: bytes) -> None:
    assert strict_json(raw) == json.loads(raw)


@given(JSON)
def test_every_plain_document_comes_back_as_it_was(value: object) -> None:
    raw = json.dumps(value).encode()
    if "\\u0000" in json.dumps(value) or "\\ud" in json.dumps(value):
        return
    assert strict_json(raw) == value


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_a_problem(raw: bytes) -> None:
    with contextlib.suppress(Problem):
        strict_json(raw)

"""Durations, secrets and digests: small values that every service reads the same way."""

from pathlib import Path

import pytest
from entresol_manifests.digest import digest
from entresol_manifests.durations import LONGEST, seconds, text
from entresol_manifests.secrets import SecretMissing, resolve
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "length"),
    [("90s", 90), ("4h", 14_400), ("1d12h", 129_600), ("2w", 1_209_600), ("250ms", 0.25), ("0s", 0), ("1h1h", 7200)],
)
def test_a_duration_has_its_length(written: str, length: float) -> None:
    assert seconds(written) == length


@pytest.mark.parametrize(
    "written", ["", "5", "d", "5 d", "-5d", "5d ", "1.5h", "5D", "5y", "٣d", "5d\n", "9" * 90 + "d"]
)
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|hundred years"):
        seconds(written)


@given(st.integers(0, LONGEST * 1000))
def test_a_length_is_written_so_that_it_reads_the_same(milliseconds: int) -> None:
    assert seconds(text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=0.0005)


def test_durations_are_written_short() -> None:
    assert [text(length) for length in (0, 90, 5 * 86_400, 0.25, 694_861)] == [
        "0s",
        "1m30s",
        "5d",
        "250ms",
        "1w1d1h1m1s",
    ]


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_URL", "https://chat.example/canary")
    (tmp_path / "secret").write_text("canary\n")
    assert resolve("env:CHAT_URL") == "https://chat.example/canary"
    assert resolve(f"file:{tmp_path}/secret") == "canary"


@pytest.mark.parametrize(
    "reference",
    ["env:NOBODY_SETS_THIS", "env:", "file:relative", "file:/no/such/file", "canary", "vault:x", "file:/\0"],
)
def test_a_secret_that_is_not_there_is_named_without_a_value(reference: str) -> None:
    with pytest.raises(SecretMissing) as failure:
        resolve(reference)
    assert "canary" not in str(failure.value)


def test_an_unreadable_secret_does_not_show_its_content(tmp_path: Path) -> None:
    for name, content in {"binary": b"canary\xff", "empty": b"", "huge": b"canary" * 20_000}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SecretMissing) as failure:
            resolve(f"file:{tmp_path}/{name}")
        assert "canary" not in str(failure.value)


def test_equal_documents_have_one_digest() -> None:
    assert digest({"b": [1, "é"], "a": None}) == digest({"a": None, "b": [1, "é"]})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

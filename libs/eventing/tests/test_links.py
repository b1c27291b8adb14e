"""Signed links: only what a key has signed is one, to the bit."""

import string
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from entresol_eventing.links import MAX_TOKEN, Keys, Link, LinkSettings, read_keys
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = b"o" * 32, b"n" * 32
LINK = Link("0199a1b2-0000-7000-8000-0000000000aa", "user:grace", ("sre",), datetime(2026, 11, 21, 10, tzinfo=UTC))
ALPHABET = string.ascii_letters + string.digits + "-_."


def test_a_link_says_what_was_signed() -> None:
    token = Keys([NEW]).mint(LINK)
    assert set(token) <= set(ALPHABET)
    assert Keys([NEW]).read(token) == LINK
    assert Keys([NEW]).mint(LINK) == token


@given(st.text(max_size=50), st.text(max_size=50), st.lists(st.text(max_size=10), max_size=5), st.datetimes())
def test_any_name_survives_the_way_there_and_back(
    approval_id: str, actor: str, groups: list[str], expires_at: datetime
) -> None:
    link = Link(approval_id, actor, tuple(groups), expires_at.replace(microsecond=0, tzinfo=UTC))
    assert Keys([NEW]).read(Keys([NEW]).mint(link)) == link


def test_an_expired_link_is_still_read_because_its_reader_looks_at_the_time() -> None:
    over = replace(LINK, expires_at=datetime(2000, 1, 1, tzinfo=UTC))
    assert Keys([NEW]).read(Keys([NEW]).mint(over)) == over


def test_no_character_can_be_another() -> None:
    token, keys = Keys([NEW]).mint(LINK), Keys([NEW])
    for index, character in enumerate(token):
        for other in set(ALPHABET) - {character}:
            assert keys.read(token[:index] + other + token[index + 1 :]) is None
        assert keys.read(token[:index] + token[index + 1 :]) is None
        assert keys.read(token[:index]) is None


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "1..", "1.W10.", "a.b.c", "é" * 10, "\x00", "\ud800", "1." + "A" * 5000 + ".x"]
)
def test_nonsense_is_no_link(token: str) -> None:
    assert Keys([NEW]).read(token) is None


@pytest.mark.parametrize("tail", ["=", "==", "\n", " ", ".", "\x00"])
def test_nothing_can_be_added(tail: str) -> None:
    token = Keys([NEW]).mint(LINK)
    assert Keys([NEW]).read(token + tail) is None
    assert Keys([NEW]).read(tail + token) is None


def test_another_version_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entresol_eventing.links.VERSION", "2")
    token = Keys([NEW]).mint(LINK)
    monkeypatch.undo()
    assert Keys([NEW]).read(token) is None


def test_while_rotating_both_keys_are_accepted_and_the_first_signs() -> None:
    rotating = Keys([NEW, OLD])
    assert rotating.read(Keys([OLD]).mint(LINK)) == rotating.read(Keys([NEW]).mint(LINK)) == LINK
    assert rotating.mint(LINK) == Keys([NEW]).mint(LINK)
    assert Keys([NEW]).read(Keys([OLD]).mint(LINK)) is None


def test_a_link_is_never_longer_than_what_is_read() -> None:
    groups = tuple(f"group-{number:03}" for number in range(100))
    with pytest.raises(ValueError, match="exceed"):
        Keys([NEW]).mint(replace(LINK, groups=groups))
    assert len(Keys([NEW]).mint(replace(LINK, groups=groups[:45]))) <= MAX_TOKEN


def test_keys_come_from_a_file_one_per_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(NEW + b"\n\n  " + OLD + b"  \n")
    assert read_keys(file) == Keys([NEW, OLD])
    for wrong in (b"", b"\n \n", b"short\n", NEW + b"\nshort\n"):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match="at least 32") as caught:
            read_keys(file)
        assert "short" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_keys(tmp_path / "nothing")


def test_the_key_file_is_a_setting_of_each_service_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_KEY_FILE", "/run/keys")
    assert str(LinkSettings().link_key_file) == "/run/keys"

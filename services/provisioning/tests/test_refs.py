"""Repositories that lie here, made by many at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.git import refs

from services.provisioning.tests.repositories import git

MAKERS = 50


def test_many_who_make_the_same_repository_at_once_share_it(tmp_path: Path) -> None:
    place = tmp_path / "team" / "infra.git"
    ready = threading.Barrier(MAKERS)

    def make(number: int) -> None:
        ready.wait(30)
        refs.create(place, "main")

    with ThreadPoolExecutor(MAKERS) as makers:
        assert list(makers.map(make, range(MAKERS))) == [None] * MAKERS
    assert git(place, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert [one.name for one in place.parent.iterdir()] == ["infra.git"]


def test_what_lies_in_a_repositorys_place_is_named_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "infra.git"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(StepFailed, match=r"^infra\.git: something that is no repository is where it should be made$"):
        refs.create(place, "main")
    assert [one.name for one in tmp_path.iterdir()] == ["infra.git"]
    assert (place / "notes.txt").read_text() == "mine"

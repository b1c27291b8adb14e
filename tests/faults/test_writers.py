"""What judges writers sees a push that takes something away, also when the branch was looked at too late."""

from pathlib import Path

from tests.faults.writers import bare, forced, git, pushes


def test_a_push_by_force_is_found(tmp_path: Path) -> None:
    repository, clone = tmp_path / "things.git", tmp_path / "clone"
    bare(repository)
    git(repository, "config", "core.logAllRefUpdates", "true")
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "one")
    git(clone, "push", "--quiet")
    assert (len(pushes(repository)), list(forced(repository))) == (1, [])
    lost = git(clone, "rev-parse", "HEAD").stdout.strip()
    git(clone, "commit", "--quiet", "--amend", "--allow-empty", "-m", "another")
    git(clone, "push", "--quiet", "--force")
    found = list(forced(repository))
    assert any(f"from {lost} to" in one for one in found)


def test_the_first_push_to_an_empty_repository_is_none_by_force(tmp_path: Path) -> None:
    repository, clone = tmp_path / "things.git", tmp_path / "clone"
    bare(repository, empty=True)
    git(repository, "config", "core.logAllRefUpdates", "true")
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "one")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    assert (len(pushes(repository)), list(forced(repository))) == (1, [])

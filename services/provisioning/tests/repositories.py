"""Real repositories for tests, and somebody who works with them by the git program."""

import os
import subprocess
import threading
from pathlib import Path

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "bo",
    "GIT_AUTHOR_EMAIL": "bo@example.org",
    "GIT_COMMITTER_NAME": "bo",
    "GIT_COMMITTER_EMAIL": "bo@example.org",
}


def git(place: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=place, env=ENV, capture_output=True, text=True, check=check, timeout=60
    )
    return done.stdout.strip()


def bare(place: Path) -> Path:
    """An empty repository whose branch is main."""
    place.mkdir(parents=True)
    git(place, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    return place


def cloned(repository: Path, place: Path) -> Path:
    git(repository, "clone", "--quiet", str(repository), str(place))
    return place


def shared(repository: Path) -> str:
    """A URL of it by which a mirror shares its objects."""
    return f"file://{repository}"


def fetched(repository: Path) -> str:
    """A URL of it that a mirror has to fetch from, as from another machine."""
    return f"file://{repository.parent}/%{ord(repository.name[0]):x}{repository.name[1:]}"


def files_of(repository: Path, ref: str = "main") -> list[str]:
    return git(repository, "ls-tree", "-r", "--name-only", ref).splitlines()


def steps_of(repository: Path, ref: str = "main") -> list[str]:
    """The steps that have a commit on the branch, once for each."""
    return sorted(git(repository, "log", "--format=%(trailers:key=Entresol-Step,valueonly)", ref).split())


def locks_in(repository: Path) -> list[str]:
    return [one.name for one in repository.rglob("*.lock")]


def push(clone: Path, name: str, text: str) -> str:
    """Change a file by hand, as somebody else; return the commit."""
    git(clone, "pull", "--quiet", "--rebase")
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text(text)
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", f"change {name}")
    git(clone, "push", "--quiet")
    return git(clone, "rev-parse", "HEAD")


class Outsider:
    """Somebody who commits and pushes all the time, never by force."""

    def __init__(self, clone: Path) -> None:
        self._clone = clone
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self.commits: list[str] = []
        self.failed: list[str] = []

    def __enter__(self) -> "Outsider":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _push(self) -> None:
        try:
            while not self._enough.is_set() or len(self.commits) < 2:
                number = len(self.commits)
                (self._clone / f"outside-{number}").write_text("x\n")
                git(self._clone, "add", ".")
                git(self._clone, "commit", "--quiet", "-m", f"outside {number}")
                while not self._pushed():
                    git(self._clone, "pull", "--quiet", "--rebase")
                self.commits.append(git(self._clone, "rev-parse", "HEAD"))
        except subprocess.SubprocessError as error:
            self.failed.append(f"{error}: {getattr(error, 'stderr', '')}")

    def _pushed(self) -> bool:
        try:
            git(self._clone, "push", "--quiet")
        except subprocess.CalledProcessError:
            return False
        return True

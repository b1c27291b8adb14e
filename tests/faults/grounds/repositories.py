"""Repositories of git: the files on a branch, and commits that tell their steps by a trailer."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

from tests.faults.grounds.ground import STEPS, Effects, Ground, destination
from tests.faults.writers import bare, git


class Repository(Ground):
    """A repository of git that lies here; a commit tells its step by a trailer."""

    driver = "gitops"

    def __post_init__(self) -> None:
        self.place = self.scratch / "repositories" / "things.git"
        self.settings["REPOSITORIES_ROOT"] = str(self.place.parent)

    def with_(self, step: str) -> dict[str, Any]:
        files = {f"{{{{ request.name }}}}-{step}.yaml": "size: {{ inputs.size }}\n"}
        return {"repository": "things", "create": True, "path": "things", "files": files}

    def effects(self) -> Effects:
        log = self._git("log", "--format=%(trailers:key=Entresol-Step,valueonly,separator=)", "main")
        return Counter(filter(None, log.splitlines()))

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        yield from (f"{run_id}/{step}" for step in STEPS)

    def standing(self, name: str) -> dict[str, str]:
        files = {one: f"things/{name}-{one}.yaml" for one in STEPS}
        there = self._git("ls-tree", "-r", "--name-only", "main").split()
        texts = {step: self._git("show", f"main:{file}") for step, file in files.items() if file in there}
        return {step: text.removeprefix("size: ").strip() for step, text in texts.items()}

    def left(self) -> Iterator[str]:
        for repository in [self.place, *(self.scratch / "data" / "mirrors").glob("*")]:
            yield from map(str, repository.rglob("*.lock"))
            if (found := git(repository, "fsck", "--strict", "--no-dangling", check=False)).returncode:
                yield f"fsck of {repository.name} says {found.stderr[:500]}"

    def _git(self, *arguments: str) -> str:
        return git(self.place, *arguments, check=False).stdout if self.place.exists() else ""


class Remote(Repository):
    """The same, reached by a URL: every commit is pushed."""

    def __post_init__(self) -> None:
        self.place = self.scratch / "elsewhere" / "things.git"
        self.documents.append(destination({"repository": f"file://{self.place}"}))

    async def __aenter__(self) -> Self:
        bare(self.place, empty=True)
        return self

    def with_(self, step: str) -> dict[str, Any]:
        kept = {key: value for key, value in super().with_(step).items() if key in ("path", "files")}
        return {"destination": "here", **kept}

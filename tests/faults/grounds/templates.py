"""Repositories made from a copier template, one for each step: a commit on the branch tells its step by a trailer."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.faults.grounds.ground import SIZES, STEPS, Effects, Ground
from tests.faults.writers import git


class Made(Ground):
    """Repositories are kept when their resource is deleted: they belong to their developers."""

    driver = "scaffold"

    def __post_init__(self) -> None:
        self.place = self.scratch / "repositories"
        self.settings["REPOSITORIES_ROOT"] = str(self.place)
        self.settings["TEMPLATES_ROOT"] = str(self.scratch / "templates")

    async def __aenter__(self) -> Self:
        template = self.scratch / "templates" / "thing"
        template.mkdir(parents=True)
        (template / "copier.yml").write_text("size: {type: str}\n", encoding="utf-8")
        (template / "size.txt.jinja").write_text("{{ size }}\n", encoding="utf-8")
        return self

    def with_(self, step: str) -> dict[str, Any]:
        answers = {"size": "${inputs.size}"}
        return {"template": "thing", "repository": f"${{request.name}}-{step}", "answers": answers}

    def effects(self) -> Effects:
        log = ("log", "--first-parent", "--format=%(trailers:key=Entresol-Step,valueonly,separator=)", "main")
        found = (git(repository, *log, check=False).stdout for repository in self._repositories())
        return Counter(line for said in found for line in said.splitlines() if line)

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        if action != "delete":
            yield from (f"{run_id}/{step}" for step in STEPS)

    def standing(self, name: str) -> dict[str, str]:
        places = {step: self.place / f"{name}-{step}.git" for step in STEPS}
        return {
            step: git(place, "show", "main:size.txt", check=False).stdout.strip()
            for step, place in places.items()
            if place.exists()
        }

    def stands(self, action: str) -> dict[str, str]:
        return dict.fromkeys(STEPS, SIZES.get(action, SIZES["update"]))

    def left(self) -> Iterator[str]:
        for repository in self._repositories():
            yield from map(str, repository.rglob("*.lock"))
            if (found := git(repository, "fsck", "--strict", "--no-dangling", check=False)).returncode:
                yield f"fsck of {repository.name} says {found.stderr[:500]}"

    def _repositories(self) -> list[Path]:
        return sorted(self.place.glob("*.git"))

"""A program that writes down what it does, and runs of it that wait, are undone, or need another resource."""

import sys
from collections.abc import Iterator
from typing import Any, Self

from tests.faults.grounds.ground import STEPS, Effects, Ground, lines

PROGRAM = """#!{python} -IS
import json, os, pathlib, sys
world = pathlib.Path({world!r})
told = json.loads(pathlib.Path("input/object.json").read_text())
name = told["resource"]["name"] + "/" + told["step"].rpartition("undo/")[2]
thing = world / name.replace("/", "-")
size = told["input"]["size"]
def say(file, value):
    pathlib.Path("output", file).write_text(json.dumps(value))
if told["action"] == "plan":
    say("plan.json", {{"destroys" if told["destroys"] else "changes" if thing.exists() else "adds": 1}})
elif told["action"] == "observe":
    say("observation.json", {{"exists": thing.exists()}})
elif told["input"].get("fails") and told["action"] == "apply":
    sys.exit("no room")
else:
    with (world / "ledger").open("a") as ledger:
        ledger.write(f"destroy {{name}}\\n" if told["action"] == "destroy" else f"apply {{name}} {{size}}\\n")
    if told["action"] == "destroy":
        thing.unlink(missing_ok=True)
    else:
        thing.write_text(size)
        say("outputs.json", {{"size": size}})
"""


class Programs(Ground):
    """A program that writes down what it does, and does not look whether it has done it before."""

    driver = "exec"

    def __post_init__(self) -> None:
        self.world = self.scratch / "world"
        self.settings["PROGRAMS_ROOT"] = str(self.scratch / "programs")

    async def __aenter__(self) -> Self:
        self.world.mkdir()
        program = self.scratch / "programs" / "make"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=sys.executable, world=str(self.world)), encoding="utf-8")
        program.chmod(0o755)
        return self

    def with_(self, step: str) -> dict[str, Any]:
        return {"program": "make", "input": {"size": "${inputs.size}"}}

    def effects(self) -> Effects:
        return lines(self.world / "ledger")

    def standing(self, name: str) -> dict[str, str]:
        places = {step: self.world / f"{name}-{step}" for step in STEPS}
        return {step: place.read_text() for step, place in places.items() if place.exists()}


class Answered(Programs):
    """The same, and a person is waited for in the midst of it."""

    def offerings(self) -> list[dict[str, Any]]:
        (one,) = super().offerings()
        steps = one["spec"]["actions"]["create"]["steps"]
        steps[1]["needs"] = ["ask"]
        steps.insert(1, {"name": "ask", "driver": "noop", "needs": ["first"], "with": {"suspend": "is it so?"}})
        return [one]


class Undone(Programs):
    """The same, and the last step fails, so that all of it has to be undone."""

    actions = ("create",)
    end = "RunFailed"

    def offerings(self) -> list[dict[str, Any]]:
        (one,) = super().offerings()
        one["spec"]["actions"]["create"]["onFailure"] = "compensate"
        return [one]

    def with_(self, step: str) -> dict[str, Any]:
        return {"program": "make", "input": {"size": "${inputs.size}", "fails": step == STEPS[-1]}}

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        """Nobody knows what a step has left that failed, so that one is taken down, too."""
        yield from (f"apply {name}/{step} small" for step in STEPS[:-1])
        yield from (f"destroy {name}/{step}" for step in STEPS)

    def stands(self, action: str) -> dict[str, str]:
        return {}


class Needing(Programs):
    """The same, and another resource is needed, which is made, changed and deleted with it."""

    def offerings(self) -> list[dict[str, Any]]:
        (one,) = super().offerings()
        needed = {**one, "metadata": {**one["metadata"], "name": "base"}, "spec": dict(one["spec"])}
        inputs = {"size": "${inputs.size}"}
        one["spec"]["requires"] = [{"name": "base", "offering": "base", "inputs": inputs}]
        return [needed, one]

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        for one in (name, f"{name}-base"):
            yield from super().wanted(action, one, run_id)

    def standing(self, name: str) -> dict[str, str]:
        own, needed = super().standing(name), super().standing(f"{name}-base")
        return own if own == needed else {**own, **{f"base/{step}": size for step, size in needed.items()}}

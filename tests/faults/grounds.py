"""What drivers act upon, each with a ledger of its own: who asks it sees what has happened, whatever the platform says.

An effect is one line such as `apply thing-1/second large`, and what stands is told by name: by a repository's commits
and files, terraform's state and a file that its modules write to, an API's own books, a program's, a cluster's.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from services.provisioning.tests.http_api import Call, FakeApi, Said, fake_api
from services.provisioning.tests.kubernetes_api import Api
from services.provisioning.tests.kubernetes_places import config_map
from tests.faults.writers import bare, git

STEPS = ("first", "second", "third")
SIZES = {"create": "small", "update": "large"}
Effects = Counter[str]


@dataclass
class Ground:
    """One driver's part of the world; it is there while it is entered."""

    scratch: Path
    driver: ClassVar[str]
    actions: ClassVar[Sequence[str]] = ("create", "update", "delete")
    end: ClassVar[str] = "RunSucceeded"
    settings: dict[str, str] = field(default_factory=dict, init=False)
    """Of provisioning, without their prefix."""
    environment: dict[str, str] = field(default_factory=dict, init=False)
    documents: list[dict[str, Any]] = field(default_factory=list, init=False)
    """Manifests besides the offering."""
    _open: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    def __post_init__(self) -> None:
        """Say what provisioning has to be told of it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def with_(self, step: str) -> dict[str, Any]:
        """What the offering says for the step."""
        raise NotImplementedError

    def offerings(self) -> list[dict[str, Any]]:
        """One, whose steps each need the one before it."""
        before = (None, *STEPS)
        steps = [
            {"name": name, "driver": self.driver, "needs": [need] if need else [], "with": self.with_(name)}
            for name, need in zip(STEPS, before, strict=False)
        ]
        return [offering("thing", steps)]

    def effects(self) -> Effects:
        """Everything that has ever happened here, and how often."""
        raise NotImplementedError

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        """The effects of a run that has succeeded."""
        for step in STEPS:
            if action == "delete":
                yield f"destroy {name}/{step}"
            else:
                yield f"apply {name}/{step} {SIZES[action]}"

    def standing(self, name: str) -> dict[str, str]:
        """Which steps' things are there, and how large they are."""
        raise NotImplementedError

    def stands(self, action: str) -> dict[str, str]:
        """The same, as it has to be after the action."""
        return {} if action == "delete" else dict.fromkeys(STEPS, SIZES[action])

    def left(self) -> Iterator[str]:
        """Locks of this ground that are left when nobody works any more."""
        yield from ()


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


class Modules(Ground):
    """Modules of terraform whose provisioners write down what they do."""

    driver = "terraform"

    def __post_init__(self) -> None:
        self.ledger = self.scratch / "terraform.ledger"
        self.workspaces = self.scratch / "workspaces"
        self.settings["WORKSPACES_ROOT"] = str(self.workspaces)

    def with_(self, step: str) -> dict[str, Any]:
        module = f"""
variable "name" {{ type = string }}
variable "size" {{ type = string }}
resource "terraform_data" "thing" {{
  input            = "${{var.name}}/{step}"
  triggers_replace = var.size
  provisioner "local-exec" {{
    command = "echo apply ${{self.input}} ${{self.triggers_replace}} >> {self.ledger}"
  }}
  provisioner "local-exec" {{
    when    = destroy
    command = "echo destroy ${{self.input}} ${{self.triggers_replace}} >> {self.ledger}"
  }}
}}
"""
        return {"files": {"main.tf": module}, "variables": {"name": "${request.name}", "size": "${inputs.size}"}}

    def effects(self) -> Effects:
        return _lines(self.ledger)

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        for step in STEPS:
            if action != "create":
                yield f"destroy {name}/{step} {'small' if action == 'update' else 'large'}"
            if action != "delete":
                yield f"apply {name}/{step} {SIZES[action]}"

    def standing(self, name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for step in STEPS:
            for state in self.workspaces.glob(f"**/{name}/{step}/terraform.tfstate"):
                resources = json.loads(state.read_text(encoding="utf-8"))["resources"]
                instances = [one["attributes"] for kind in resources for one in kind["instances"]]
                sizes = [str(one["triggers_replace"]["value"]) for one in instances]
                found |= {step: "+".join(sizes)} if sizes else {}
        return found

    def left(self) -> Iterator[str]:
        yield from map(str, self.workspaces.rglob("*.lock.info"))


class Orders(Ground):
    """An API that takes every order it gets, and so repeats what is repeated; an order takes some looks to be done."""

    driver = "http"

    def __post_init__(self) -> None:
        self.settings["HTTP_ALLOW_LOOPBACK"] = "true"
        self.done: Effects = Counter()
        self.things: dict[int, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        self.api = await self._open.enter_async_context(fake_api())
        self.api.routes.append(self._answer)
        return self

    def with_(self, step: str) -> dict[str, Any]:
        thing = '"/orders/" + string(outputs.id)'
        poll = {"at": thing, "every": "50ms", "done": "response.body.looks > 1"}
        return {
            "url": self.api.url,
            "apply": {
                "path": "/orders",
                "body": {"name": f"${{request.name}}/{step}", "size": "${inputs.size}"},
                "reference": "/reference",
                "find": {
                    "path": "/orders",
                    "item": "response.body.filter(one, one.reference == reference)",
                    "within": "100ms",
                },
                "poll": poll,
            },
            "update": {"method": "PATCH", "at": thing, "body": {"size": "${inputs.size}"}, "poll": poll},
            "destroy": {"at": thing},
            "read": {"at": thing},
            "desired": {"size": "${inputs.size}"},
            "outputs": {"id": "response.body.id"},
        }

    def _answer(self, _: FakeApi, call: Call) -> Said | None:
        root, _, number = call.path.strip("/").partition("/")
        if root != "orders":
            return None
        if call.method == "POST":
            order = {**call.body, "id": len(self.things) + 1, "looks": 0, "gone": False}
            self.things[order["id"]] = order
            self.done[f"apply {order['name']} {order['size']}"] += 1
            return 201, order
        if not number:
            return 200, [one for one in self.things.values() if not one["gone"]]
        thing = self.things.get(int(number), {"gone": True})
        if call.method == "DELETE":
            self.done[f"destroy {thing.get('name', number)}"] += 1
        if thing["gone"]:
            return 404, {"message": "no such order"}
        if call.method == "GET":
            thing["looks"] += 1
        elif call.method == "PATCH":
            thing |= {**call.body, "looks": 0}
            self.done[f"apply {thing['name']} {thing['size']}"] += 1
        else:
            thing["gone"] = True
            return 204, None
        return 200, thing

    def effects(self) -> Effects:
        return Counter(self.done)

    def standing(self, name: str) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for one in self.things.values():
            owner, _, step = one["name"].partition("/")
            if owner == name and not one["gone"]:
                found.setdefault(step, []).append(one["size"])
        return {step: "+".join(sizes) for step, sizes in found.items()}


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
        return _lines(self.world / "ledger")

    def standing(self, name: str) -> dict[str, str]:
        places = {step: self.world / f"{name}-{step}" for step in STEPS}
        return {step: place.read_text() for step, place in places.items() if place.exists()}


class Cluster(Ground):
    """The stand-in for a cluster: what it was asked to write is the ledger."""

    driver = "kubernetes"

    def __post_init__(self) -> None:
        self.settings |= {"KUBERNETES_INSECURE": "true"}
        self.documents.append(destination({"cluster": {"kubeconfig": "env:STAND_IN"}}))

    async def __aenter__(self) -> Self:
        self.cluster = self._open.enter_context(Api())
        self.environment["STAND_IN"] = self.cluster.kubeconfig()
        return self

    def with_(self, step: str) -> dict[str, Any]:
        return {"destination": "here", "objects": [config_map(f"${{request.name}}.{step}", size="${inputs.size}")]}

    def effects(self) -> Effects:
        return Counter(
            f"destroy {_named(one.path)}"
            if one.method == "DELETE"
            else f"apply {_named(one.path)} {one.body['data']['size']}"
            for one in list(self.cluster.writes)
        )

    def standing(self, name: str) -> dict[str, str]:
        objects = {key[2]: one for key, one in list(self.cluster.objects.items()) if key[0] == "configmaps"}
        there = {step: objects.get(f"{name}.{step}") for step in STEPS}
        return {step: one["data"]["size"] for step, one in there.items() if one is not None}


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


GROUNDS: Mapping[str, type[Ground]] = {
    "gitops": Repository,
    "gitops-remote": Remote,
    "terraform": Modules,
    "http": Orders,
    "exec": Programs,
    "kubernetes": Cluster,
    "suspended": Answered,
    "compensated": Undone,
    "required": Needing,
}
"""Every driver that touches the world, and what else a run may go through."""


def offering(name: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spec = {"inputs": {"type": "object"}, "actions": {"create": {"steps": list(steps)}}}
    metadata = {"name": name, "version": "1.0.0"}
    return {"apiVersion": "entresol.dev/v1", "kind": "Offering", "metadata": metadata, "spec": spec}


def destination(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Destination",
        "metadata": {"name": "here"},
        "spec": dict(spec),
    }


def _named(path: str) -> str:
    return path.rpartition("/")[2].replace(".", "/")


def _lines(ledger: Path) -> Effects:
    return Counter(ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ())

"""How an offering reads: its contract and versions, what a request for it would get and why, and who runs what."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from entresol.telling import stages
from entresol.terminal import cell, clean, fields, moment, state, table

if TYPE_CHECKING:
    from entresol_manifests.implementations import Choice

Document = Mapping[str, Any]

_STILL_WORKS = {
    "deprecated": "what runs it goes on, and every action on it works",
    "defective": "what runs it goes on; deleting it, and updating it to another version, work",
}


def draw(found: Document) -> Iterator[RenderableType]:
    """One version in full, and below it how all of its versions stand."""
    metadata, spec = found["manifest"]["metadata"], found["manifest"]["spec"]
    yield fields(
        [
            ("offering", Text.assemble(clean(f"{found['name']}@{found['version']}  "), state(found.get("stage")))),
            ("title", metadata.get("title")),
            ("what", spec.get("description")),
            ("owner", metadata.get("owner")),
            ("environments", ", ".join(spec.get("environments") or [])),
            ("lifetime", _lifetime(spec.get("lifetime"))),
            ("actions", ", ".join(spec.get("actions") or [])),
            ("needs", "\n".join(map(_requirement, spec.get("requires") or []))),
            ("drift", _drift(spec.get("drift"))),
            ("implementations", "\n".join(map(_implementation, spec.get("implementations") or []))),
            ("outputs", ", ".join(spec.get("outputs") or [])),
        ]
    )
    taken = spec.get("inputs") or {}
    inputs = [_input(name, schema, taken) for name, schema in (taken.get("properties") or {}).items()]
    if inputs:
        yield ""
        yield table("input", "type", "default", "what", rows=inputs)
    if (graph := _graph(spec)).children:
        yield ""
        yield graph
    rows = [_version(one) for one in stages.versions(found)]
    if rows:
        yield ""
        yield table("version", "stage", "resources", "published", "", rows=rows)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request for something new would get in a context."""

    offering: Document
    asked: str | None
    """The version that is asked for by name."""
    project: str
    environment: str
    class_: str | None
    choice: "Choice"

    def refused(self) -> str | None:
        """Why it would get nothing; None if it would."""
        version, stage = self.offering["version"], self.offering.get("stage")
        spec = self.offering["manifest"]["spec"]
        if self.asked is None and stages.default_of(self.offering) is None:
            return "no version is the default, so one has to be named by --version"
        if stage == "defective":
            return f"{version} is defective: {stages.means(stage)}"
        offered = spec.get("environments")
        if offered and self.environment not in offered:
            return f"{version} is not offered in {self.environment}, only in {', '.join(offered)}"
        return None

    def why(self) -> str:
        """Why it is this version."""
        stage = self.offering.get("stage")
        if self.asked is None:
            return (
                "it is the default, and none is named"
                if stage == stages.DEFAULT
                else "the highest; there is no default"
            )
        named = "it is named"
        return named if stage in (None, stages.DEFAULT) else f"{named}, though it is {stage}"

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        candidates = [{"name": one.name, "matches": one.matches, "why": one.why} for one in self.choice.candidates]
        return {
            "offering": self.offering["name"],
            "version": self.offering["version"],
            "stage": self.offering.get("stage"),
            "why": self.why(),
            "implementation": self.choice.name,
            "implementation_why": self.choice.why,
            "candidates": candidates,
            "refused": self.refused(),
        }

    def draw(self) -> Iterator[RenderableType]:
        """The version, the implementation, and a line for each candidate."""
        kind = f", class {self.class_}" if self.class_ else ""
        context = f"{self.offering['name']} for project {self.project} in {self.environment}{kind}"
        yield Text(clean(context), style="bold")
        name, why = self.choice.name, self.choice.why
        yield fields(
            [
                ("version", Text(clean(f"{self.offering['version']}: {self.why()}"))),
                ("implementation", Text(clean(f"{name}: {why}" if name else why))),
            ]
        )
        rows = [("✓" if one.name == name else "·", one.name, one.why) for one in self.choice.candidates]
        if rows:
            yield ""
            yield table("", "implementation", "why", rows=rows)
        if refused := self.refused():
            yield Text(clean(f"✗ it would be refused: {refused}"), style="red")


def impact(
    name: str, version: str | None, offering: Document | None, runs: Sequence[Document]
) -> Iterator[RenderableType]:
    """Who runs what, by version, and what each stage means for those who do."""
    if not runs:
        yield Text(clean(f"no resource runs {name}{'@' + version if version else ''}"))
        return
    ordered = sorted(runs, key=lambda one: (stages.order(one), str(one["id"])))
    rows = [
        (one["version"], state(one.get("stage")), one["project"], one["environment"], one["owner"], one["name"])
        for one in ordered
    ]
    yield table("version", "stage", "project", "environment", "owner", "name", rows=rows)
    yield ""
    counts = Counter((str(one["version"]), one.get("stage")) for one in ordered)
    default = stages.default_of(offering)
    for (each, stage), count in counts.items():
        yield _meaning(name, each, stage, count, default)


def _meaning(name: str, version: str, stage: str | None, count: int, default: str | None) -> Text:
    runs = f"{count} resource{'' if count == 1 else 's'} run{'s' if count == 1 else ''} {name}@{version}"
    line = Text(clean(runs))
    if stage is not None:
        line.append_text(Text.assemble(", ", state(stage), f": {stages.means(stage)}"))
    if stage in stages.TO_LEAVE:
        line.append(f"\n  {_STILL_WORKS[str(stage)]}")
    if stage != stages.DEFAULT and default is not None and default != version:
        ask = f"entresol request {name} NAME -p PROJECT -e ENVIRONMENT --action update --version {default}"
        line.append(clean(f"\n  to bring one to the default: {ask}"), style="dim")
    return line


def _version(one: Document) -> tuple[object, ...]:
    told = [str(one["reason"])] if one.get("reason") else []
    told += [f"by {one['staged_by']}"] if one.get("staged_by") else []
    told += ["not offered any more"] if one.get("removed") else []
    published = moment(one.get("applied_at"))
    return (one["version"], state(one.get("stage")), cell(one.get("resources")), published, ", ".join(told))


def _input(name: str, schema: Any, inputs: Document) -> tuple[object, ...]:
    if not isinstance(schema, Mapping):
        return (name, "", "", "")
    kind = " or ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type")
    required = name in (inputs.get("required") or [])
    default = Text("required", style="yellow") if required else cell(schema.get("default"))
    return (name, cell(kind), default, schema.get("description") or schema.get("title"))


def _lifetime(lifetime: Document | None) -> str | None:
    if not lifetime:
        return None
    told = {"default": "unless something else is asked for", "max": "at most"}
    return ", ".join(f"{lifetime[name]} {text}" for name, text in told.items() if lifetime.get(name))


def _requirement(one: Document) -> str:
    version = f"@{one['version']}" if one.get("version") else ""
    shared = f", shared as {one['id']}" if one.get("id") else ""
    when = f", if {one['when']}" if one.get("when") else ""
    return f"{one['name']}: {one['offering']}{version}{shared}{when}"


def _drift(drift: Document | None) -> str | None:
    if not drift:
        return None
    often = f"looked for every {drift['every']}" if drift.get("every") else "looked for on hints only"
    return f"{often}; {drift.get('mode') or 'report'}"


def _graph(spec: Document) -> Tree:
    """The steps of each action, and of each implementation's."""
    tree = Tree(Text("steps", style="bold"), guide_style="dim")
    for way in ({}, *(spec.get("implementations") or [])):
        for action, how in ((way or spec).get("actions") or {}).items():
            if how.get("steps"):
                instead = f", implementation {way['name']}" if way else ""
                _grow(tree.add(Text(clean(f"{action}{instead}"))), how["steps"])
    return tree


def _grow(tree: Tree, steps: Sequence[Document]) -> None:
    """Each step below the one that it waits for last; the others that it waits for are named beside it."""
    placed: dict[str, Tree] = {}
    left = list(steps)
    while ready := [one for one in left if placed.keys() >= set(one.get("needs") or [])]:
        order = list(placed)
        for one in ready:
            *others, last = sorted(one.get("needs") or [], key=order.index) or [""]
            line = Text.assemble(clean(f"{one['name']}  "), (clean(one["driver"]), "dim"))
            line.append(clean(f"  and after {', '.join(others)}") if others else "")
            line.append(clean(f"  if {one['when']}") if one.get("when") else "", style="yellow")
            placed[str(one["name"])] = placed.get(last, tree).add(line)
        left = [one for one in left if one not in ready]


def _implementation(one: Document) -> str:
    match = " and ".join(f"{what} {' or '.join(wanted)}" for what, wanted in one["match"].items())
    return f"{one['name']}: for {match}"

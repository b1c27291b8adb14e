"""How one resource reads in full: what it is, what befell it, what it needs, and what was asked of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entresol.telling import drifts, revisions
from entresol.telling.lives import FOLLOWS, orphan
from entresol.telling.overview import action, took, why
from entresol.telling.stages import remark, stage_of
from entresol.terminal import clean, fields, moment, short, state, table

Document = Mapping[str, Any]

_MOST_NEEDS = 50
"""How many resources are read to draw the tree of what one needs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A resource, and what was read beside it."""

    item: Document
    requests: Sequence[Document]
    revisions: Sequence[Document]
    needs: Sequence[Document]
    offering: Document | None

    def document(self) -> dict[str, Any]:
        """All of it for JSON."""
        stage = stage_of(self.offering, self.item.get("offering_version"))
        more = {"requests": self.requests, "revisions": self.revisions, "needs": self.needs, "stage": stage}
        return {**self.item, **more}


def needs(item: Document, read: Callable[[str], Document | None]) -> list[Document]:
    """What a resource needs, and what that needs in turn; each resource once, however many need it."""
    known = {str(item["id"])}

    def grow(of: Document) -> Iterator[Document]:
        for name, wanted in (of.get("requires") or {}).items():
            one: dict[str, Any] = {"name": name, "resource": wanted, "needs": []}
            if wanted not in known and len(known) <= _MOST_NEEDS:
                known.add(wanted)
                found = read(wanted)
                one["state"] = found["state"] if found else None
                one["remarks"] = list(_remarks(found)) if found else []
                one["needs"] = list(grow(found)) if found else []
            yield one

    return list(grow(item))


def draw(seen: Seen) -> Iterator[RenderableType]:
    """The resource for people."""
    item = seen.item
    yield _head(item, seen.offering)
    if item.get("drift"):
        yield ""
        yield Text("drift", style="bold")
        yield drifts.differences(item["drift"])
    if seen.needs:
        yield ""
        yield Text("needs", style="bold")
        yield from _tree(seen.needs, 1)
    yield from revisions.listed(seen.revisions)
    if seen.requests:
        rows = [(short(r["id"]), action(r), state(r["state"]), r.get("actor"), took(r), why(r)) for r in seen.requests]
        yield ""
        yield table("request", "action", "state", "asked by", "took", "because", rows=rows)


def _head(item: Document, offering: Document | None) -> RenderableType:
    entity, gone = item.get("entity") or {}, item["state"] == "deleted"
    return fields(
        [
            ("resource", item["id"]),
            ("state", Text.assemble(state(item["state"]), *_beside(item))),
            ("paused", paused(item.get("paused"))),
            ("drifted", _drifted(item.get("drift"))),
            ("left behind", "\n".join(map(orphan, item.get("orphaned") or []))),
            ("offering", _offering(item, offering)),
            ("class", item.get("class")),
            ("implementation", item.get("implementation")),
            ("owner", item.get("owner")),
            ("expires at", None if gone else moment(item.get("expires_at"))),
            ("needed by", "\n".join(map(_needed_by, item.get("required_by") or []))),
            ("entity", f"{entity['blueprint']} {entity['identifier']}" if entity else None),
            ("inputs", item.get("inputs")),
            ("outputs", item.get("outputs")),
            ("created", moment(item.get("created_at"))),
            ("deleted" if gone else "changed", moment(item.get("updated_at"))),
        ]
    )


def paused(pause: Document | None) -> Text | None:
    """Who paused it, until when and why."""
    if not pause:
        return None
    return Text.assemble(clean(f"by {pause['by']} until "), moment(pause.get("until")), clean(f": {pause['reason']}"))


def _drifted(found: Document | None) -> Text | None:
    if not found:
        return None
    follows = FOLLOWS.get(str(found.get("mode")), "")
    line = Text.assemble("since ", moment(found.get("since")), clean(f"; {follows}"))
    again = drifts.again(found)
    return line if again is None else line.append("; ").append_text(again)


def _offering(item: Document, offering: Document | None) -> Text:
    version = item.get("offering_version")
    line = Text(clean(f"{item['offering']}@{version}"))
    told = remark(offering, version)
    if told is None:
        return line
    return line.append("  ").append_text(told)


def _needed_by(one: Any) -> str:
    return str(one.get("resource") or one.get("id")) if isinstance(one, Mapping) else str(one)


def _remarks(item: Document) -> Iterator[str]:
    """In a word each, what is unusual about a resource."""
    if item.get("paused"):
        yield "paused"
    if item.get("drift"):
        yield "drifted"
    if item.get("orphaned"):
        yield "left something behind"


def _beside(item: Document) -> Iterator[Text]:
    for word in _remarks(item):
        yield Text(f", {word}", style="yellow")


def _tree(found: Sequence[Document], depth: int) -> Iterator[Text]:
    for one in found:
        line = Text(clean(f"{'  ' * depth}{one['name']}  {one['resource']}  "))
        if "state" not in one:
            line.append("see above", style="dim")
        elif one["state"] is None:
            line.append("not to be seen from here", style="dim")
        else:
            line.append_text(state(one["state"]))
            line.append("".join(f", {word}" for word in one["remarks"]), style="yellow")
        yield line
        yield from _tree(one["needs"], depth + 1)

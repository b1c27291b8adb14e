"""How one resource reads in full: what it is, what befell it, what it needs, and what was asked of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from entresol.telling import drifts, revisions
from entresol.telling.lives import FOLLOWS, orphan
from entresol.telling.overview import action, took, why
from entresol.telling.stages import remark, stage_of
from entresol.terminal import clean, fields, moment, short, state, table

Document = Mapping[str, Any]

_MOST_READ = 50
"""How many resources are read to draw the tree of what one needs, or of what needs it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A resource, and what was read beside it."""

    item: Document
    requests: Sequence[Document]
    revisions: Sequence[Document]
    needs: Sequence[Document]
    needed_by: Sequence[Document]
    offering: Document | None

    def document(self) -> dict[str, Any]:
        """All of it for JSON."""
        stage = stage_of(self.offering, self.item.get("offering_version"))
        more = {"requests": self.requests, "revisions": self.revisions, "needs": self.needs, "stage": stage}
        return {**self.item, **more}


def needs(item: Document, read: Callable[[str], Document | None]) -> list[Document]:
    """What a resource needs, and what that needs in turn; each resource once, however many need it."""
    return _walk(item, read, lambda of: (of.get("requires") or {}).items())


def needed_by(item: Document, read: Callable[[str], Document | None]) -> list[Document]:
    """What needs a resource, and what needs that in turn."""
    return _walk(item, read, lambda of: [("", one) for one in of.get("required_by") or []])


def _walk(
    item: Document, read: Callable[[str], Document | None], links: Callable[[Document], Iterable[tuple[str, str]]]
) -> list[Document]:
    known = {str(item["id"])}

    def grow(of: Document) -> Iterator[Document]:
        for name, wanted in links(of):
            one: dict[str, Any] = {"name": name, "resource": wanted, "needs": []}
            if wanted not in known and len(known) <= _MOST_READ:
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
    for title, found in (("needs", seen.needs), ("needed by", seen.needed_by)):
        if found:
            yield ""
            yield _grow(Tree(Text(title, style="bold"), guide_style="dim"), found, {str(item["id"])})
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
            ("not seen", drifts.not_knowing(item)),
            ("left behind", "\n".join(map(orphan, item.get("orphaned") or []))),
            ("offering", _offering(item, offering)),
            ("class", item.get("class")),
            ("implementation", item.get("implementation")),
            ("owner", item.get("owner")),
            ("expires at", None if gone else moment(item.get("expires_at"))),
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


def _remarks(item: Document) -> Iterator[str]:
    """In a word each, what is unusual about a resource."""
    if item.get("paused"):
        yield "paused"
    if item.get("drift"):
        yield "drifted"
    if item.get("unobserved"):
        yield "not to be seen"
    if item.get("orphaned"):
        yield "left something behind"


def _beside(item: Document) -> Iterator[Text]:
    for word in _remarks(item):
        yield Text(f", {word}", style="yellow")


def _grow(tree: Tree, found: Sequence[Document], drawn: set[str]) -> Tree:
    for one in found:
        line = Text(clean("  ".join(filter(None, (one["name"], one["resource"])))))
        if "state" not in one:
            line.append("  see above" if one["resource"] in drawn else "", style="dim")
        elif one["state"] is None:
            line.append("  not to be seen from here", style="dim")
        else:
            line.append("  ").append_text(state(one["state"]))
            line.append("".join(f", {word}" for word in one["remarks"]), style="yellow")
        drawn.add(one["resource"])
        _grow(tree.add(line), one["needs"], drawn)
    return tree

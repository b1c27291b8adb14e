"""Why things are as they are: the tree of a chain of events, from their causation ids alone.

An event whose cause is not among those at hand (another project's, or older than the log) is a root of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.text import Text
from rich.tree import Tree

from entresol.telling.facts import Document, fact, publisher, says
from entresol.terminal import clean, span

WAIT_SHOWN_MS = 1000
"""A pause between a cause and its effect that is worth a remark."""

_DECISIONS = frozenset({"request.allowed", "request.denied"})
"""What is told with everything that was looked at; a question or a broken glass repeats some of it."""

_STYLES = {
    "succeeded": "green",
    "allowed": "green",
    "granted": "green",
    "provisioned": "green",
    "denied": "red",
    "failed": "red",
    "rejected": "red",
    "expired": "red",
    "quarantined": "red",
    "cancelled": "red",
    "broken": "red",
    "requested": "yellow",
    "reminded": "yellow",
    "escalated": "yellow",
    "held": "yellow",
    "overridden": "yellow",
    "counted": "green",
    "stalled": "yellow",
    "refused": "red",
    "suspended": "yellow",
    "drifted": "yellow",
    "converged": "green",
    "unobserved": "yellow",
    "observed": "green",
    "paused": "yellow",
    "unpaused": "green",
}


@dataclass(slots=True)
class Node:
    """One event and what it brought about."""

    event: Document
    offset_ms: float
    """Since the chain's first event."""
    waited_ms: float
    """Since its cause."""
    effects: list["Node"] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The node as `--output json` shows it."""
        data = self.event.get("data") or {}
        shown = {
            "id": self.event.get("id"),
            "type": self.event.get("type"),
            "publisher": publisher(self.event),
            "actor": self.event.get("actor"),
            "position": self.event.get("position"),
            "offset_ms": round(self.offset_ms, 3),
            "waited_ms": round(self.waited_ms, 3),
            "says": says(self.event),
            **{name: data.get(name) for name in ("verdicts", "quotas", "unconcerned", "holds", "bypassed")},
            "effects": [effect.document() for effect in self.effects],
        }
        return {name: value for name, value in shown.items() if value is not None}


def link(events: Iterable[Document]) -> list[Node]:
    """The roots of the chain, effects below their causes, each in the order given (that of the log)."""
    nodes: dict[str, Node] = {}
    roots: list[Node] = []
    begun: datetime | None = None
    for event in events:
        at = datetime.fromisoformat(str(event["time"]))
        begun = begun or at
        cause = nodes.get(str(event.get("causationid")))
        since = datetime.fromisoformat(str(cause.event["time"])) if cause else at
        node = Node(event, _milliseconds(begun, at), max(0.0, _milliseconds(since, at)))
        nodes[str(event["id"])] = node
        (cause.effects if cause else roots).append(node)
    return roots


def draw(title: Text, roots: Sequence[Node]) -> Tree:
    """The chain for people."""
    tree = Tree(title, guide_style="dim")
    for root in roots:
        _grow(tree, root)
    return tree


def _grow(above: Tree, node: Node) -> None:
    branch = above.add(_headline(node))
    data = node.event.get("data") or {}
    if fact(node.event) in _DECISIONS:
        for line in _reasons(data):
            branch.add(line)
    for effect in node.effects:
        _grow(branch, effect)


def _reasons(data: Mapping[str, Any]) -> Iterator[Text]:
    yield from map(verdict_line, data.get("verdicts") or [])
    yield from map(quota_line, data.get("quotas") or [])
    if data.get("unconcerned"):
        yield Text(clean(f"· not concerned: {', '.join(map(str, data['unconcerned']))}"), style="dim")


def _headline(node: Node) -> Text:
    name = fact(node.event)
    line = Text.assemble(
        (f"+{span(node.offset_ms)} ", "dim"),
        (clean(name), "bold " + _STYLES.get(name.rpartition(".")[2], "")),
        (f" ({clean(publisher(node.event))})", "dim"),
    )
    said = clean(says(node.event))
    if said:
        line.append(f"  {said}")
    if node.waited_ms >= WAIT_SHOWN_MS:
        line.append(f"  [{span(node.waited_ms)} after its cause]", style="yellow")
    return line


def verdict_line(verdict: Mapping[str, Any]) -> Text:
    """One rule's verdict: which policy, what it would do, whether it matched, and why."""
    effect = str(verdict.get("effect"))
    matched = bool(verdict.get("matched"))
    audit = " (audit only)" if verdict.get("mode") == "audit" else ""
    rule = verdict.get("rule", -1)
    where = f"{verdict.get('policy')}" + (f" rule {rule}" if isinstance(rule, int) and rule >= 0 else "")
    outcome = {"deny": "denies", "approve": "asks for approval", "error": "could not be evaluated"}.get(effect, effect)
    if not matched and effect != "error":
        return Text(clean(f"· {where}: does not apply{audit}"), style="dim")
    because = f": {verdict['because']}" if verdict.get("because") else ""
    missing = f" ({verdict['missing']} is not there)" if verdict.get("missing") else ""
    line = f"· {where}: {outcome}{audit}{because}{missing}"
    if verdict.get("waived_by"):
        return Text(clean(f"{line}, but waived by {verdict['waived_by']}"), style="dim")
    style = "red" if effect in ("deny", "error") and not audit else "yellow"
    return Text(clean(line), style=style)


def quota_line(use: Mapping[str, Any]) -> Text:
    """How much of a quota there was when it was decided."""
    share = f" of {use['per']}" if use.get("per") else ""
    figures = f"{use.get('used')} used, {use.get('asked')} asked, {use.get('limit')} allowed"
    line = f"· quota {use.get('quota')}{share}: {figures}"
    if use.get("waived_by"):
        return Text(clean(f"{line}, waived by {use['waived_by']}"), style="dim")
    return Text(clean(line), style="red" if use.get("exceeded") else "dim")


def _milliseconds(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds() * 1000

"""How a resource's drift reads: what differs, since when, and what follows from it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entresol.rows import Rows
from entresol.telling.lives import FOLLOWS
from entresol.terminal import clean, fields, moment, short, state, table

Document = Mapping[str, Any]

_PLACES = 3
_CHANGES = {"added": "yellow", "removed": "red", "changed": "yellow"}


def overview(resources: Iterable[Document], title: str | None = None) -> Rows:
    """A row for each drifted resource."""
    rows = [(one["id"], moment(one["drift"]["since"]), one["drift"]["mode"], brief(one)) for one in resources]
    return table("resource", "since", "mode", "differs", rows=rows, title=title)


def unobserved(resources: Iterable[Document], title: str | None = "Nobody can look at") -> Rows:
    """A row for each resource whose looks fail."""
    lost = [(one["id"], one["unobserved"]) for one in resources]
    rows = [(name, moment(one["since"]), _seen(one), one["reason"]) for name, one in lost]
    return table("resource", "since", "last looked at", "because", rows=rows, title=title)


def not_knowing(resource: Document) -> Text | None:
    """Since when and why nobody can look; None if somebody can."""
    lost = resource.get("unobserved")
    if not lost:
        return None
    since = Text.assemble("since ", moment(lost["since"]), ", last looked at ", _seen(lost))
    return since.append(clean(f"\n{lost['reason']}"), style="yellow")


def _seen(lost: Document) -> Text:
    return moment(lost["seen_at"]) if lost.get("seen_at") else Text("never")


def brief(resource: Document) -> str:
    """What differs, counted by where it is: a file, an address, an object; a line each."""
    found = resource["drift"]
    places = Counter(str(one["path"]).partition("#/")[0] for one in found.get("differences") or [])
    parts = [f"nothing is left of {', '.join(found['gone'])}"] if found.get("gone") else []
    parts += [
        f"{count} {'place' if count == 1 else 'places'} in {place}" for place, count in list(places.items())[:_PLACES]
    ]
    others = sum(list(places.values())[_PLACES:]) + int(found.get("more") or 0)
    parts += [f"{others} more"] if others else []
    return "\n".join(parts)


def unseen(resource: Document, offering: Document | None) -> Text:
    """Of a resource that has not drifted as far as is known: who looks, and how often; its offering may be unknown."""
    named = clean(resource["id"])
    if resource["state"] == "deleted":
        return Text(f"{named} is deleted")
    if resource.get("paused"):
        return Text(f"{named}: nobody looks while it is paused; entresol unpause {named}")
    if lost := not_knowing(resource):
        return Text.assemble(f"{named}: nobody can look ", lost)
    if offering is None:
        return Text(f"{named} is what it says, as far as anybody looked")
    watch = offering["manifest"]["spec"].get("drift")
    if watch is None:
        told = clean(f"{offering['name']}@{offering['version']} says nothing of drift, so nobody looks by itself")
        return Text(f"{named}: {told}\nsee what differs with: entresol reconcile {named} --dry-run --wait")
    often = [f"every {watch['every']}"] if watch.get("every") else []
    often += ["after events that hint at it"] if watch.get("hints") else []
    return Text(clean(f"{named} is what it says, as far as anybody looked: {' and '.join(often)}"))


def in_full(resource: Document, correction: Document | None) -> list[RenderableType]:
    """Everything that is known of a resource's drift; `correction` is the latest request to put it right."""
    found = resource["drift"]
    head = fields(
        [
            ("resource", resource["id"]),
            ("drifted since", moment(found.get("since"))),
            ("not seen", not_knowing(resource)),
            ("follows", follows(resource, correction)),
            ("again", again(found)),
        ]
    )
    return [head, "", differences(found)]


def follows(resource: Document, correction: Document | None) -> Text:
    """What its offering says to that, what came of it, and what a person can do."""
    mode = str(resource["drift"].get("mode"))
    line = Text(clean(FOLLOWS.get(mode, mode)))
    if correction is not None:
        line.append(clean(f"\nrequest {short(correction['id'])} by {correction['actor']}: "))
        line.append_text(state(correction["state"]))
    paused = resource.get("paused")
    if paused:
        return line.append(f"\nbut not while it is paused: entresol unpause {clean(resource['id'])}", style="yellow")
    if correction is None or mode == "report":
        line.append(f"\nput it right with: entresol reconcile {clean(resource['id'])}", style="dim")
    return line


def again(found: Document) -> Text | None:
    """When somebody is asked again to put it right, should nobody have done so."""
    if not found.get("again_at"):
        return None
    return Text.assemble("asked for again if it is still so, not before ", moment(found["again_at"]))


def differences(found: Document) -> Rows:
    """A row for each place that differs; what is gone as a whole comes first."""
    rows: list[tuple[object, ...]] = [
        (step, Text("gone", style="red"), "nothing is left of it") for step in found.get("gone") or []
    ]
    for one in found.get("differences") or []:
        rows.append((one["step"], Text(clean(one["change"]), style=_CHANGES.get(one["change"], "")), one["path"]))
    if found.get("more"):
        rows.append(("", "", f"and {found['more']} more"))
    return table("step", "change", "where", rows=rows)


def after_adoption(resource: Document) -> list[RenderableType]:
    """What differs of something that is owned from now on."""
    if not resource.get("drift"):
        return [Text("  nothing differs from what its inputs say")]
    hint = Text(f"  put it right with: entresol reconcile {clean(resource['id'])}", style="dim")
    return [Text("  it differs from what its inputs say:"), differences(resource["drift"]), hint]

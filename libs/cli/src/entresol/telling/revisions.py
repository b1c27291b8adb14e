"""Earlier states of a resource: which one a rollback goes back to, and what that changes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entresol.failures import Code, Failure
from entresol.terminal import cell, clean, moment, short, table

Document = Mapping[str, Any]

_LISTED = 10
_BEGIN = ("create", "adopt")
"""What begins a life."""


def choose(resource: str, known: Sequence[Document], to: int | None) -> tuple[Document, Document]:
    """The present revision and the one to go back to, by default the one before; raise Failure if there is none.

    A resource that was made anew after it was deleted goes back to its former life only if that is asked for.
    """
    ordered = sorted(known, key=lambda one: int(one["revision"]))
    if not ordered:
        raise Failure(f"{resource} has no revisions to go back to", Code.NOT_FOUND)
    now = ordered[-1]
    if to == now["revision"]:
        hint = f"To put right what drifted: entresol reconcile {resource}"
        raise Failure(f"{resource} is at revision {to} already", Code.INVALID, hints=(hint,))
    earlier = ordered[:-1]
    if to is None and (not earlier or now.get("action") in _BEGIN):
        hints = [f"--to {one['revision']} is from before it was deleted" for one in earlier[-1:]]
        text = f"{resource} has only had revision {now['revision']}; there is none before"
        raise Failure(text, Code.INVALID, hints=hints)
    if to is None:
        return now, earlier[-1]
    found = [one for one in earlier if one["revision"] == to]
    if not found:
        there = ", ".join(str(one["revision"]) for one in reversed(earlier)) or "none before the present one"
        raise Failure(f"{resource} has no revision {to}", Code.NOT_FOUND, hints=(f"there are {there}",))
    return now, found[0]


def changes(now: Document, then: Document) -> list[dict[str, Any]]:
    """What goes back: the version and each input that differs, with its `now` and its `then` where it has one."""
    found: list[dict[str, Any]] = []
    if now["version"] != then["version"]:
        found.append({"what": "version", "now": now["version"], "then": then["version"]})
    found += _inputs("inputs", now.get("inputs") or {}, then.get("inputs") or {})
    return found


def draw(now: Document, then: Document) -> Iterator[RenderableType]:
    """What a rollback changes, for people."""
    made = f"by request {short(then['request_id'])} " if then.get("request_id") else ""
    back = f"back from revision {now['revision']} to {then['revision']} (made {made}at "
    yield Text.assemble(clean(back), moment(then["at"]), ")")
    rows = [(f"  {one['what']}", _value(one, "now"), _value(one, "then")) for one in changes(now, then)]
    if rows:
        yield table("  what", "now", "then", rows=rows)
    else:
        yield Text("  its inputs and version are the same; its steps are done again", style="dim")


def listed(known: Sequence[Document]) -> list[RenderableType]:
    """The latest revisions in a table, newest first; nothing if there is only one."""
    ordered = sorted(known, key=lambda one: -int(one["revision"]))
    if len(ordered) < 2:
        return []
    rows = [
        (str(one["revision"]), moment(one.get("at")), one.get("action"), one.get("version"), _told(one, before))
        for one, before in zip(ordered, [*ordered[1:], None], strict=True)
    ][:_LISTED]
    return ["", table("revision", "at", "by", "version", "changed", rows=rows)]


def _told(one: Document, before: Document | None) -> Text:
    if before is None:
        return Text("")
    return cell(", ".join(str(each["what"]).removeprefix("inputs.") for each in changes(before, one)))


def _inputs(where: str, now: Document, then: Document) -> Iterator[dict[str, Any]]:
    for name in sorted(now.keys() | then.keys()):
        place, old, new = f"{where}.{name}", now.get(name), then.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _inputs(place, old, new)
        elif name not in now:
            yield {"what": place, "then": new}
        elif name not in then:
            yield {"what": place, "now": old}
        elif old != new:
            yield {"what": place, "now": old, "then": new}


def _value(change: Document, side: str) -> Text:
    return cell(change[side]) if side in change else Text("not there", style="dim")

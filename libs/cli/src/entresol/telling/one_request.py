"""How one request reads in full: what was asked, how it stands, what it waits for, who said what."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from entresol.telling import overview
from entresol.telling.lives import going_on, remains, waits_for
from entresol.telling.overview import took
from entresol.telling.plans import outline
from entresol.telling.progress import Progress
from entresol.terminal import clean, fields, moment, short, state, table

Document = Mapping[str, Any]


def draw(item: Document, progress: Progress, ahead: Document | None = None) -> Iterator[RenderableType]:
    """The request as the catalog has it, and the one `ahead` of it; what it needs of others is told by its chain."""
    yield _head(item, ahead)
    if item.get("suspended"):
        yield ""
        yield table("suspended", "until", "waits for", rows=[_wait(item, one) for one in item["suspended"]])
    if item.get("steps"):
        rows = [(s.get("name"), state(s.get("state")), s.get("attempt"), _message(s)) for s in item["steps"]]
        yield ""
        yield table("step", "state", "attempt", "message", rows=rows)
    if progress.needs:
        yield ""
        yield progress.family(Tree(Text("needs", style="bold"), guide_style="dim"))
    for noun, review in (("approval", False), ("review", True)):
        asked = [_asked(one) for one in item.get("approvals") or [] if bool(one.get("review")) is review]
        if asked:
            yield ""
            yield table(noun, "state", "who and what", rows=asked)
    if item.get("plan"):
        yield ""
        yield from outline(item["plan"])


def _head(item: Document, ahead: Document | None) -> RenderableType:
    return fields(
        [
            ("request", item["id"]),
            ("what", f"{item['action']} {item['resource']} ({item['offering']}@{item.get('offering_version')})"),
            ("class", item.get("class")),
            ("needed by", _needed_by(item.get("requirement"))),
            ("goes back to", _back_to(item.get("snapshot"))),
            ("orphans", "left in the world, if they can't be removed" if item.get("orphan") else None),
            ("state", Text.assemble(state(item["state"]), f"  {took(item)}")),
            ("steps done", "\n".join(remains(item))),
            ("waits for", item.get("waiting_for") if ahead is None else _turn(ahead)),
            ("held by", overview.held(item)),
            ("override", "\n".join(map(_override, item.get("overrides") or []))),
            ("glass", _glass(item.get("glass"))),
            ("stalled since", moment(item.get("stalled_since"))),
            ("because", "\n".join(map(str, item.get("because") or []))),
            ("asked by", item.get("actor")),
            ("asked at", moment(item.get("submitted_at"))),
            ("reason", item.get("reason")),
            ("break glass", item.get("break_glass") if not item.get("glass") else None),
            ("dry run", "yes" if item.get("dry_run") else None),
            ("inputs", item.get("inputs")),
            ("outputs", item.get("outputs")),
        ]
    )


def _turn(ahead: Document) -> str:
    what = f"{overview.action(ahead)}, request {short(ahead['id'])}, {ahead['state']}"
    return f"its turn: work on one resource is serial, and before it is {what}"


def _wait(item: Document, wait: Document) -> tuple[object, ...]:
    why = clean(waits_for({**wait, "until": None}))
    if told := going_on(item["id"], wait):
        why += f"\n{clean(told)}"
    elif wait.get("requires"):
        why += f"\nentresol status {clean(short(wait['requires']))}"
    return (wait["step"], moment(wait.get("until")), Text(why))


def _message(step: Document) -> str:
    """What it said, and how it was undone."""
    undone = step.get("compensation") or {}
    how = {"succeeded": "undone", "failed": "could not be undone"}.get(str(undone.get("state")), "")
    told = f"{how}: {undone['message']}" if how and undone.get("message") else how
    return "; ".join(one for one in (step.get("message"), told) if one)


def _needed_by(requirement: Document | None) -> str | None:
    if not requirement:
        return None
    return f"{requirement['resource_id']}, as its {requirement['name']} (request {short(requirement['request_id'])})"


def _back_to(snapshot: Document | None) -> str | None:
    return f"revision {snapshot['revision']}" if snapshot else None


def _asked(approval: Document) -> tuple[object, ...]:
    end = "due" if approval.get("review") else "until"
    who = f"{approval.get('policy')}: {_quorum(approval)}, {end} {moment(approval.get('expires_at'))}"
    return (short(approval.get("id")), state(approval.get("state")), "\n".join((who, *_history(approval))))


def _quorum(approval: Document) -> str:
    """How many of the grants that are needed are there, and whose: `1/2 from group:sre`, `0/3 from each of …`."""
    granted = sum(answer.get("answer") == "granted" for answer in approval.get("answers") or [])
    who = list(map(str, approval.get("approvers") or []))
    if approval.get("all"):
        return f"{granted}/{len(who)} from each of {', '.join(who)}"
    return f"{granted}/{approval.get('count') or 1} from {' or '.join(who)}"


def needs(approval: Document) -> str:
    """What is still missing, and from whom."""
    return f"it needs {approval['missing']} more from {' or '.join(approval['missing_from']) or 'nobody who is left'}"


def _history(approval: Document) -> Iterator[str]:
    """What people said to it and what time did to it, a line each."""
    for one in approval.get("answers") or []:
        place = f" in the place of {one['in_place_of']}" if one.get("in_place_of") else ""
        yield f"{one['answer']} by {one['by']}{place}{_because(one)}"
    for one in approval.get("withdrawn") or []:
        yield f"taken back by {one['by']}{_because(one)}"
    for one in approval.get("delegations") or []:
        yield f"{one['by']} hands on to {one['to']}{_because(one)}"
    for one in approval.get("refused") or []:
        yield f"did not count: {one['by']}{_because(one)}"
    for one in approval.get("unruled") or []:
        yield f"{one['said']} by {one['by']}{_because(one)}; policy has not said yet whether it counts"
    if approval.get("missing") and approval.get("answers"):
        yield needs(approval)
    if approval.get("reminded_at"):
        yield f"reminded at {moment(approval['reminded_at'])}"
    pending = approval.get("state") == "pending"
    if approval.get("escalated_at"):
        yield f"escalated at {moment(approval['escalated_at'])}"
    elif pending and approval.get("escalates_at"):
        to = ", ".join(approval.get("escalates_to") or [])
        yield f"escalates to {to} at {moment(approval['escalates_at'])}"
    if approval.get("closed_because"):
        yield f"closed: {approval['closed_because']}"


def _because(said: Document) -> str:
    return f": {said['reason']}" if said.get("reason") else ""


def _override(one: Document) -> str:
    outcome = "" if one.get("counts") else "; policy has not said yet whether it counts"
    outcome = f", which did not count: {one['refused']}" if one.get("refused") else outcome
    return f"{one['by']}{_because(one)}{outcome}"


def _glass(glass: Document | None) -> str | None:
    if not glass:
        return None
    return f"broken by {glass['by']}: {glass['reason']}\nwent past " + "; ".join(map(str, glass.get("bypassed") or []))

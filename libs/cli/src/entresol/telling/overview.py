"""What `entresol status` shows of the whole platform: what waits for whom, what runs, what ended lately."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from entresol.doors.lookup import EXISTING
from entresol.rows import Rows
from entresol.telling import drifts
from entresol.telling.facts import hold
from entresol.telling.lives import going_on, waits_for
from entresol.telling.plans import signs
from entresol.terminal import cell, clean, moment, short, span, state, table

if TYPE_CHECKING:
    from entresol.doors.client import Client

Document = Mapping[str, Any]

OPEN_STATES = ("submitted", "planning", "waiting-for-approval", "held", "allowed", "planned", "running")
ENDING = ("expiring", "expired")
_MOST = 200
_LATEST = 10


def gather(client: "Client", project: str | None) -> dict[str, list[Document]]:
    """The open requests by what they wait for, the reviews that nobody has signed off, and what ended lately."""
    going = list(client.every("/v1/requests", state=OPEN_STATES, project=project, most=_MOST))
    moving = [item for item in going if not item.get("stalled_since")]
    begun = [item for item in moving if item["state"] not in ("waiting-for-approval", "held")]
    latest: Iterator[Document] = client.every("/v1/requests", project=project, most=_LATEST + len(going))
    return {
        "running": [item for item in begun if not item.get("suspended")],
        "suspended": [item for item in begun if item.get("suspended")],
        "waiting_for_approval": [item for item in moving if item["state"] == "waiting-for-approval"],
        "held": [item for item in moving if item["state"] == "held"],
        "reviews": open_reviews(client, project),
        "stalled": [item for item in going if item.get("stalled_since")],
        "drifted": [r for r in _every(client, project, drifted="true") if r.get("drift")],
        "unobserved": [r for r in _every(client, project, unobserved="true") if r.get("unobserved")],
        "ending": [r for r in _every(client, project, state=ENDING) if r["state"] in ENDING],
        "paused": [r for r in _every(client, project, paused="true") if r.get("paused")],
        "latest": [item for item in latest if item["state"] not in OPEN_STATES][:_LATEST],
    }


def _every(client: "Client", project: str | None, **only: Any) -> Iterator[Document]:
    """The resources that exist of which that holds; others too, where the catalog knows no such filter."""
    return client.every("/v1/resources", **{"state": EXISTING, **only}, project=project, most=_MOST)


def open_reviews(client: "Client", project: str | None) -> list[Document]:
    """Broken glasses that nobody has signed off yet."""
    return list(client.every("/v1/approvals", state="pending", review="true", project=project))


def draw(found: Mapping[str, Sequence[Document]]) -> list[RenderableType]:
    """The tables that have something in them, with what waits for people first."""
    what = ("request", "action", "resource")
    parts: list[RenderableType] = []
    rows: list[tuple[object, ...]]
    if found["waiting_for_approval"]:
        rows = [(*_what(r), r.get("actor"), _awaited(r)) for r in found["waiting_for_approval"]]
        parts += [table(*what, "asked by", "waits for", rows=rows, title="Waiting for approval"), ""]
    if found["reviews"]:
        parts += [reviews(found["reviews"], title="Waiting for sign-off"), ""]
    if found["held"]:
        rows = [(*_what(r), r.get("actor"), held(r)) for r in found["held"]]
        parts += [table(*what, "asked by", "held by", rows=rows, title="Held"), ""]
    if found["stalled"]:
        rows = [(*_what(r), moment(r["stalled_since"]), r.get("waiting_for")) for r in found["stalled"]]
        parts += [table(*what, "since", "waits for", rows=rows, title="Stalled"), ""]
    if found["suspended"]:
        rows = [(*_what(r), _suspended(r)) for r in found["suspended"]]
        parts += [table(*what, "waits for", rows=rows, title="Suspended"), *_going_on(found["suspended"]), ""]
    if found["running"]:
        going = {r["resource"]: r for r in (*found["suspended"], *found["running"]) if r["state"] == "running"}
        rows = [(*_what(r), state(r["state"]), _steps(r, going.get(r["resource"]))) for r in found["running"]]
        parts += [table(*what, "state", "steps", rows=rows, title="Running"), ""]
    if found["drifted"]:
        parts += [drifts.overview(found["drifted"], title="Drifted"), ""]
    if found["unobserved"]:
        parts += [drifts.unobserved(found["unobserved"]), ""]
    if found["ending"]:
        rows = [(r["id"], state(r["state"]), moment(r.get("expires_at")), r.get("owner")) for r in found["ending"]]
        parts += [table("resource", "state", "ends", "owner", rows=rows, title="Ending")]
        parts += [Text("  let one live longer with: entresol extend RESOURCE --for 5d", style="dim"), ""]
    if found["paused"]:
        rows = [(one["id"], moment(one["paused"].get("until")), _pause(one["paused"])) for one in found["paused"]]
        parts += [table("resource", "until", "paused by", rows=rows, title="Paused"), ""]
    if found["latest"]:
        rows = [(*_what(r), state(r["state"]), took(r), why(r)) for r in found["latest"]]
        parts.append(table(*what, "state", "took", "because", rows=rows, title="Ended lately"))
    return parts or [Text("no requests yet; `entresol request --help` shows how to ask")]


def reviews(items: Sequence[Document], title: str | None = None) -> Rows:
    """Broken glasses and who is to sign them off."""
    rows = [
        (
            short(one["id"]),
            one.get("resource"),
            one.get("requested_by"),
            f"{', '.join(one.get('approvers') or [])}, due {moment(one.get('expires_at'))}\n{one.get('reason') or ''}",
        )
        for one in items
    ]
    return table("review", "resource", "broken by", "waits for", rows=rows, title=title)


def held(item: Document) -> str:
    """What does not let it begin, a line each."""
    return "\n".join(hold(one, moment) for one in item.get("holds") or [])


def took(item: Document) -> str:
    return span(item["duration_ms"]) if item.get("duration_ms") is not None else ""


def why(item: Document) -> str:
    return "; ".join(map(str, item.get("because") or []))


def _awaited(item: Document) -> str:
    """Who is to answer, and below it what they would agree to."""
    plan = signs(item.get("plan"))
    return str(item.get("waiting_for") or "approval") + (f"\nplan {plan}" if plan else "")


def _suspended(item: Document) -> str:
    """A line for each suspended step."""
    return "\n".join(f"{one['step']}: {waits_for(one, lambda time: moment(time).plain)}" for one in item["suspended"])


def _going_on(items: Sequence[Document]) -> list[RenderableType]:
    """How somebody may let them go on, in lines of their own to be copied whole."""
    told = [going_on(item["id"], one) for item in items for one in item["suspended"]]
    return [Text(f"  {clean(line)}", style="dim") for line in told if line]


def _pause(pause: Document) -> str:
    return f"{pause['by']}: {pause['reason']}"


def action(item: Document) -> str:
    """What was asked for, and whether only to see what it would do."""
    return f"{item['action']} (dry run)" if item.get("dry_run") else str(item["action"])


def _what(item: Document) -> tuple[object, ...]:
    return (short(item["id"]), action(item), item["resource"])


def _steps(item: Document, going: Document | None) -> Text:
    """How far it is; of what was not begun, the request on the same resource that is before it."""
    if going is not None and item["state"] == "allowed":
        return cell(f"waits for its turn, after {going['action']} {short(going['id'])}")
    return cell(", ".join(f"{step.get('name')} {step.get('state')}" for step in item.get("steps") or []))

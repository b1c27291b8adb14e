"""What was examined, asked and answered about one request, from the events of its chain; and what it waits for now.

Everything comes from the log as it is: what people say counts once policy says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from entresol.telling.facts import fact, says

Document = Mapping[str, Any]
Entry = dict[str, Any]

_FINDINGS = ("verdicts", "unconcerned", "quotas", "plan_digest", "policies")
_ENDS = {
    "request.denied": "denied",
    "request.cancelled": "cancelled",
    "approval.rejected": "rejected",
    "approval.expired": "expired",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}
_NOTES = ("approval.reminded", "approval.escalated", "run.started", *_ENDS.keys() - {"request.denied"})
"""Shown in one line."""


@dataclass(slots=True)
class Account:
    """One request's way through policy. `entries` are in the order of the log; `state` is how it stands now."""

    request_id: str
    request: Document = field(default_factory=dict)
    state: str = "unknown"
    entries: list[Entry] = field(default_factory=list)
    approvals: dict[str, Entry] = field(default_factory=dict)
    """What people were asked, by id: who, what they answered, and how it ended."""
    holds: list[Document] = field(default_factory=list)
    because: list[str] = field(default_factory=list)
    _said: dict[str, Entry] = field(default_factory=dict)
    """What people said, by the event's id."""

    @property
    def pending(self) -> list[Entry]:
        return [one for one in self.approvals.values() if one["state"] == "pending" and not one["review"]]

    @property
    def reviews(self) -> list[Entry]:
        """Broken glasses that nobody has signed off yet."""
        return [one for one in self.approvals.values() if one["state"] == "pending" and one["review"]]

    def document(self) -> dict[str, Any]:
        return {
            "request": self.request_id,
            "state": self.state,
            "because": self.because,
            "waits_for": waits_for(self),
            "holds": self.holds,
            "approvals": list(self.approvals.values()),
            "entries": self.entries,
        }


def account(request_id: str, chain: Iterable[Document]) -> Account:
    """The account of the request; other requests of its chain are left out."""
    made = Account(request_id)
    for event in chain:
        data = event.get("data")
        if isinstance(data, Mapping) and data.get("request_id") == request_id:
            _hear(made, fact(event), event, data)
    return made


def _hear(made: Account, name: str, event: Document, data: Document) -> None:
    match name:
        case "request.submitted":
            made.request, made.state = data, "submitted"
            _add(made, event, "submitted", says=says(event), reason=data.get("reason"))
        case "plan.requested":
            made.state = "planning"
            _add(made, event, "examination", outcome="plan first", because=[says(event)])
        case "run.planned":
            _add(made, event, "planned", says=says(event), digest=data["digest"], replaces=data.get("replaces"))
        case "approval.requested":
            _ask(made, event, data)
        case "request.held":
            made.state, made.holds = "held", list(data["holds"])
            _add(made, event, "examination", outcome="held", holds=made.holds)
        case "request.allowed" | "request.denied":
            _decide(made, name.rpartition(".")[2], event, data)
        case "glass.broken" if made.entries:
            made.entries[-1] |= {
                "outcome": "glass broken",
                "because": data["bypassed"],
                "holds": data.get("holds") or [],
            }
            made.entries[-1]["reason"] = data["reason"]
        case "approval.answered" | "answer.withdrawn" | "approval.delegated" | "hold.overridden":
            _say(made, name, event, data)
        case "answer.counted" | "override.counted" | "answer.refused" | "override.refused":
            _rule(made, name, event, data)
        case "approval.granted" | "approval.rejected" | "approval.expired" | "approval.closed":
            _close(made, name.rpartition(".")[2], event, data)
        case "approval.escalated":
            if asked := made.approvals.get(data["approval_id"]):
                asked["missing_from"] = list(dict.fromkeys([*asked["missing_from"], *data["approvers"]]))
    if name in _NOTES:
        _add(made, event, "note", fact=name, says=says(event))
    if name == "run.started":
        made.state = "running"
    if (end := _ENDS.get(name)) and not data.get("review"):
        made.state = end
        if name in ("run.failed", "run.cancelled"):
            made.because = [str(data["reason"])]
        for asked in made.pending:
            asked["state"] = "closed"


def _add(made: Account, event: Document, kind: str, **fields: Any) -> Entry:
    entry = {"at": event["time"], "kind": kind, **{key: one for key, one in fields.items() if one not in (None, [])}}
    made.entries.append(entry)
    return entry


def _ask(made: Account, event: Document, data: Document) -> None:
    """Questions that one examination opened belong to one entry."""
    asked = {
        "id": data["approval_id"],
        "policy": data["policy"],
        "approvers": data["approvers"],
        "count": data["count"],
        "all": bool(data.get("all")),
        "because": data.get("because"),
        "expires_at": data["expires_at"],
        "plan_digest": (data.get("plan") or {}).get("digest"),
        "review": bool(data.get("review")),
        "missing": len(data["approvers"]) if data.get("all") else data["count"],
        "missing_from": data["approvers"],
        "answers": [],
        "state": "pending",
    }
    made.approvals[asked["id"]] = asked
    last = made.entries[-1] if made.entries else {}
    if asked["review"] or (last.get("outcome") == "approval" and last.get("cause") == event.get("causationid")):
        last.setdefault("approvals", []).append(asked["id"])
        return
    made.state = "waiting"
    entry = _add(
        made, event, "examination", outcome="approval", approvals=[asked["id"]], cause=event.get("causationid")
    )
    entry |= {key: data[key] for key in _FINDINGS if data.get(key)}
    if asked["plan_digest"]:
        entry["plan_digest"] = asked["plan_digest"]


def _decide(made: Account, outcome: str, event: Document, data: Document) -> None:
    made.state, made.holds, made.because = outcome, [], list(data.get("because") or [])
    entry = _add(made, event, "examination", outcome=outcome, because=made.because, overridden=data.get("overridden"))
    entry |= {key: data[key] for key in _FINDINGS if data.get(key)}


def _say(made: Account, name: str, event: Document, data: Document) -> None:
    entry = _add(made, event, "said", fact=name, by=data["by"], says=says(event), approval=data.get("approval_id"))
    entry |= {key: data[key] for key in ("answer", "reason") if data.get(key)}
    entry["counts"] = None
    made._said[str(event["id"])] = entry


def _rule(made: Account, name: str, event: Document, data: Document) -> None:
    """Policy says whether what was said counts; the event names its cause."""
    counts = name.endswith(".counted")
    entry = made._said.get(str(event.get("causationid")))
    if entry is None:
        entry = _add(made, event, "said", fact="", by=data["by"], says="")
    entry["counts"] = counts
    if not counts:
        entry["refused"] = data["reason"]
    asked = made.approvals.get(str(data.get("approval_id")))
    if asked is None or name == "override.counted":
        return
    if counts:
        asked |= {"missing": data["missing"], "missing_from": data["missing_from"]}
    if entry["fact"] == "approval.answered" or data.get("said") in ("granted", "rejected"):
        asked["answers"].append(
            {key: entry[key] for key in ("by", "answer", "reason", "counts", "refused") if key in entry}
        )
    if data.get("said") == "withdrawn":
        for one in asked["answers"]:
            one["counts"] &= one["by"] != data["by"]


def _close(made: Account, state: str, event: Document, data: Document) -> None:
    asked = made.approvals.get(str(data.get("approval_id")))
    if asked is not None:
        asked["state"] = state
    if state in ("granted", "closed"):
        _add(made, event, "note", fact=f"approval.{state}", says=says(event))
    if state in ("rejected", "expired") and not data.get("review"):
        made.because = [says(event)]


def waits_for(made: Account) -> str:
    """What it waits for now, and who can move it; one sentence for each such thing."""
    text = _state(made)
    for one in made.reviews:
        text += f" Its broken glass waits for {_who(one)} to sign it off, due {_clock(one['expires_at'])}."
    return text


def _state(made: Account) -> str:
    because = "; ".join(made.because)
    match made.state:
        case "submitted":
            return "It waits to be examined by policy."
        case "planning":
            return "It waits for its plan: provisioning makes it, and nobody else has to do anything."
        case "waiting" if not made.pending:
            return "It waits to be examined again."
        case "waiting":
            return "It waits for " + ", and for ".join(map(_question, made.pending)) + "."
        case "held":
            return "It is held by " + ", and by ".join(map(_hold, made.holds)) + "."
        case "allowed" | "running":
            return "Nothing stands in its way: provisioning carries it out."
        case "denied":
            return "It was denied. Only a new request can change that."
        case "rejected" | "expired":
            ended = "has expired" if made.state == "expired" else "was rejected"
            return f"It {ended}: {because}. A new request asks again."
        case "failed":
            return f"It was allowed, but failed: {because}."
        case "cancelled":
            return "It was cancelled."
        case "succeeded":
            return "It is done."
        case _:
            return "Its beginning is not on the log any more."


def _question(asked: Entry) -> str:
    given = sum(one["counts"] for one in asked["answers"])
    wanted = given + asked["missing"]
    granted = f", {given} of {wanted} granted" if wanted > 1 else ""
    about = f"policy {asked['policy']}{granted}, until {_clock(asked['expires_at'])}"
    return f"{_who(asked)} ({about}): entresol approve {asked['id']}"


def _who(asked: Entry) -> str:
    missing, whom = asked["missing"], asked["missing_from"]
    if missing == len(whom) > 1:
        return f"each of {', '.join(whom)}"
    return f"{missing} of {', '.join(whom)}" if missing > 1 else " or ".join(whom)


def _hold(hold: Document) -> str:
    who = hold.get("override") or ()
    keys = f"; {', '.join(who)} may let it through" if who else ""
    until = f" until {_clock(hold['until'])}" if hold.get("until") else ""
    if hold["kind"] == "lock":
        end = until or " until somebody lifts it"
        placed = f" of {hold['by']}" if hold.get("by") else ""
        return f"lock {hold['name']}{placed}{end}: {hold['because']}{keys}"
    return f"window {hold['name']}{until}: {hold['because']}{keys}"


def _clock(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"

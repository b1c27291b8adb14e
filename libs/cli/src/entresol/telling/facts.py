"""What an event says, in one line. Used wherever events are shown: explain, events, and while waiting."""

from collections.abc import Callable, Mapping
from typing import Any

from entresol.telling.lives import because, resource, run
from entresol.telling.plans import brief, figures
from entresol.terminal import local, short, span

Document = Mapping[str, Any]

OUTCOMES = {
    "succeeded": "✓",
    "failed": "✗",
    "denied": "✗",
    "rejected": "✗",
    "expired": "✗",
    "cancelled": "✗",
}


def fact(event: Document) -> str:
    """`request.allowed` of `dev.entresol.request.allowed.v1`; the whole type if it is somebody else's."""
    kind = str(event.get("type", ""))
    if not kind.startswith("dev.entresol."):
        return kind
    name, _, major = kind.removeprefix("dev.entresol.").rpartition(".")
    return name if major == "v1" else f"{name}.{major}"


def publisher(event: Document) -> str:
    """The service that published it, or the outside sender's source."""
    return str(event.get("source", "")).removeprefix("/entresol/")


def says(event: Document) -> str:
    """What happened, from the event's data; empty where the type alone says it."""
    data = event.get("data")
    if not isinstance(data, Mapping):
        return ""
    try:
        return _says(fact(event), data)
    except (KeyError, TypeError, ValueError, IndexError):
        return ""  # an event newer than this client: its type still says most of it


def _says(name: str, data: Document) -> str:
    match name.split("."):
        case ["request", fact_name]:
            return _request(fact_name, data)
        case ["approval" | "answer", fact_name]:
            return _approval(fact_name, data)
        case ["plan" | "glass" | "hold" | "override" | "lock" | "waiver", _]:
            return _exception(name, data)
        case ["run" | "resume" | "compensation" | "requirement", _]:
            return run(name, data)
        case ["resource" | "offering" | "driver", _]:
            return resource(name, data)
        case ["message" | "redrive" | "discard" | "delivery" | "notification" | "token", _]:
            return _operation(name, data)
        case _:
            return _outside(name, data)


def _request(name: str, data: Document) -> str:
    match name:
        case "submitted":
            parts = [f"{data['action']} {data['resource_id']} ({data['offering']}@{data['offering_version']})"]
            parts += [f"by {data['actor']['id']}"]
            parts += [f"through trigger {data['trigger']}"] if data.get("trigger") else []
            parts += ["dry run"] if data.get("dry_run") else []
            parts += [f"of class {data['class']}"] if data.get("class") else []
            parts += _circumstances(data)
            return ", ".join(parts)
        case "allowed":
            granted = len(data.get("approvals") or [])
            parts = [_heard(data)]
            parts += [f"{granted} approval(s) granted"] if granted else []
            parts += [f"plan {brief(data['plan_digest'])}"] if data.get("plan_digest") else []
            parts += [f"in spite of {one['kind']} {one['name']}" for one in data.get("overridden") or []]
            parts += ["glass broken"] if data.get("glass_broken") else []
            return ", ".join(parts)
        case "held":
            return "; ".join(map(hold, data["holds"]))
        case "denied":
            return "; ".join(data["because"])
        case "cancelled":
            return f"asked by {data['by']}{because(data.get('reason'))}"
        case "completed":
            text = f"{OUTCOMES.get(data['outcome'], '·')} {data['outcome']} after {span(data['duration_ms'])}"
            waits = ", ".join(f"{span(spent)} for {what}" for what, spent in (data.get("waits") or {}).items() if spent)
            return text + (f", waited {waits}" if waits else "") + because("; ".join(data.get("because") or []))
        case "stalled":
            return f"{data['state']}: {data['expected']} was expected to answer since {data['since']}"
        case _:
            return ""


def _circumstances(data: Document) -> list[str]:
    """What makes a request another than somebody's plain wish."""
    need, back, question = (data.get(name) or {} for name in ("requirement", "snapshot", "question"))
    parts = [f"for {need['resource_id']} as its {need['name']}"] if need else []
    parts += [f"back to revision {back['revision']}"] if back else []
    parts += ["leaving behind what can't be removed"] if data.get("orphan") else []
    parts += [f"only if {' or '.join(question['from'])} agrees: {question['because']}"] if question else []
    parts += [f"may break the glass: {data['break_glass']}"] if data.get("break_glass") else []
    return parts


def _heard(data: Document) -> str:
    count = len(data["verdicts"])
    return "no policy applies" if not count else f"{count} rule{'s' if count != 1 else ''} heard"


def _approval(name: str, data: Document) -> str:
    match name:
        case "requested":
            who = " or ".join(data["approvers"])
            if data.get("review"):
                return f"to be reviewed by {who}, due {local(data['expires_at'])}{because(data.get('reason'))}"
            several = f"{data['count']} × " if data["count"] > 1 else ""
            who = f"each of {', '.join(data['approvers'])}" if data.get("all") else f"{several}{who}"
            plan = f"; plan: {figures(data['plan'])} ({brief(data['plan']['digest'])})" if data.get("plan") else ""
            return f"waits for {who} until {local(data['expires_at'])}{because(data.get('because'))}{plan}"
        case "reminded":
            end = "due" if data.get("review") else "until"
            return f"still waits for {' or '.join(data['approvers'])}, {end} {local(data['expires_at'])}"
        case "escalated":
            return f"now also {' or '.join(data['approvers'])} until {local(data['expires_at'])}"
        case "closed":
            return f"not asked any more{because(data['because'])}"
        case "delegated":
            return f"{data['by']} hands on to {data['to']}{because(data.get('reason'))}"
        case "withdrawn":
            return f"{data['by']} takes back the grant{because(data.get('reason'))}"
        case "answered":
            return f"{data['answer']} by {data['by']}{because(data.get('reason'))}"
        case "counted":
            place = f" in the place of {data['in_place_of']}" if data.get("in_place_of") else ""
            left = f", {data['missing']} more from {' or '.join(data['missing_from'])}" if data["missing"] else ""
            return f"{data['said']} by {data['by']}{place} counts{left}"
        case "granted" | "rejected" | "expired":
            answers = ", ".join(f"{a['answer']} by {a['by']}{because(a.get('reason'))}" for a in data["answers"])
            return ("review " if data.get("review") else "") + (answers or "nobody answered")
        case "refused":
            return f"answer of {data['by']} did not count: {data['reason']}"
        case _:
            return ""


def hold(one: Document, clock: Callable[[str], object] = local) -> str:
    """Why a request may not begin yet, and until when."""
    when = [f"by {one['by']}"] if one.get("by") else []
    when += [f"until {clock(one['until'])}"] if one.get("until") else []
    return f"{one['kind']} {short(one['name'])}: {one['because']}" + (f" ({', '.join(when)})" if when else "")


def scope(fields: Document) -> str:
    """What a lock or waiver is about: `project shop, environment prod`."""
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value) or "everything"


def _exception(name: str, data: Document) -> str:
    match name:
        case "plan.requested":
            policies = ", ".join(data.get("policies") or [])
            return f"{policies} look{'' if ',' in policies else 's'} at the plan" if policies else "planned first"
        case "glass.broken":
            return f"by {data['actor']}: {data['reason']}; went past {'; '.join(data['bypassed'])}"
        case "hold.overridden":
            return f"{data['by']} lets it begin{because(data['reason'])}"
        case "override.counted":
            return f"{data['by']} lets it through {'; '.join(map(hold, data['holds']))}"
        case "override.refused":
            return f"override of {data['by']} did not count: {data['reason']}"
        case "lock.placed":
            until = f" until {local(data['until'])}" if data.get("until") else ""
            exempt = f", but not for {', '.join(data['exempt'])}" if data.get("exempt") else ""
            return f"{data['by']} locks {scope(data['scope'])}{until}{exempt}: {data['reason']}"
        case "lock.lifted" | "lock.expired":
            return f"{data.get('by') or 'its time ended'}{because(data.get('reason') or data.get('because'))}"
        case "waiver.granted":
            rule = f" rule {data['rule']}" if data.get("rule") is not None else ""
            what = f"{data['waives']}{rule} for {scope(data['scope'])} until {local(data['until'])}"
            return f"{data['by']} waives {what} ({data['ticket']}): {data['reason']}"
        case "waiver.revoked" | "waiver.expired":
            what = f"{data['waives']}, " if data.get("waives") else ""
            return f"{what}{data.get('by') or 'its time ended'}{because(data.get('reason'))}"
        case _:
            return ""


def _operation(name: str, data: Document) -> str:
    match name:
        case "message.quarantined":
            return f"{data['service']} gave up after {data['attempts']} attempts: {data['reason']}"
        case "message.parked":
            return f"{data['service']} tries again after {data['attempts']} attempts: {data['reason']}"
        case "message.released":
            return f"{data['service']} could handle it at attempt {data['attempts']}"
        case "message.redriven" | "message.discarded" | "redrive.requested" | "discard.requested":
            return f"{data['service']} {data.get('message_id') or 'all'}{because(data.get('reason'))}"
        case "delivery.refused":
            return f"{data['source']}: {data['reason']}"
        case "notification.delivered" | "notification.failed":
            return f"{data['event_type']} by {data['channel']}{because(data.get('reason'))}"
        case "token.issued":
            return f"{data['token_id']} for {data['actor']}, {data['role']}"
        case _:
            return str(data.get("token_id", ""))


def _outside(name: str, data: Document) -> str:
    match name.split("."):
        case ["manifest", _]:
            return f"{data['kind']} {data['name']}{'@' + data['version'] if data.get('version') else ''}"
        case ["entity", _]:
            return f"{data['blueprint']} {data['identifier']}"
        case ["scorecard", _]:
            before = f", was {data['previous']}" if data.get("previous") else ""
            level = data.get("level") or "no level"
            return f"{data['scorecard']} of {data['blueprint']} {data['identifier']}: {level}{before}"
        case ["change", _]:
            where = data.get("branch") or data.get("tag") or data.get("ref") or ""
            by = f" by {data['by']}" if data.get("by") else ""
            return f"{data['repository']['full_name']} {where} {str(data.get('revision') or '')[:9]}{by}"
        case ["artifact", _]:
            return str(data["artifact"])
        case ["pipeline", _]:
            return f"{data['pipeline']} {data['outcome']}"
        case ["deployment", _]:
            return " ".join(str(data[key]) for key in ("service", "environment", "outcome") if data.get(key))
        case ["alert", _]:
            return f"{data['alert']}{because(data.get('summary'))}"
        case ["external", _]:
            return str(data["event"].get("type", ""))
        case _:
            return ""

"""What the facts of runs, resources and offerings' versions say, in one line each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from entresol.telling.plans import brief, figures
from entresol.terminal import local, short, span

Document = Mapping[str, Any]

DIFFERENCES_TOLD = 3
"""How many differences are named in one line; the others are counted."""

FOLLOWS = {
    "report": "nothing follows by itself",
    "correct": "it is put right by a request",
    "ask": "its owner is asked whether to put it right",
}
"""What an offering's drift mode means for what has drifted."""


def because(reason: object) -> str:
    return f": {reason}" if reason else ""


def run(name: str, data: Document) -> str:
    """A fact about a run, its steps, and what it needs of others."""
    match name:
        case "run.started":
            nothing = "nothing of it is there" if data.get("action") == "delete" else "no steps"
            return "steps " + " → ".join(data["steps"]) if data["steps"] else nothing
        case "run.progressed":
            again = f" (attempt {data['attempt']})" if data["attempt"] > 1 or data["state"] == "retrying" else ""
            return f"step {data['step']} {data['state']}{again}{because(data.get('message'))}"
        case "run.planned":
            instead = f", instead of {brief(data['replaces'])}" if data.get("replaces") else ""
            return f"{figures(data)} ({brief(data['digest'])}{instead})"
        case "run.suspended":
            return f"step {data['step']} waits: {waits_for(data)}"
        case "run.succeeded":
            return f"{data['action']}{' (dry run)' if data.get('dry_run') else ''} took {span(data['duration_ms'])}"
        case "run.failed":
            where = "step " + data["step"] if data.get("step") else "before any step"
            return f"{where}: {data['reason']}{aftermath(data)}"
        case "run.cancelled":
            return f"{data['reason']}{aftermath(data)}"
        case "resume.requested":
            what = f"step {data['step']}" if data.get("step") else "what is suspended"
            return f"{data['by']} lets {what} go on{because(data.get('reason'))}"
        case "compensation.succeeded":
            return f"step {data['step']} is undone{because(data.get('message'))}"
        case "compensation.failed":
            return f"step {data['step']} could not be undone: {data['reason']}"
        case "requirement.requested":
            request = short(data["for_request_id"])
            verb = "needs no" if data["action"] == "delete" else "needs"
            return f"{verb} {data['name']}: {data['action']} {data['wanted']['resource_id']} (request {request})"
        case "requirement.refused":
            return f"can't have {data['name']}: {data['reason']}"
        case _:
            return ""


def waits_for(wait: Document, clock: Callable[[str], object] = local) -> str:
    """What a suspended step waits for, and until when: `the job runs (until 10:00:00)`."""
    until = f" (until {clock(wait['until'])})" if wait.get("until") else ""
    request = f", request {short(wait['requires'])}" if wait.get("requires") else ""
    return f"{wait['reason']}{request}{until}"


def resuming(request_id: object, step: object) -> str:
    """The command that lets a suspended step go on."""
    return f"entresol resume {short(request_id)} --step {step}"


def going_on(request_id: object, wait: Document) -> str:
    """Who has let a suspended step go on, or how somebody may; empty if only time or another request can."""
    if wait.get("resumed_by"):
        return f"resumed by {wait['resumed_by']}, it goes on when it is looked at next"
    return resuming(request_id, wait["step"]) if wait.get("resumable") else ""


def remains(request: Document) -> Iterator[str]:
    """What became of the steps that a failed or cancelled request had done, a line each."""
    if undone := request.get("compensated"):
        yield f"undone: {', '.join(undone)}"
    if left := request.get("left"):
        yield f"left in the world: {', '.join(left)}"


def aftermath(data: Document) -> str:
    """What became of the steps that were done before a run failed or was cancelled."""
    undone = data.get("compensated") or []
    left = data.get("left") or [step for step in data.get("steps_done") or [] if step not in undone]
    text = f"; undone: {', '.join(undone)}" if undone else ""
    return text + (f"; left in the world: {', '.join(left)}" if left else "")


def resource(name: str, data: Document) -> str:
    """A fact about a resource, or about a version of an offering."""
    match name:
        case "resource.provisioned" | "resource.changed":
            end = data.get("expires_at")
            parts = ["adopted"] if data.get("adopted") else []
            parts += [f"lives until {local(end)}"] if end else []
            parts += [f"by implementation {data['implementation']}"] if data.get("implementation") else []
            parts += [f"needs {', '.join(map(str, data['requires'].values()))}"] if data.get("requires") else []
            return ", ".join([str(data["resource_id"]), *parts])
        case "resource.expiring":
            return f"{data['resource_id']} ends in {span(data['remaining_seconds'] * 1000)}"
        case "resource.extended":
            return f"{data['resource_id']} lives until {local(data['expires_at'])}"
        case "resource.deleted" if data.get("orphaned"):
            return f"{data['resource_id']}, but left in the world: {'; '.join(map(orphan, data['orphaned']))}"
        case "resource.drifted":
            return f"{data['resource_id']}: {'; '.join(drift(data))}; {FOLLOWS.get(data['mode'], data['mode'])}"
        case "resource.converged":
            return f"{data['resource_id']} is again what it says"
        case "resource.unobserved":
            return f"nobody can look at {data['resource_id']} since {local(data['since'])}: {data['reason']}"
        case "resource.observed":
            return f"{data['resource_id']} can be looked at again"
        case "resource.paused":
            return f"{data['by']} pauses {data['resource_id']} until {local(data['until'])}: {data['reason']}"
        case "resource.unpaused":
            return f"{data['resource_id']}: {data['by'] if data.get('request_id') else 'its end had come'}"
        case "offering.staged":
            instead = f" instead of {data['previous']}" if data.get("previous") else ""
            return f"{data['name']}@{data['version']} is {data['stage']}{instead}, by {data['by']}" + because(
                data.get("reason")
            )
        case "driver.announced":
            able = "" if data["available"] else "; it can't work there, a program is missing"
            return f"{data['driver']}{able}"
        case "driver.withdrawn":
            return f"{data['driver']} is not installed any more"
        case _:
            return str(data["resource_id"])


def drift(data: Document) -> Iterator[str]:
    """What has drifted, in a few words: first what is gone, then some of the differences, and how many more."""
    if gone := data.get("gone"):
        yield f"nothing is left of {', '.join(gone)}"
    differences: Sequence[Document] = data.get("differences") or []
    if told := [difference(one) for one in differences[:DIFFERENCES_TOLD]]:
        others = len(differences) - len(told) + int(data.get("more") or 0)
        yield "differs in " + ", ".join(told) + (f" and {others} more" if others else "")


def difference(one: Document) -> str:
    return f"{one['path']} ({one['change']})"


def orphan(one: Document) -> str:
    """`database (terraform): the cloud can't be reached`."""
    return f"{one['step']} ({one['driver']}): {one['reason']}"

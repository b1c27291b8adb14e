"""One readable line for each type of event.

Values come from outside: a line never holds a line break or another control character, so it can go into a mail
header, a terminal or a log as it is. Escaping for a particular receiver is the channel's business.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

LONGEST: Final = 2000
LONGEST_VALUE: Final = 300

TEMPLATES: Final[Mapping[str, str]] = {
    "alert.fired": "alert {alert} fires[ ({severity})][ on {service}][ in {environment}][: {summary}]",
    "alert.resolved": "alert {alert} is resolved[ on {service}][ in {environment}]",
    "answer.counted": "what {by} said to the approval of {resource_id} counts: {said}[ to {to}][ in place of"
    " {in_place_of}][; still missing: {missing}]",
    "answer.refused": "an answer of {by} did not count: {reason}",
    "answer.withdrawn": "{by} took back a grant of request {request_id}[: {reason}]",
    "approval.answered": "{by} answered an approval of request {request_id}: {answer}[, {reason}]",
    "approval.closed": "request {resource_id} does not wait for approval any more (policy {policy}): {because}",
    "approval.delegated": "{by} handed an approval of request {request_id} on to {to}[: {reason}]",
    "approval.escalated": "request {resource_id} still waits for approval, now by {approvers} too, until {expires_at}"
    " (policy {policy})",
    "approval.expired": "request {resource_id} expired: nobody approved it in time (policy {policy})",
    "approval.granted": "request {resource_id} was approved[ by {answers}] (policy {policy})",
    "approval.rejected": "request {resource_id} was rejected[ by {answers}] (policy {policy})",
    "approval.reminded": "request {resource_id} still waits for approval by {approvers} until {expires_at}"
    " (policy {policy})",
    "approval.requested": "request {resource_id}[ ({action})] by {requested_by} waits for approval by {approvers}"
    " until {expires_at}[: {because}][; it would add {plan.adds}, change {plan.changes} and destroy {plan.destroys}]",
    "artifact.published": "artifact {artifact} was published[ by {by}]",
    "change.merged": "change[ {number}] was merged into {branch} of {repository.full_name}[ by {by}][: {title}]",
    "change.proposed": "change {number} was proposed for {branch} of {repository.full_name}[ by {by}][: {title}]",
    "change.pushed": "{ref} of {repository.full_name} is now {revision}[, pushed by {by}]",
    "compensation.failed": "step {step} of the run of {resource_id} could not be undone: {reason}",
    "compensation.succeeded": "step {step} of the run of {resource_id} was undone[: {message}]",
    "delivery.refused": "a delivery of {source} by {door} was refused: {reason}",
    "deployment.reported": "deployment of {service}[ to {environment}] was reported[: {outcome}]",
    "driver.announced": "the driver {driver} says what its steps take and give[: {summary}]",
    "driver.withdrawn": "the driver {driver} is not installed any more",
    "entity.changed": "{blueprint} {identifier} changed (revision {revision})",
    "discard.requested": "{by} gives up dead letters of {service}: {reason}",
    "entity.declared": "{blueprint} {identifier} was declared",
    "entity.withdrawn": "{blueprint} {identifier} was withdrawn[: {reason}]",
    "entity.removed": "{blueprint} {identifier} is gone",
    "external.received": "an event of type {event.type} came from {event.source}",
    "glass.broken": "GLASS BROKEN by {actor} for {resource_id}[ ({action})]: {reason}; what stood in the way:"
    " {bypassed}; {reviewers} must review it by {review_by}",
    "hold.overridden": "{by} wants the held request {resource_id} to begin: {reason}",
    "lock.expired": "lock {lock_id} has come to its end[: {because}]",
    "lock.lifted": "{by} lifted lock {lock_id}[: {reason}]",
    "lock.placed": "{by} locked {scope}[ until {until}][ (but not for {exempt})]: {reason}",
    "manifest.applied": "{kind} {name}[ {version}] was applied",
    "manifest.removed": "{kind} {name}[ {version}] was removed",
    "message.discarded": "a dead letter of {service} was given up[ by {by}]: {reason}",
    "message.parked": "{service} has tried a message[ of type {event_type}] {attempts} times: {reason}",
    "message.quarantined": "{service} could not handle a message[ of type {event_type}]: {reason}",
    "message.redriven": "a dead letter of {service} was handled after all",
    "message.released": "{service} could handle a parked message at attempt {attempts}",
    "offering.staged": "version {version} of offering {name} is {stage} now[, in the place of {previous}], says {by}"
    "[: {reason}]",
    "override.refused": "{by} could not let request {request_id} begin: {reason}",
    "pipeline.finished": "pipeline {pipeline} finished: {outcome}[ on {branch}][ of {repository.full_name}]",
    "plan.requested": "request {resource_id} is planned before it is decided[, for policy {policies}]",
    "redrive.requested": "{by} has dead letters of {service} tried again[: {reason}]",
    "request.cancelled": "request {resource_id} is to be stopped, says {by}[: {reason}]",
    "request.submitted": "request {resource_id} ({action}) was submitted by {actor.id}[: {reason}]"
    "[; it is for {requirement.resource_id}][; it goes back to revision {snapshot.revision}]"
    "[; {question.from} must agree: {question.because}][; it may break the glass: {break_glass}]",
    "request.allowed": "request {resource_id} was allowed",
    "request.completed": "request {resource_id} ({action}) by {actor} {outcome}[: {because}]",
    "request.denied": "request {resource_id} was denied: {because}",
    "request.held": "request {resource_id} is held: {holds}",
    "request.stalled": "request {resource_id} has been {state} since {since}; {expected} was expected to answer",
    "requirement.refused": "{resource_id} does not get its {name}: {reason}",
    "requirement.requested": "{resource_id} needs {wanted.resource_id} ({action}) as its {name}",
    "resource.changed": "{resource_id} was changed[ by {action}]",
    "resource.converged": "{resource_id} of {owner} is again what it says",
    "resource.deleted": "{resource_id} was deleted[; left behind: {orphaned}]",
    "resource.drifted": "{resource_id} of {owner} has drifted ({mode})[: {differences}][; nothing is left of {gone}];"
    " all of it: entresol drift {resource_id}",
    "resource.expired": "{resource_id} of {owner} has expired and will be deleted",
    "resource.expiring": "{resource_id} of {owner} expires at {expires_at}; it can still be extended:"
    " entresol extend {resource_id} --for 2d",
    "resource.extended": "{resource_id} lives until {expires_at}",
    "resource.observed": "{resource_id} of {owner} can be looked at again, since {checked_at}",
    "resource.paused": "{by} paused {resource_id} until {until}: {reason}",
    "resource.provisioned": "{resource_id} was provisioned for {owner}[ until {expires_at}]",
    "resource.unobserved": "nobody can see whether {resource_id} of {owner} has drifted, since {since}: {reason}"
    "[; it was last looked at {seen_at}]",
    "resource.unpaused": "{by} ended the pause of {resource_id}",
    "resume.requested": "{by} lets the run of {resource_id} go on[ with step {step}][: {reason}]",
    "run.cancelled": "the run of {resource_id} ({action}) was cancelled: {reason}[; undone: {compensated}]"
    "[; still there: {steps_done}]",
    "run.failed": "the run of {resource_id} ({action}) failed[ in step {step}]: {reason}[; undone: {compensated}]"
    "[; still there: {left}]",
    "override.counted": "{by} let the held request {resource_id} through[: {reason}]",
    "run.planned": "the run of {resource_id} would add {adds}, change {changes} and destroy {destroys}"
    "[, and cost {cost} a month][; {replaces} does not hold any more]",
    "run.progressed": "step {step} of the run of {resource_id}: {state}[, {message}]",
    "run.started": "the run of {resource_id} ({action}) started",
    "run.succeeded": "the run of {resource_id} ({action}) succeeded",
    "run.suspended": "step {step} of the run of {resource_id} waits[ until {until}]: {reason}",
    "scorecard.changed": "scorecard {scorecard} of {blueprint} {identifier} changed[: it is {level} now]"
    "[, it was {previous}]",
    "waiver.expired": "the waiver of {waives} has come to its end[ ({ticket})]",
    "waiver.granted": "{by} waived {waives}[ (rule {rule})] for {scope} until {until} ({ticket}): {reason}",
    "waiver.revoked": "{by} ended waiver {waiver_id}[: {reason}]",
}
"""By fact. `[…]` is left out if a field in it is missing."""

REVIEWS: Final[Mapping[str, str]] = {
    "approval.granted": "the glass that was broken for {resource_id} was signed off[ by {answers}]",
    "approval.rejected": "the glass that was broken for {resource_id} was objected to[ by {answers}]",
    "approval.reminded": "the glass that was broken for {resource_id} still waits for review by {approvers},"
    " due {expires_at}",
    "approval.requested": "the glass that was broken for {resource_id}[ ({action})] by {requested_by} waits for review"
    " by {approvers}, due {expires_at}[: {reason}]",
}
"""What the same facts are about if they are about the review of a broken glass."""

VARIANTS: Final[Mapping[str, Mapping[str, str]]] = {
    "review": REVIEWS,
    "resumable": {
        "run.suspended": "the run of {resource_id}[, asked for by {envelope.actor},] waits in step {step}"
        "[ until {until} at most] for somebody to let it go on: {reason}; entresol resume {request_id}",
    },
    "adopted": {"resource.provisioned": "{resource_id} was adopted for {owner}[ until {expires_at}]"},
}
"""By field: what facts are about if it is true in them."""

_PIECES = re.compile(r"(\[[^\]]*\])")
_FIELD = re.compile(r"\{([a-z_.]+)\}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def sentence(event: Mapping[str, Any]) -> str:
    """What happened, in one line; `event` is the envelope as JSON."""
    fact = fact_of(event["type"])
    try:
        return one_line("".join(_written(piece, event) for piece in _PIECES.split(_template(fact, event["data"]))))
    except KeyError:
        return one_line(f"{fact}: {event['subject']}")


def _template(fact: str, data: Mapping[str, Any]) -> str:
    """Raise KeyError for a fact that has none."""
    for field, templates in VARIANTS.items():
        if fact in templates and data.get(field) is True:
            return templates[fact]
    return TEMPLATES[fact]


def fact_of(event_type: str) -> str:
    """`request.denied` of `dev.entresol.request.denied.v1`."""
    return event_type.removeprefix("dev.entresol.").rpartition(".v")[0] or event_type


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text without control characters and direction marks, cut to `longest` characters."""
    text = _UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _written(piece: str, event: Mapping[str, Any]) -> str:
    """A piece of a template with its fields; raise KeyError if one is missing in a piece that is not optional."""
    if not piece.startswith("["):
        return _FIELD.sub(lambda field: _value(field[1], event), piece)
    try:
        return _FIELD.sub(lambda field: _value(field[1], event), piece[1:-1])
    except KeyError:
        return ""


def _value(path: str, event: Mapping[str, Any]) -> str:
    """What a path in the payload, or behind `envelope.`, leads to; raise KeyError if nothing is there."""
    inside = path.removeprefix("envelope.")
    value: Any = event["data"] if inside == path else event
    for name in inside.split("."):
        if not isinstance(value, Mapping) or value.get(name) in (None, "", []):
            raise KeyError(path)
        value = value[name]
    return one_line(_text(value, event), LONGEST_VALUE)


def _text(value: Any, event: Mapping[str, Any]) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item, event) for item in value)
    if isinstance(value, Mapping):
        return _part(value, event)
    if isinstance(value, str) and _TIME.match(value):
        return _clock(value, event)
    return str(value)


def _clock(value: str, event: Mapping[str, Any]) -> str:
    """The time of day if it is on the day of the event, else with its date; always UTC."""
    at = datetime.fromisoformat(value).astimezone(UTC)
    same_day = at.date() == datetime.fromisoformat(event["time"]).astimezone(UTC).date()
    return f"{at:%H:%M} UTC" if same_day else f"{at:%Y-%m-%d %H:%M} UTC"


def _part(value: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Who gave an answer, why something is held, what differs or was left behind, or what a scope holds."""
    if "answer" in value:
        return str(value.get("by", "…"))
    if "change" in value:
        return f"{value.get('path', '…')} {value['change']}"
    if "driver" in value:
        return f"{value.get('step', '…')} ({value.get('reason', '…')})"
    if "because" in value:
        until = value.get("until")
        return f"{value['because']} (until {_text(until, event)})" if until else str(value["because"])
    return ", ".join(f"{name} {_text(one, event)}" for name, one in value.items()) or "everything"

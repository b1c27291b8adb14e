"""From what a case gives to the events that policy would have heard."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from entresol_contracts import Payload
from entresol_contracts.events import (
    Actor,
    ApprovalAnswered,
    EntityChanged,
    LockPlaced,
    ManifestApplied,
    RequestSubmitted,
    ResourceProvisioned,
    RunPlanned,
    ScorecardChanged,
    WaiverGranted,
)
from entresol_eventing.envelope import Event, types_by_model
from entresol_manifests.digest import digest

P = TypeVar("P", bound=Payload)
Given = Mapping[str, Any]

NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)
"""What time it is where a case does not say: a Wednesday. Always the same, so that a case always ends the same."""
SOMEBODY: Final = "user:somebody"
REQUEST_ID: Final = "00000000-0000-7000-8000-000000000001"


def heard(data: P, at: datetime, number: int = 0) -> Event[P]:
    """The payload as an event of that time."""
    known = types_by_model()[type(data)]
    key = getattr(data, "resource_id", None) or REQUEST_ID
    event: Event[P] = Event.model_construct(
        id=f"event-{number}",
        source=f"/entresol/{known.publisher}",
        type=known.type,
        subject=key,
        time=at,
        dataschema=known.dataschema,
        correlationid=REQUEST_ID,
        partitionkey=key,
        actor=SOMEBODY,
        data=data,
    )
    return event


def time_of(given: Given) -> datetime:
    return datetime.fromisoformat(given["now"]) if "now" in given else NOON


def applied(manifest: Mapping[str, Any]) -> ManifestApplied:
    name = manifest["metadata"]["name"]
    return ManifestApplied(kind=manifest["kind"], name=name, digest=digest(manifest), manifest=dict(manifest))


def world(given: Given, at: datetime) -> Iterator[Payload]:
    """What is there before the request: entities, resources, locks and waivers."""
    for one in given.get("catalog", ()):
        yield from _entity(one)
    for number, one in enumerate(given.get("resources", ())):
        place = (one["project"], one["environment"], one["offering"], one["name"])
        yield ResourceProvisioned(
            resource_id="/".join(place),
            project=one["project"],
            environment=one["environment"],
            offering=one["offering"],
            offering_version=one.get("version", "1.0.0"),
            name=one["name"],
            request_id=f"resource-{number}",
            owner=one.get("owner", SOMEBODY),
            inputs=one.get("inputs", {}),
            outputs={},
        )
    for number, one in enumerate(given.get("locks", ())):
        sane: dict[str, Any] = {"lock_id": f"lock-{number}", "by": SOMEBODY, "exempt": []}
        yield LockPlaced.model_validate(sane | one)
    for number, one in enumerate(given.get("waivers", ())):
        sane = {
            "waiver_id": f"waiver-{number}",
            "scope": {},
            "reason": "it was agreed",
            "ticket": "none",
            "until": at + timedelta(days=1),
            "by": SOMEBODY,
        }
        yield WaiverGranted.model_validate(sane | one)


def submitted(given: Given) -> RequestSubmitted:
    one, actor = given["request"], given.get("actor", {})
    return RequestSubmitted(
        request_id=REQUEST_ID,
        resource_id="/".join((one["project"], one["environment"], one["offering"], one["name"])),
        project=one["project"],
        offering=one["offering"],
        offering_version=one.get("version", "1.0.0"),
        action=one.get("action", "create"),
        environment=one["environment"],
        name=one["name"],
        inputs=one.get("inputs", {}),
        actor=Actor(id=actor.get("id", SOMEBODY), groups=actor.get("groups", [])),
        dry_run=one.get("dry_run", False),
        lifetime_seconds=one.get("lifetime_seconds"),
        reason=one.get("reason"),
        trigger=one.get("trigger"),
        break_glass=one.get("break_glass"),
        class_=one.get("class"),
        orphan=one.get("orphan", False),
        snapshot=one.get("snapshot"),
        requirement=one.get("requirement"),
        question=one.get("question"),
    )


def planned(given: Given, request: RequestSubmitted) -> RunPlanned | None:
    """The plan that provisioning would answer with; None if the case gives none."""
    plan = given.get("plan")
    if plan is None:
        return None
    counts = {"adds": 0, "changes": 0, "destroys": 0}
    return RunPlanned.model_validate(
        {
            **counts,
            **plan,
            "request_id": request.request_id,
            "resource_id": request.resource_id,
            "project": request.project,
            "run_id": "run",
            "digest": digest(plan),
            "resources": [{"step": "plan", **one} for one in plan.get("resources", ())] or None,
            "steps": [{**counts, **one} for one in plan.get("steps", ())],
        }
    )


def answered(given: Given, approval_id: str, request: RequestSubmitted) -> ApprovalAnswered:
    return ApprovalAnswered(
        approval_id=approval_id,
        request_id=request.request_id,
        project=request.project,
        answer=given["answer"],
        by=given["by"],
        groups=given.get("groups", []),
        reason=given.get("reason"),
    )


def _entity(one: Mapping[str, Any]) -> Iterator[Payload]:
    names = {"blueprint": one["blueprint"], "identifier": one["identifier"]}
    sane: dict[str, Any] = {**names, "properties": {}, "relations": {}}
    entity = sane | {key: value for key, value in one.items() if key != "scorecards"}
    yield EntityChanged(**names, revision=1, entity=entity, changed=[])
    for name, score in one.get("scorecards", {}).items():
        level = score.get("level")
        rules = score.get("rules") or [{"name": "given", "level": level or "none", "passed": level is not None}]
        yield ScorecardChanged.model_validate(
            {**names, "scorecard": name, "rank": score["rank"], "level": level, "rules": rules}
        )

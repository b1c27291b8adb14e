"""Generated from schemas/ by generate.py. Do not edit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from entresol_contracts.base import Payload
from pydantic import AwareDatetime, Field


class Verdict(Payload):
    """
    What one rule of one policy said about a request, and why.
    """

    policy: str
    """
    Name of the policy.
    """
    version: str
    """
    Digest of the policy as it was when it decided.
    """
    rule: Annotated[int, Field(ge=-1)]
    """
    Position of the rule in the policy, from 0; -1 for the policy's own `when`.
    """
    effect: Literal['deny', 'approve', 'error']
    """
    What the rule does when it matches; `error`: it could not be evaluated, which denies.
    """
    mode: Literal['enforce', 'audit']
    matched: bool
    """
    Whether the rule's condition held.
    """
    because: str | None = None
    """
    The rule's reason, or the error's text.
    """
    missing: str | None = None
    """
    For an error: the field that was not there, such as `request.inputs.size`.
    """
    waived_by: str | None = None
    """
    Waiver because of which this verdict stands in nobody's way.
    """


class Answer(Payload):
    by: str
    """
    Actor who answered.
    """
    answer: Literal['granted', 'rejected']
    reason: str | None = None
    at: AwareDatetime
    """
    When it was answered.
    """
    in_place_of: str | None = None
    """
    Who delegated it to the one who answered.
    """


class Repository(Payload):
    name: str
    """
    Last part of the name.
    """
    full_name: str
    """
    Name with its owner, as the forge writes it.
    """
    url: str | None = None
    """
    Where a person can look at it.
    """


class Actor(Payload):
    id: str
    """
    Such as user:ada or ci:github/shop/cart.
    """
    groups: list[str]
    """
    Groups the actor was in when it asked.
    """


class EntityDocument(Payload):
    """
    An entity as a resource contributes it to the catalog.
    """

    blueprint: str
    identifier: str
    title: str | None = None
    properties: dict[str, Any]
    relations: dict[str, Any]


class StepPlan(Payload):
    name: str
    driver: str
    adds: Annotated[int, Field(ge=0)]
    changes: Annotated[int, Field(ge=0)]
    destroys: Annotated[int, Field(ge=0)]
    summary: list[str] | None = None
    """
    One line for each thing that would change.
    """
    digest: str | None = None
    """
    SHA-256 over everything that the step would do; what it is held against when it is applied.
    """
    unknown: bool | None = None
    """
    Known only after other steps were applied, so there is nothing to hold it against.
    """


class Commit(Payload):
    id: str
    message: str
    author: str | None = None


class PlannedResource(Payload):
    """
    One thing in the world that a plan would touch.
    """

    step: str
    """
    Step that would do it.
    """
    address: str
    """
    What it is called by its driver, such as a file or a terraform address.
    """
    type: str | None = None
    """
    Its type where the driver knows one, such as `terraform_data`.
    """
    change: Literal['add', 'change', 'destroy', 'replace']


class PlanOutline(Payload):
    """
    What people are asked to approve, in figures; the whole is in run.planned of the same digest.
    """

    digest: str
    """
    Of the plan.
    """
    adds: Annotated[int, Field(ge=0)]
    """
    Things that would be new.
    """
    changes: Annotated[int, Field(ge=0)]
    """
    Things that would change.
    """
    destroys: Annotated[int, Field(ge=0)]
    """
    Things that would be gone.
    """
    cost: float | None = None
    """
    Cost per month after the change, if the offering tells.
    """
    unknown: list[str] | None = None
    """
    Steps that can't be planned before others were applied.
    """
    summary: list[str] | None = None
    """
    One line for each thing that would change; the first of them if there are many.
    """


class Hold(Payload):
    """
    Why a request that people agreed to may not begin yet.
    """

    kind: Literal['lock', 'window']
    name: str
    """
    The lock's id, or the window's name.
    """
    because: str
    """
    Why, in the words of who set it up.
    """
    by: str | None = None
    """
    Who placed the lock.
    """
    until: AwareDatetime | None = None
    """
    When it ends or opens by itself; absent if nobody knows.
    """
    override: list[str] | None = None
    """
    Who may let the request through, with a reason.
    """


class QuotaUse(Payload):
    """
    How much of a quota is used, with and without the request.
    """

    quota: str
    """
    Name of the quota.
    """
    per: str | None = None
    """
    Whose share it is, if each has one of its own.
    """
    used: float
    """
    Used already, by resources and by requests that were allowed.
    """
    asked: float
    """
    What the request adds.
    """
    limit: float
    """
    What there is.
    """
    exceeded: bool | None = None
    """
    Whether it would be too much.
    """
    waived_by: str | None = None
    """
    Waiver because of which it may be too much.
    """


class Scope(Payload):
    """
    What a lock or waiver is about: a request that fits every field that is there.
    """

    project: str | None = None
    environment: str | None = None
    offering: str | None = None
    resource: str | None = None
    """
    project/environment/offering/name.
    """
    action: str | None = None
    request: str | None = None
    """
    One request, by its id.
    """


class ScorecardRule(Payload):
    name: str
    """
    Name of the rule.
    """
    level: str
    """
    Level that needs it.
    """
    passed: bool
    because: str | None = None
    """
    Why it did not pass, or could not be evaluated.
    """


class Difference(Payload):
    """
    One place where the world is not what a step made of it. Values are never told: they may be secret.
    """

    step: str
    path: str
    """
    Where: a file, an address, an object, followed by #/ and the field if it is known.
    """
    change: Literal['added', 'removed', 'changed']


class Orphan(Payload):
    """
    Something that a deleted resource has left in the world.
    """

    step: str
    driver: str
    reason: str
    """
    Why it was not removed.
    """


class Requirement(Payload):
    """
    What a resource needs another one for.
    """

    request_id: str
    """
    The request that waits for it.
    """
    resource_id: str
    """
    The resource that needs it.
    """
    name: str
    """
    What it is called there, in `requires`.
    """


class Snapshot(Payload):
    """
    An earlier state of the resource, to which a rollback goes back.
    """

    revision: Annotated[int, Field(ge=1)]
    request_id: str | None = None
    """
    The request that had made it.
    """


class Question(Payload):
    """
    Somebody has to say yes before it may begin, whatever the policies say.
    """

    from_: Annotated[list[str], Field(alias='from', min_length=1)]
    """
    Who may answer: user:…, group:….
    """
    because: str


class AlertFired(Payload):
    """
    Monitoring says that something is wrong.
    """

    alert: str
    """
    Stable id of what fires.
    """
    severity: str | None = None
    summary: str | None = None
    service: str | None = None
    environment: str | None = None
    url: str | None = None


class AlertResolved(Payload):
    """
    Monitoring says that it is well again.
    """

    alert: str
    """
    Stable id of what fires.
    """
    severity: str | None = None
    summary: str | None = None
    service: str | None = None
    environment: str | None = None
    url: str | None = None


class AnswerCounted(Payload):
    """
    What somebody said to an approval counts; the event that it answers (causationid) is where it was said.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    """
    Policy that asked.
    """
    by: str
    """
    Actor who said it.
    """
    said: Literal['granted', 'rejected', 'withdrawn', 'delegated']
    """
    An answer, a grant that is taken back, or that somebody else may answer too.
    """
    at: AwareDatetime
    """
    When it was said.
    """
    reason: str | None = None
    to: str | None = None
    """
    Who may answer in the place of `by`, if it is delegated.
    """
    in_place_of: str | None = None
    """
    Who delegated it to `by`, if the answer counts in that person's place.
    """
    stands_for: list[str] | None = None
    """
    The approvers, as they were asked, for any one of whom it is said: `by` itself or groups it is in; after an escalation all of them.
    """
    missing: Annotated[int, Field(ge=0)]
    """
    Grants that are still needed; 0 once it is decided.
    """
    missing_from: list[str]
    """
    Whose grants would count now: user:… or group:…; empty once it is decided.
    """
    review: bool | None = None
    """
    It is the review of a broken glass; no request waits for it.
    """


class AnswerRefused(Payload):
    """
    An answer did not count.
    """

    approval_id: str
    request_id: str
    project: str
    by: str
    reason: str


class AnswerWithdrawn(Payload):
    """
    Somebody takes back a grant; policy decides whether that still counts.
    """

    approval_id: str
    request_id: str
    project: str
    by: str
    """
    Actor who said it.
    """
    groups: list[str]
    """
    Groups the actor was in when it said so.
    """
    reason: str | None = None


class ApprovalAnswered(Payload):
    """
    Somebody answered an approval; policy decides whether the answer counts.
    """

    approval_id: str
    request_id: str
    project: str
    answer: Literal['granted', 'rejected']
    by: str
    groups: list[str]
    reason: str | None = None


class ApprovalClosed(Payload):
    """
    The question is not open any more, though nobody decided it: the rules have changed, or there is a newer plan.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    """
    Policy that asked.
    """
    because: str


class ApprovalDelegated(Payload):
    """
    Somebody hands an approval on to another person; policy decides whether that counts.
    """

    approval_id: str
    request_id: str
    project: str
    by: str
    """
    Actor who said it.
    """
    groups: list[str]
    """
    Groups the actor was in when it said so.
    """
    to: str
    """
    Who may answer instead.
    """
    reason: str | None = None


class ApprovalEscalated(Payload):
    """
    Nobody answered in time, so others may answer too.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    """
    Policy that asked.
    """
    approvers: Annotated[list[str], Field(min_length=1)]
    """
    Who may answer from now on, besides those before.
    """
    expires_at: AwareDatetime
    """
    When it ends unanswered.
    """
    requested_by: str | None = None
    """
    Who asked for it.
    """


class ApprovalExpired(Payload):
    """
    Nobody answered in time; the request ends.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    answers: list[Answer]


class ApprovalGranted(Payload):
    """
    Enough people said yes.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    answers: list[Answer]
    review: bool | None = None
    """
    It was the review of a broken glass; no request waited for it.
    """
    plan_digest: str | None = None
    """
    Plan that was approved or not.
    """


class ApprovalRejected(Payload):
    """
    Somebody entitled said no; the request ends.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    answers: list[Answer]
    review: bool | None = None
    """
    It was the review of a broken glass; no request waited for it.
    """
    plan_digest: str | None = None
    """
    Plan that was approved or not.
    """


class ApprovalReminded(Payload):
    """
    Somebody is still expected to answer.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    """
    Policy that asked.
    """
    approvers: Annotated[list[str], Field(min_length=1)]
    """
    Who may answer now.
    """
    expires_at: AwareDatetime
    """
    When it ends unanswered; for a review, when it was due.
    """
    review: bool | None = None
    """
    It is a review of a broken glass, which no time ends.
    """
    requested_by: str | None = None
    """
    Who asked for it.
    """


class ApprovalRequested(Payload):
    """
    A request waits for people.
    """

    approval_id: str
    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policy: str
    approvers: Annotated[list[str], Field(min_length=1)]
    """
    Who may answer: user:… or group:….
    """
    count: Annotated[int, Field(ge=1)]
    """
    Grants that are needed.
    """
    not_self: bool
    """
    The requester's own answer does not count.
    """
    because: str | None = None
    requested_by: str
    expires_at: AwareDatetime
    """
    When it ends unanswered.
    """
    offering: str | None = None
    action: str | None = None
    environment: str | None = None
    verdicts: list[Verdict] | None = None
    plan: PlanOutline | None = None
    all: bool | None = None
    """
    Each of the approvers has to grant, not only `count` of those who may.
    """
    remind_at: AwareDatetime | None = None
    """
    When they are reminded.
    """
    escalates_at: AwareDatetime | None = None
    """
    When others may answer too.
    """
    escalates_to: list[str] | None = None
    """
    Those others.
    """
    review: bool | None = None
    """
    Nothing waits for it: a glass was broken, and somebody has to sign that off.
    """
    reason: str | None = None
    """
    Why it was asked for, in the requester's words.
    """


class ArtifactPublished(Payload):
    """
    Something deployable was published.
    """

    artifact: str
    """
    Package URL or another stable id.
    """
    name: str | None = None
    version: str | None = None
    repository: Repository | None = None
    revision: str | None = None
    url: str | None = None
    by: str | None = None


class ChangeMerged(Payload):
    """
    A proposed change became part of its branch.
    """

    repository: Repository
    branch: str
    """
    The branch that the change is for.
    """
    revision: str
    number: int | None = None
    title: str | None = None
    by: str | None = None
    url: str | None = None


class ChangeProposed(Payload):
    """
    A change was proposed for review, or a proposal was updated.
    """

    repository: Repository
    branch: str
    """
    The branch that the change is for.
    """
    revision: str | None = None
    number: int
    title: str | None = None
    by: str | None = None
    url: str | None = None


class ChangePushed(Payload):
    """
    Commits or a tag arrived in a repository.
    """

    repository: Repository
    ref: str
    branch: str | None = None
    tag: str | None = None
    revision: str
    before: str | None = None
    by: str | None = None
    created: bool | None = None
    deleted: bool | None = None
    commits: list[Commit] | None = None


class CompensationFailed(Payload):
    """
    A finished step of a run that failed could not be undone; what it left stays.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    step: str
    reason: str


class CompensationSucceeded(Payload):
    """
    A finished step of a run that failed or was cancelled is undone.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    step: str
    message: str | None = None


class DeliveryRefused(Payload):
    """
    Something knocked and was not let in; its body is not kept.
    """

    door: Literal['http', 'hook', 'nats']
    source: str
    reason: str
    digest: str | None = None
    """
    SHA-256 of the body.
    """
    size_bytes: Annotated[int | None, Field(ge=0)] = None


class DeploymentReported(Payload):
    """
    Somebody else's tool says that it deployed something.
    """

    service: str
    environment: str | None = None
    artifact: str | None = None
    outcome: Literal['success', 'failure', 'cancelled', 'skipped', 'unknown'] | None = (
        None
    )
    revision: str | None = None
    url: str | None = None
    repository: Repository | None = None


class DiscardRequested(Payload):
    """
    An operator asked that dead letters be given up.
    """

    service: str
    """
    Service that holds the dead letter.
    """
    message_id: str | None = None
    """
    A dead letter, or a message that is still being tried again. Absent: every dead letter of the service.
    """
    by: str
    reason: str
    event_type: str | None = None
    """
    Without message_id: only dead letters that lay on the log as events of this type.
    """


class DriverAnnounced(Payload):
    """
    A driver is there, and says what its steps take and give. It is said when that is new or has changed.
    """

    driver: str
    """
    As steps of offerings name it.
    """
    available: bool
    """
    Whether it can work where provisioning runs; if not, a program is missing there.
    """
    summary: str | None = None
    """
    What a step of it does, in a sentence.
    """
    settings: dict[str, Any] | None = None
    """
    JSON Schema of a step's `with`, once its placeholders are filled. Absent: it does not say.
    """
    outputs: dict[str, Any] | None = None
    """
    JSON Schema of what its steps give. Absent: it depends on the step.
    """
    installed: list[str] | None = None
    """
    Names of all drivers that are there: who has not heard of one yet does not take it for missing.
    """


class DriverWithdrawn(Payload):
    """
    A driver that was announced is not installed any more. Steps that name it fail.
    """

    driver: str
    """
    As steps of offerings name it.
    """


class EntityChanged(Payload):
    """
    An entity appeared or changed.
    """

    blueprint: str
    identifier: str
    revision: Annotated[int, Field(ge=1)]
    entity: dict[str, Any]
    """
    The whole entity.
    """
    changed: list[str]
    """
    JSON pointers of what differs; empty for a new entity.
    """


class EntityDeclared(Payload):
    """
    A catalog entity was declared by a person or an importer.
    """

    blueprint: str
    identifier: str
    title: str | None = None
    icon: str | None = None
    team: Any | None = None
    """
    One team or several.
    """
    properties: dict[str, Any]
    relations: dict[str, Any]
    """
    Relation to one identifier, several, or null.
    """


class EntityRemoved(Payload):
    """
    An entity is gone.
    """

    blueprint: str
    identifier: str
    revision: Annotated[int, Field(ge=1)]


class EntityWithdrawn(Payload):
    """
    A declared entity is no longer claimed by anyone.
    """

    blueprint: str
    identifier: str
    reason: str | None = None


class ExternalReceived(Payload):
    """
    A CloudEvent of a type that Entresol has no words for, kept whole.
    """

    event: dict[str, Any]
    """
    The CloudEvent as it arrived.
    """


class GlassBroken(Payload):
    """
    A request went past what stood in its way, with a reason, and is to be reviewed.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    actor: str
    """
    Who broke it.
    """
    reason: str
    """
    Why, in their words.
    """
    bypassed: Annotated[list[str], Field(min_length=1)]
    """
    What stood in the way, one line each.
    """
    review_id: str
    """
    Approval by which it is signed off.
    """
    reviewers: Annotated[list[str], Field(min_length=1)]
    """
    Who may sign it off.
    """
    review_by: AwareDatetime
    """
    When the review is due.
    """
    offering: str | None = None
    action: str | None = None
    environment: str | None = None
    policy: str | None = None
    """
    Policy that lets the glass be broken.
    """
    verdicts: list[Verdict] | None = None
    """
    Every rule's verdict.
    """
    holds: list[Hold] | None = None
    """
    Locks and windows it went past.
    """
    quotas: list[QuotaUse] | None = None
    """
    Quotas it went past.
    """


class HoldOverridden(Payload):
    """
    Somebody wants a held request to begin now; policy decides whether that counts.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    by: str
    """
    Actor who said it.
    """
    groups: list[str]
    """
    Groups the actor was in when it said so.
    """
    reason: str


class LockExpired(Payload):
    """
    A lock has come to its end.
    """

    lock_id: str
    because: str | None = None
    """
    What it was for.
    """


class LockLifted(Payload):
    """
    A lock is gone before its end.
    """

    lock_id: str
    by: str
    reason: str | None = None


class LockPlaced(Payload):
    """
    Nobody changes what the scope names until the lock ends or is lifted.
    """

    lock_id: str
    scope: Scope
    reason: str
    by: str
    """
    Its owner.
    """
    exempt: list[str]
    """
    Who is not held: actors, or group:….
    """
    until: AwareDatetime | None = None
    """
    When it ends by itself.
    """


class ManifestApplied(Payload):
    """
    A manifest was accepted, new or changed; it is whole and self-contained.
    """

    kind: str
    name: str
    version: str | None = None
    """
    Only for kinds that have versions.
    """
    digest: str
    """
    SHA-256 of the canonical manifest.
    """
    manifest: dict[str, Any]
    """
    The manifest as applied.
    """


class ManifestRemoved(Payload):
    """
    A manifest is no longer in force.
    """

    kind: str
    name: str
    version: str | None = None


class MessageDiscarded(Payload):
    """
    A dead letter was given up.
    """

    message_id: str
    service: str
    by: str | None = None
    reason: str


class MessageParked(Payload):
    """
    A message keeps failing and is tried again; later ones of its partition key wait behind it. Told from the second failed attempt on.
    """

    message_id: str
    service: str
    reason: str
    attempts: Annotated[int, Field(ge=0)]
    """
    Attempts that failed so far.
    """
    retry_at: AwareDatetime
    """
    When it is tried next.
    """
    behind: Annotated[int, Field(ge=0)]
    """
    Messages of its partition key that wait behind it.
    """
    log_subject: str
    """
    NATS subject it came by.
    """
    event_id: str | None = None
    event_type: str | None = None
    event_partitionkey: str | None = None
    size_bytes: Annotated[int, Field(ge=0)]
    digest: str


class MessageQuarantined(Payload):
    """
    A message could not be handled and waits for an operator; it is kept whole by its service.
    """

    message_id: str
    service: str
    reason: str
    attempts: Annotated[int, Field(ge=0)]
    log_subject: str
    """
    NATS subject it came by.
    """
    event_id: str | None = None
    event_type: str | None = None
    event_partitionkey: str | None = None
    body: str | None = None
    """
    First 64 KiB of the message, base64.
    """
    size_bytes: Annotated[int, Field(ge=0)]
    digest: str
    behind: Annotated[int | None, Field(ge=0)] = None
    """
    Messages of its partition key that wait behind it.
    """


class MessageRedriven(Payload):
    """
    A dead letter was handled after all.
    """

    message_id: str
    service: str
    by: str | None = None


class MessageReleased(Payload):
    """
    A message that was told of as parked was handled by itself.
    """

    message_id: str
    service: str
    attempts: Annotated[int, Field(ge=1)]
    """
    Attempts it took.
    """


class NotificationDelivered(Payload):
    """
    A receiver took a notification.
    """

    delivery_id: str
    """
    Stable over every attempt; receivers use it to drop copies.
    """
    channel: str
    route: str
    event_id: str
    event_type: str
    attempts: Annotated[int, Field(ge=1)]
    answer: str | None = None


class NotificationFailed(Payload):
    """
    A notification was given up.
    """

    delivery_id: str
    """
    Stable over every attempt; receivers use it to drop copies.
    """
    channel: str
    route: str
    event_id: str
    event_type: str
    attempts: Annotated[int, Field(ge=1)]
    reason: str


class OfferingStaged(Payload):
    """
    A version of an offering has reached another stage of its life.
    """

    name: str
    version: str
    stage: Literal['proposed', 'default', 'deprecated', 'defective']
    previous: str | None = None
    """
    The version that was the default before.
    """
    by: str
    reason: str | None = None


class OverrideCounted(Payload):
    """
    An override counts: what holds the request does not any more. The event that it answers (causationid) is where it was said.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    by: str
    """
    Actor who said it.
    """
    reason: str | None = None
    holds: list[Hold]
    """
    What it was let through.
    """


class OverrideRefused(Payload):
    """
    Somebody who may not, or too late, wanted to let a held request begin.
    """

    request_id: str
    project: str
    by: str
    reason: str
    """
    Why it does not count.
    """


class PipelineFinished(Payload):
    """
    A CI pipeline ended.
    """

    pipeline: str
    outcome: Literal['success', 'failure', 'cancelled', 'skipped', 'unknown']
    repository: Repository | None = None
    branch: str | None = None
    revision: str | None = None
    url: str | None = None
    by: str | None = None


class PlanRequested(Payload):
    """
    Rules look at the plan, so the request is planned before it is decided.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    policies: list[str] | None = None
    """
    Policies that want to see it.
    """


class RedriveRequested(Payload):
    """
    An operator asked that dead letters be tried again.
    """

    service: str
    """
    Service that holds the dead letter.
    """
    message_id: str | None = None
    """
    A dead letter, or a message that is still being tried again. Absent: every dead letter of the service.
    """
    by: str
    reason: str | None = None
    event_type: str | None = None
    """
    Without message_id: only dead letters that lay on the log as events of this type.
    """


class RequestAllowed(Payload):
    """
    Every rule was heard and none stands in the way.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    verdicts: list[Verdict]
    approvals: list[str] | None = None
    """
    Approvals that were granted for it.
    """
    plan_digest: str | None = None
    """
    Plan that was looked at; apply refuses any other.
    """
    unconcerned: list[str] | None = None
    """
    Policies in force whose `when` does not hold.
    """
    quotas: list[QuotaUse] | None = None
    """
    Quotas that count the request.
    """
    policies: Annotated[int | None, Field(ge=0)] = None
    """
    How many policies were in force.
    """
    overridden: list[Hold] | None = None
    """
    Locks and windows that somebody let it through.
    """
    glass_broken: bool | None = None
    """
    It went past what stood in its way; see glass.broken.
    """
    inputs_digest: str | None = None
    """
    SHA-256 of the inputs that were judged, if they depend on what the resource has; with others, it is planned and judged anew.
    """


class RequestCancelled(Payload):
    """
    An actor asked that a request be stopped; whoever holds it says whether it was.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    by: str
    reason: str | None = None


class RequestCompleted(Payload):
    """
    The one terminal fact of a request.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    offering: str
    action: str
    environment: str
    name: str
    actor: str
    outcome: Literal['succeeded', 'failed', 'denied', 'rejected', 'expired', 'cancelled']
    because: list[str] | None = None
    submitted_at: AwareDatetime
    """
    When it was asked.
    """
    duration_ms: Annotated[int, Field(ge=0)]
    waits: dict[str, int] | None = None
    """
    Milliseconds spent waiting, by what for.
    """


class RequestDenied(Payload):
    """
    At least one rule forbids the request, or could not be evaluated.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    because: Annotated[list[str], Field(min_length=1)]
    verdicts: list[Verdict]
    plan_digest: str | None = None
    """
    Plan that was looked at; apply refuses any other.
    """
    unconcerned: list[str] | None = None
    """
    Policies in force whose `when` does not hold.
    """
    quotas: list[QuotaUse] | None = None
    """
    Quotas that count the request.
    """
    policies: Annotated[int | None, Field(ge=0)] = None
    """
    How many policies were in force.
    """


class RequestHeld(Payload):
    """
    Nobody objects, but a lock or a window does not let the request begin yet.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    holds: Annotated[list[Hold], Field(min_length=1)]
    """
    What holds it.
    """


class RequestStalled(Payload):
    """
    Nobody has moved a request on for longer than expected.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    state: str
    expected: str
    """
    Service that was expected to answer.
    """
    since: AwareDatetime
    """
    Since when.
    """


class RequestSubmitted(Payload):
    """
    An actor asked for an action on a resource; inputs are valid and frozen.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    offering: str
    offering_version: str
    action: str
    environment: str
    name: str
    inputs: dict[str, Any]
    """
    Valid against the offering's schema for this action.
    """
    actor: Actor
    dry_run: bool = False
    """
    Plan only; nothing is changed.
    """
    lifetime_seconds: Annotated[int | None, Field(ge=1)] = None
    """
    Asked-for lifetime, within the offering's maximum; for `extend`, counted from now.
    """
    reason: str | None = None
    trigger: str | None = None
    """
    Trigger that asked, if one did.
    """
    break_glass: str | None = None
    """
    Why nothing may stand in its way; a policy says who may say so.
    """
    class_: Annotated[str | None, Field(alias='class')] = None
    """
    Kind of the thing within its offering, such as cheap or fast; it helps to choose the implementation.
    """
    requirement: Requirement | None = None
    question: Question | None = None
    snapshot: Snapshot | None = None
    orphan: bool = False
    """
    For delete: what can't be removed is left in the world and listed, instead of keeping the resource.
    """


class RequirementRefused(Payload):
    """
    What a run needs is not offered so: no request for it was made.
    """

    request_id: str
    """
    The request that waits for it.
    """
    resource_id: str
    """
    The resource that needs it.
    """
    project: str
    name: str
    """
    What it is called in `requires`.
    """
    for_request_id: str
    """
    The id that was not used.
    """
    reason: str


class Wanted(Payload):
    """
    The other resource.
    """

    resource_id: str
    project: str
    environment: str
    offering: str
    version: str | None = None
    """
    Absent: the default one.
    """
    class_: Annotated[str | None, Field(alias='class')] = None
    name: str
    inputs: dict[str, Any]


class RequirementRequested(Payload):
    """
    A run needs another resource to be made or changed before it can go on, or to be deleted because nobody needs it any more.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    name: str
    """
    What it is called in `requires`.
    """
    action: Literal['create', 'update', 'delete']
    wanted: Annotated[Wanted, Field(title='Wanted')]
    """
    The other resource.
    """
    for_request_id: str
    """
    Id that the request for it gets.
    """
    actor: Actor


class ResourceChanged(Payload):
    """
    A resource's inputs, outputs or version changed.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str
    owner: str
    """
    Actor who created it.
    """
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    entity: EntityDocument | None = None
    expires_at: AwareDatetime | None = None
    """
    Absent: lives until deleted.
    """
    action: str | None = None
    implementation: str | None = None
    """
    Which of the offering's implementations was chosen; absent: it has one only.
    """
    class_: Annotated[str | None, Field(alias='class')] = None
    requires: dict[str, str] | None = None
    """
    Resources that it needs, by what it calls them.
    """
    revision: Annotated[int | None, Field(ge=1)] = None
    """
    Rises with every change.
    """


class ResourceConverged(Payload):
    """
    A resource that had drifted is again what it says.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    """
    Actor who created it.
    """
    checked_at: AwareDatetime
    """
    When it was seen.
    """


class ResourceDeleted(Payload):
    """
    A resource does not exist any more.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str
    entity: EntityDocument | None = None
    orphaned: list[Orphan] | None = None
    """
    What it has left in the world.
    """


class ResourceDrifted(Payload):
    """
    The world is not what the resource says any more.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    """
    Actor who created it.
    """
    mode: Literal['report', 'correct', 'ask']
    """
    What follows, by its offering.
    """
    differences: list[Difference]
    """
    The first 200.
    """
    more: Annotated[int, Field(ge=0)] = 0
    """
    Differences that are not listed.
    """
    gone: list[str] | None = None
    """
    Steps of which nothing is there any more.
    """
    checked_at: AwareDatetime
    """
    When it was seen.
    """
    again_at: AwareDatetime | None = None
    """
    When it is asked for again at the earliest that it be put right, if it still is like that and nobody has it in hand; absent: nobody asks.
    """


class ResourceExpired(Payload):
    """
    A resource's lifetime is over; it will be deleted.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    expired_at: AwareDatetime
    """
    Its end.
    """


class ResourceExpiring(Payload):
    """
    A resource's end is near; it can still be extended.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    expires_at: AwareDatetime
    """
    Its end.
    """
    remaining_seconds: Annotated[int, Field(ge=0)]


class ResourceExtended(Payload):
    """
    A resource lives longer.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str
    expires_at: AwareDatetime
    """
    Its new end.
    """
    previous_expires_at: AwareDatetime | None = None
    """
    Its end before.
    """


class ResourceObserved(Payload):
    """
    A resource that nobody could look at was looked at again; whether it differs is told by resource.drifted and resource.converged, if that has changed.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    """
    Actor who created it.
    """
    since: AwareDatetime
    """
    Since when nobody could look.
    """
    checked_at: AwareDatetime
    """
    When it was looked at.
    """


class ResourcePaused(Payload):
    """
    Nothing is done to the resource until the end of the pause: no change, no correction, no expiry.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str
    by: str
    reason: str
    until: AwareDatetime
    """
    When it ends by itself.
    """


class ResourceProvisioned(Payload):
    """
    A resource exists now.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str
    owner: str
    """
    Actor who created it.
    """
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    entity: EntityDocument | None = None
    expires_at: AwareDatetime | None = None
    """
    Absent: lives until deleted.
    """
    implementation: str | None = None
    """
    Which of the offering's implementations was chosen; absent: it has one only.
    """
    class_: Annotated[str | None, Field(alias='class')] = None
    requires: dict[str, str] | None = None
    """
    Resources that it needs, by what it calls them.
    """
    revision: Annotated[int | None, Field(ge=1)] = None
    """
    Rises with every change.
    """
    adopted: bool = False
    """
    It was there before, and is owned from now on.
    """


class ResourceUnobserved(Payload):
    """
    Nobody can see any more whether the world is what the resource says: looks for drift fail. Said once, until one succeeds.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    """
    Actor who created it.
    """
    since: AwareDatetime
    """
    When the first of the looks began that have failed since.
    """
    reason: str
    """
    Why the last of them failed: the step, and what its driver said.
    """
    checked_at: AwareDatetime
    """
    When that was.
    """
    seen_at: AwareDatetime | None = None
    """
    When it was last looked at; what was told of its drift is as old. Absent: never since it was made.
    """


class ResourceUnpaused(Payload):
    """
    The pause of a resource is over.
    """

    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    request_id: str | None = None
    """
    Absent: its end had come.
    """
    by: str


class ResumeRequested(Payload):
    """
    Somebody lets a suspended step go on.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    step: str | None = None
    """
    Absent: whatever is suspended.
    """
    by: str
    reason: str | None = None
    answer: dict[str, Any] | None = None
    """
    What the step is told.
    """


class RunCancelled(Payload):
    """
    A run was stopped before its end, or never begun, because somebody asked.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    action: str
    reason: str
    steps_done: list[str] | None = None
    """
    Steps whose effects remain.
    """
    compensated: list[str] | None = None
    """
    Steps that were undone.
    """


class RunFailed(Payload):
    """
    A run could not be finished, or not begun.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    action: str
    reason: str
    step: str | None = None
    """
    Absent: it failed before any step.
    """
    duration_ms: Annotated[int | None, Field(ge=0)] = None
    left: list[str] | None = None
    """
    Steps that have left something in the world.
    """
    compensated: list[str] | None = None
    """
    Steps that were undone.
    """


class RunPlanned(Payload):
    """
    What a run would do, known without doing it.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    digest: str
    """
    SHA-256 over the plan's steps.
    """
    adds: Annotated[int, Field(ge=0)]
    changes: Annotated[int, Field(ge=0)]
    destroys: Annotated[int, Field(ge=0)]
    steps: list[StepPlan]
    cost: float | None = None
    """
    Cost per month after the change, if the offering tells.
    """
    unknown: list[str] | None = None
    """
    Steps that can't be planned before others were applied.
    """
    resources: list[PlannedResource] | None = None
    """
    What would be touched; the first 1,000.
    """
    replaces: str | None = None
    """
    Digest of the plan that was approved, or of the inputs that were judged, and does not hold any more.
    """
    inputs: dict[str, Any] | None = None
    """
    Inputs that the steps see, if they depend on what the resource has.
    """


class RunProgressed(Payload):
    """
    A step of a run ended, or will be tried again.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    step: str
    state: Literal['succeeded', 'skipped', 'retrying']
    attempt: Annotated[int, Field(ge=1)]
    message: str | None = None
    outputs: dict[str, Any] | None = None
    running: list[str]
    """
    Steps that run now.
    """


class RunStarted(Payload):
    """
    A run began; its steps are fixed.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    offering: str
    offering_version: str
    action: str
    steps: list[str]
    """
    Names, in dependency order.
    """
    running: list[str]
    """
    Steps that run now.
    """
    plan_digest: str | None = None
    """
    Plan that was approved, which the steps are held to; absent if nobody looked at one.
    """


class RunSucceeded(Payload):
    """
    Every step of the run ended well.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    action: str
    outputs: dict[str, Any]
    duration_ms: Annotated[int, Field(ge=0)]
    dry_run: bool = False


class RunSuspended(Payload):
    """
    A step of a run waits: for a person, for something it has started, or for another resource.
    """

    request_id: str
    """
    The request.
    """
    resource_id: str
    """
    project/environment/offering/name.
    """
    project: str
    """
    Project the resource belongs to.
    """
    run_id: str
    """
    The run.
    """
    step: str
    reason: str
    """
    What it waits for.
    """
    until: AwareDatetime | None = None
    """
    When it is given up.
    """
    resumable: bool = False
    """
    Whether a person may let it go on.
    """
    requires: str | None = None
    """
    The request for another resource that it waits for.
    """


class ScorecardChanged(Payload):
    """
    An entity reached another level of a scorecard, or another rule of it holds.
    """

    scorecard: str
    blueprint: str
    identifier: str
    rank: Annotated[int, Field(ge=0)]
    """
    Its place among the levels, from 1; 0 for none.
    """
    rules: list[ScorecardRule]
    """
    Every rule.
    """
    level: str | None = None
    """
    Highest level whose rules, and those of every lower level, pass; absent if there is none.
    """
    previous: str | None = None
    """
    Level before; absent if there was none.
    """


class TokenIssued(Payload):
    """
    A bearer token exists from now on; only its hash is told.
    """

    token_id: str
    hash: str
    """
    SHA-256 of the token, hex. Of 256 random bits, so it gives nothing away.
    """
    actor: str
    groups: list[str]
    role: Literal['admin', 'platform', 'developer', 'publisher', 'viewer']
    projects: list[str]
    """
    Projects it reaches; `*` is every one.
    """
    expires_at: AwareDatetime | None = None
    """
    Absent: until revoked.
    """


class TokenRevoked(Payload):
    """
    A bearer token is not accepted any more.
    """

    token_id: str
    by: str | None = None
    reason: str | None = None


class WaiverExpired(Payload):
    """
    A waiver has come to its end.
    """

    waiver_id: str
    waives: str
    """
    Kind/name of what it was about.
    """
    ticket: str | None = None


class WaiverGranted(Payload):
    """
    A policy, quota or window does not hold for what the scope names, for a while.
    """

    waiver_id: str
    waives: str
    """
    Kind/name, such as Policy/sensible-sizes.
    """
    scope: Scope
    reason: str
    ticket: str
    """
    Where it was agreed.
    """
    until: AwareDatetime
    """
    When it ends.
    """
    by: str
    rule: Annotated[int | None, Field(ge=0)] = None
    """
    Only this rule of the policy, counted from 0.
    """


class WaiverRevoked(Payload):
    """
    A waiver ends before its time.
    """

    waiver_id: str
    by: str
    reason: str | None = None

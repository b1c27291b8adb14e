"""Generated from schemas/ by generate.py. Do not edit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from entresol_contracts.base import Document
from pydantic import ConfigDict, Field, RootModel


class BlueprintMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class BlueprintSchema(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    properties: dict[str, dict[str, Any]]
    required: list[str] | None = None


class Relation(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    target: str
    required: bool | None = None
    many: bool | None = None
    title: str | None = None
    description: str | None = None
    type: str | None = None


class BlueprintSpec(Document):
    model_config = ConfigDict(
        extra='allow',
    )
    description: str | None = None
    icon: str | None = None
    schema_: Annotated[BlueprintSchema, Field(alias='schema', title='BlueprintSchema')]
    relations: dict[str, Relation] | None = None
    mirrorProperties: dict[str, Any] | None = None
    formulaProperties: dict[str, Any] | None = None
    calculationProperties: dict[str, Any] | None = None
    aggregationProperties: dict[str, Any] | None = None


class Blueprint(Document):
    """
    A type of catalog entity, in Port's shape.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Blueprint']
    metadata: Annotated[BlueprintMetadata, Field(title='BlueprintMetadata')]
    spec: Annotated[BlueprintSpec, Field(title='BlueprintSpec')]


class ChannelMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class LogChannel(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['log']


class AnswersAs(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    actor: str
    """
    The one person who reads this channel: links in it answer approvals as them.
    """
    groups: list[str] | None = None
    """
    Groups of theirs, without group:.
    """


class WebhookChannel(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['webhook']
    url: str
    secretRef: str | None = None
    """
    env:NAME or file:/PATH; resolved where it is used, never stored.
    """
    answersAs: Annotated[AnswersAs | None, Field(title='AnswersAs')] = None


class SlackChannel(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['slack']
    urlRef: str
    """
    env:NAME or file:/PATH; resolved where it is used, never stored.
    """
    answersAs: Annotated[AnswersAs | None, Field(title='AnswersAs')] = None


class EmailChannel(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['email']
    to: Annotated[list[str], Field(min_length=1)]
    from_: Annotated[str | None, Field(alias='from')] = None
    answersAs: Annotated[AnswersAs | None, Field(title='AnswersAs')] = None


class Channel(Document):
    """
    Where notifications go.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Channel']
    metadata: Annotated[ChannelMetadata, Field(title='ChannelMetadata')]
    spec: LogChannel | WebhookChannel | SlackChannel | EmailChannel


class DestinationMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class Cluster(Document):
    """
    A Kubernetes cluster.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    kubeconfig: str
    """
    Where the kubeconfig is, env:NAME or file:/PATH; resolved where it is used, never stored.
    """
    context: str | None = None
    """
    Absent: the kubeconfig's current one.
    """
    namespace: str | None = None
    """
    Of objects that name none; absent: default.
    """


class Api(Document):
    """
    An HTTP API.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    url: str
    """
    What the paths of requests are added to.
    """
    secretRef: str | None = None
    """
    env:NAME or file:/PATH; resolved where it is used, never stored.
    """
    scheme: Literal['bearer', 'basic', 'header'] = 'bearer'
    """
    How the secret is sent; basic: user:password.
    """
    header: str | None = None
    """
    Its header, for the scheme header.
    """


class DestinationSpec(Document):
    """
    Where steps write: exactly one of repository, cluster and api.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    repository: str | None = None
    """
    A URL, an absolute path where those are allowed, or a name beneath the service's repository root.
    """
    branch: str | None = None
    path: str | None = None
    create: bool | None = None
    """
    Make the repository if it is missing (names beneath the root only).
    """
    secretRef: str | None = None
    """
    env:NAME or file:/PATH; resolved where it is used, never stored.
    """
    cluster: Annotated[Cluster | None, Field(title='Cluster')] = None
    """
    A Kubernetes cluster.
    """
    api: Annotated[Api | None, Field(title='Api')] = None
    """
    An HTTP API.
    """


class Destination(Document):
    """
    A place that steps write to: a git repository and a path in it.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Destination']
    metadata: Annotated[DestinationMetadata, Field(title='DestinationMetadata')]
    spec: Annotated[DestinationSpec, Field(title='DestinationSpec')]
    """
    Where steps write: exactly one of repository, cluster and api.
    """


class EntityMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class EntitySpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    blueprint: str
    icon: str | None = None
    team: str | list[str] | None = None
    properties: dict[str, Any] | None = None
    relations: dict[str, str | list[str] | None] | None = None


class Entity(Document):
    """
    A thing of a blueprint's type.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Entity']
    metadata: Annotated[EntityMetadata, Field(title='EntityMetadata')]
    spec: Annotated[EntitySpec, Field(title='EntitySpec')]


class Compensation(Document):
    """
    How to undo it when a later step fails; absent: what it made is destroyed, what it changed is put back.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    driver: str | None = None
    with_: Annotated[dict[str, Any], Field(alias='with')]
    """
    What the driver needs; `${…}` is CEL.
    """


class Step(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    driver: str
    with_: Annotated[dict[str, Any] | None, Field(alias='with')] = None
    """
    What the driver needs; `${…}` is CEL.
    """
    needs: list[str] | None = None
    when: str | None = None
    """
    A CEL expression.
    """
    timeout: str | None = None
    """
    How long the step may take with all that it waits for, such as 10m.
    """
    retries: Annotated[int | None, Field(ge=0, le=20)] = None
    """
    Further attempts after the first.
    """
    backoff: str | None = None
    """
    Wait before the first retry, such as 2s; doubled each time.
    """
    outputs: dict[str, dict[str, Any] | bool] | None = None
    """
    What it gives: a JSON Schema for each output. Checked when the step has ended; what reads others is refused at once.
    """
    compensate: Annotated[Compensation | None, Field(title='Compensation')] = None
    """
    How to undo it when a later step fails; absent: what it made is destroyed, what it changed is put back.
    """


class OfferingMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None
    version: str


class Lifetime(Document):
    """
    Absent: lives until deleted.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    default: str | None = None
    """
    Such as 90s, 4h, 5d or 1d12h.
    """
    max: str | None = None
    """
    Such as 90s, 4h, 5d or 1d12h.
    """
    warn: list[str] | None = None
    """
    How long before the end to warn.
    """


class Action(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    title: str | None = None
    description: str | None = None
    inputs: dict[str, Any] | None = None
    """
    JSON Schema 2020-12; absent: the offering's own.
    """
    steps: list[Step] | None = None
    onFailure: Literal['keep', 'compensate'] = 'keep'
    """
    What becomes of finished steps when a later one fails or the request is cancelled.
    """


class EntityTemplate(Document):
    """
    What a resource contributes to the catalog.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    blueprint: str
    identifier: str | None = None
    title: str | None = None
    properties: dict[str, Any] | None = None
    relations: dict[str, Any] | None = None


class Requirement(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    offering: str
    version: str | None = None
    class_: Annotated[str | None, Field(alias='class')] = None
    """
    `${…}` is CEL.
    """
    id: str | None = None
    """
    Name of a resource that is shared by all that require it; absent: one of its own. `${…}` is CEL.
    """
    project: str | None = None
    """
    Of a shared one; absent: the same. `${…}` is CEL.
    """
    environment: str | None = None
    """
    Of a shared one; absent: the same. `${…}` is CEL.
    """
    when: str | None = None
    """
    A CEL expression.
    """
    inputs: dict[str, Any] | None = None
    """
    `${…}` is CEL.
    """


class Match(Document):
    """
    All of these must hold.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    environment: Annotated[list[str] | None, Field(min_length=1)] = None
    project: Annotated[list[str] | None, Field(min_length=1)] = None
    class_: Annotated[list[str] | None, Field(alias='class', min_length=1)] = None


class ImplementedAction(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    steps: list[Step]
    onFailure: Literal['keep', 'compensate'] | None = None
    """
    What becomes of finished steps when a later one fails or the request is cancelled; absent: as the offering says of the action.
    """


class Implementation(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    match: Annotated[Match, Field(title='Match')]
    """
    All of these must hold.
    """
    actions: dict[str, ImplementedAction]
    """
    In the place of the offering's own steps.
    """


class Hint(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    on: str
    """
    Event type.
    """
    when: str | None = None
    """
    A CEL expression.
    """


class Drift(Document):
    """
    How to find out that somebody changed things by other ways; absent: nobody looks.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    every: str | None = None
    """
    How often to look, such as 10m; absent: only on hints.
    """
    mode: Literal['report', 'correct', 'ask'] = 'report'
    """
    What follows when something differs: nothing more, a request to put it right, or the same after the owner has agreed.
    """
    tolerate: list[str] | None = None
    """
    Paths that may differ; * stands for anything in one part, ** for any parts.
    """
    hints: list[Hint] | None = None
    """
    Events after which to look at once.
    """


class OfferingSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    environments: Annotated[list[str] | None, Field(min_length=1)] = None
    """
    Environments it may be asked for in; absent: any.
    """
    inputs: dict[str, Any] | None = None
    """
    JSON Schema 2020-12 of the inputs.
    """
    lifetime: Annotated[Lifetime | None, Field(title='Lifetime')] = None
    """
    Absent: lives until deleted.
    """
    actions: dict[str, Action]
    outputs: dict[str, Any] | None = None
    """
    Name to `${…}`.
    """
    entity: Annotated[EntityTemplate | None, Field(title='EntityTemplate')] = None
    """
    What a resource contributes to the catalog.
    """
    cost: str | None = None
    """
    What a resource costs per month, a number: CEL over inputs and environment. Policies see it as plan.cost.
    """
    requires: list[Requirement] | None = None
    """
    Resources of other offerings that have to be there before the first step; their outputs are `requires.<name>.outputs`.
    """
    implementations: list[Implementation] | None = None
    """
    Other ways to do the same, chosen by context when a resource is created; the most specific that matches wins.
    """
    drift: Annotated[Drift | None, Field(title='Drift')] = None
    """
    How to find out that somebody changed things by other ways; absent: nobody looks.
    """


class Offering(Document):
    """
    A versioned X-as-a-service contract.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Offering']
    metadata: Annotated[OfferingMetadata, Field(title='OfferingMetadata')]
    spec: Annotated[OfferingSpec, Field(title='OfferingSpec')]


class PolicyMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class DenyRule(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    deny: str
    """
    A CEL expression.
    """
    because: str


class Escalation(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    after: str
    """
    How long after asking.
    """
    to: Annotated[list[str], Field(min_length=1)]
    """
    Who may answer then, too.
    """


class Approve(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    from_: Annotated[list[str], Field(alias='from', min_length=1)]
    """
    user:…, group:…, or owner:BLUEPRINT/IDENTIFIER for the team that the catalog names; `${…}` is CEL.
    """
    count: Annotated[int | None, Field(ge=1)] = None
    """
    How many different people have to grant; absent: 1.
    """
    within: str | None = None
    """
    Such as 90s, 4h, 5d or 1d12h.
    """
    notSelf: bool | None = None
    all: bool | None = None
    """
    Each of `from` has to grant, each by another person.
    """
    remind: str | None = None
    """
    Remind whoever has not answered after so long, and again after as long.
    """
    escalate: Annotated[Escalation | None, Field(title='Escalation')] = None


class ApproveRule(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    approve: Annotated[Approve, Field(title='Approve')]
    when: str | None = None
    """
    A CEL expression.
    """
    because: str | None = None


class Review(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    from_: Annotated[list[str], Field(alias='from', min_length=1)]
    """
    Who signs it off afterwards; never the one who did it.
    """
    within: str | None = None
    """
    When that is due; absent: 3d. They are reminded until it is done.
    """


class BreakGlass(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    by: Annotated[list[str], Field(min_length=1)]
    """
    Who may go past everything, with a reason.
    """
    review: Annotated[Review, Field(title='Review')]


class BreakGlassRule(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    breakGlass: Annotated[BreakGlass, Field(title='BreakGlass')]
    when: str | None = None
    """
    A CEL expression.
    """
    because: str | None = None


class PolicySpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    when: str | None = None
    """
    Which requests it is about: a CEL expression, which may not name the plan.
    """
    mode: Literal['enforce', 'audit'] | None = None
    """
    audit: record, never block.
    """
    rules: Annotated[list[DenyRule | ApproveRule | BreakGlassRule], Field(min_length=1)]
    plan: bool | None = None
    """
    Plan first even if no rule names the plan, so that people approve what will be applied.
    """


class Policy(Document):
    """
    Rules that every request is held against.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Policy']
    metadata: Annotated[PolicyMetadata, Field(title='PolicyMetadata')]
    spec: Annotated[PolicySpec, Field(title='PolicySpec')]


class QuotaMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class QuotaSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    when: str | None = None
    """
    Which resources count: CEL over `resource`; absent: all.
    """
    per: str | None = None
    """
    Each value of this has a share of its own, such as `resource.project`; absent: one for all.
    """
    sum: str | None = None
    """
    What a resource counts, a number, such as `resource.inputs.storage_gb`; absent: 1.
    """
    limit: Annotated[float, Field(ge=0.0)]
    because: str | None = None


class Quota(Document):
    """
    How much of something there may be.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Quota']
    metadata: Annotated[QuotaMetadata, Field(title='QuotaMetadata')]
    spec: Annotated[QuotaSpec, Field(title='QuotaSpec')]


class RouteMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class RouteSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    on: Annotated[list[str], Field(min_length=1)]
    """
    Event types.
    """
    when: str | None = None
    """
    A CEL expression.
    """
    channel: str
    message: str | None = None
    """
    One line; `${…}` is CEL over `event`.
    """


class Route(Document):
    """
    Which events are told to whom.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Route']
    metadata: Annotated[RouteMetadata, Field(title='RouteMetadata')]
    spec: Annotated[RouteSpec, Field(title='RouteSpec')]


class ScorecardMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class LevelRule(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    holds: str
    """
    CEL over `entity`: identifier, title, team, properties, relations.
    """


class Level(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    rules: Annotated[list[LevelRule], Field(min_length=1)]


class ScorecardSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    blueprint: str
    levels: Annotated[list[Level], Field(min_length=1)]
    """
    From the lowest to the highest; each needs those before it.
    """


class Scorecard(Document):
    """
    Levels of quality that entities of a blueprint reach.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Scorecard']
    metadata: Annotated[ScorecardMetadata, Field(title='ScorecardMetadata')]
    spec: Annotated[ScorecardSpec, Field(title='ScorecardSpec')]


class SourceMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class SecretRef(RootModel[list[str]]):
    root: Annotated[list[str], Field(max_length=2, min_length=1)]
    """
    Two while a secret is rotated.
    """


class GithubSource(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['github']
    secretRef: str | SecretRef
    """
    Two while a secret is rotated.
    """
    actor: str | None = None


class NatsSource(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    kind: Literal['nats']
    allow: Annotated[list[str], Field(min_length=1)]
    """
    Prefixes that the events' `source` may have.
    """
    actor: str | None = None


class Source(Document):
    """
    A sender of webhooks or of events by NATS, and how it proves itself.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Source']
    metadata: Annotated[SourceMetadata, Field(title='SourceMetadata')]
    spec: GithubSource | NatsSource


class TriggerMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class RequestTemplate(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    offering: str
    version: str | None = None
    class_: Annotated[str | None, Field(alias='class')] = None
    """
    Kind of the thing within its offering; helps to choose the implementation.
    """
    action: str
    project: str
    environment: str
    name: str
    lifetime: str | None = None
    reason: str | None = None
    inputs: dict[str, Any] | None = None


class TriggerSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    on: str
    """
    Event type.
    """
    when: str | None = None
    """
    A CEL expression.
    """
    request: Annotated[RequestTemplate, Field(title='RequestTemplate')]


class Trigger(Document):
    """
    Turns an outside event into a request.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Trigger']
    metadata: Annotated[TriggerMetadata, Field(title='TriggerMetadata')]
    spec: Annotated[TriggerSpec, Field(title='TriggerSpec')]


class WindowMetadata(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    name: str
    title: str | None = None
    owner: str | None = None
    labels: dict[str, str] | None = None


class WindowSpec(Document):
    model_config = ConfigDict(
        extra='forbid',
    )
    description: str | None = None
    when: str | None = None
    """
    Which requests it is about; absent: all.
    """
    effect: Literal['allow', 'deny']
    """
    allow: only in this time (or that of another such window); deny: not in this time, whatever others allow.
    """
    cron: str
    """
    When it opens: minute, hour, day of month, month, day of week.
    """
    duration: str
    """
    How long it stays open.
    """
    timeZone: str | None = None
    """
    IANA name, such as Europe/Berlin; absent: UTC.
    """
    expect: str | None = None
    """
    How long a run takes; needed unless `outlast` is finish.
    """
    outlast: Literal['finish', 'wait', 'deny'] | None = None
    """
    What happens to a request whose run is expected to outlast the time it may run in: it begins all the same (the default), waits for the next time, or is denied.
    """
    override: Annotated[list[str] | None, Field(min_length=1)] = None
    """
    Who may let a held request through, with a reason.
    """
    because: str


class Window(Document):
    """
    When changes may happen, or may not.
    """

    model_config = ConfigDict(
        extra='forbid',
    )
    apiVersion: Literal['entresol.dev/v1']
    kind: Literal['Window']
    metadata: Annotated[WindowMetadata, Field(title='WindowMetadata')]
    spec: Annotated[WindowSpec, Field(title='WindowSpec')]

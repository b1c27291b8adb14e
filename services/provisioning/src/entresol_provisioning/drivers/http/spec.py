"""What a step of the `http` driver may say in its `with`.

Values are as the offering's `${…}` left them. The fields of type Cel are expressions that are evaluated here, over what
the API answers; they are written without `${}` and name inputs by themselves, so that no input becomes part of one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from entresol_manifests import durations
from entresol_manifests.expressions import ExpressionError, compile_expression
from entresol_manifests.findings import meant
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from entresol_provisioning.drivers import StepFailed

DONE_STATUSES = (200, 201, 202, 204)
GONE_STATUSES = (404, 410)
IDEMPOTENT = frozenset({"PUT", "DELETE"})
FINGERPRINT = "fingerprint"
"""The output by which the next run tells whether anything new is to be sent."""
_WORDS = {"extra_forbidden": "there is no such field", "missing": "it is missing"}


def _compiled(source: str) -> str:
    if "${" in source:
        raise ValueError("is an expression by itself: write it without ${}, and inputs as inputs.name")
    try:
        compile_expression(source)
    except ExpressionError as error:
        raise ValueError(error.message) from None
    return source


def _seconds(text: str) -> str:
    durations.seconds(text)
    return text


def _pointer(text: str) -> str:
    if not text.startswith("/") or len(text) > 200:
        raise ValueError("must be a JSON pointer such as /inputs/reference")
    return text


Cel: TypeAlias = Annotated[str, AfterValidator(_compiled)]
Length: TypeAlias = Annotated[str, AfterValidator(_seconds)]
Status: TypeAlias = Annotated[int, Field(ge=200, le=599)]
Scalar: TypeAlias = str | bool | int | float


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Place(Strict):
    """A request that changes nothing."""

    path: str | list[str | int] | None = None
    """Beneath the API's URL; in a list, each part is encoded as one."""
    at: Cel | None = None
    """Instead of a path: what gives one, a list of parts, or a URL of the same API."""
    query: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    answer: Literal["json", "text", "none"] = "json"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.at is not None:
            raise ValueError("has both path and at; keep one")
        return self

    @property
    def is_placed(self) -> bool:
        return self.path is not None or self.at is not None


class Placed(Place):
    @model_validator(mode="after")
    def _placed(self) -> Self:
        if not self.is_placed:
            raise ValueError("needs a path (or at, an expression that gives it)")
        return self


class Look(Placed):
    """Whether something is there; `item` picks it out of the answer: null or an empty list if it is not there."""

    item: Cel | None = None
    exists: Cel | None = None
    within: Length = "0s"
    """How long after a call nothing may be found of what it has made."""

    @property
    def within_seconds(self) -> float:
        return durations.seconds(self.within)


class Find(Look):
    """Finds what this step has made, by the reference that it put in."""

    within: Length = "60s"


class Poll(Place):
    """Asks again and again until it is done."""

    every: Length = "5s"
    done: Cel
    failed: Cel | None = None
    message: Cel | None = None
    resumable: bool = False
    """Whether a person may end the waiting."""

    @property
    def every_seconds(self) -> float:
        return max(durations.seconds(self.every), 0.05)


class Call(Placed):
    """A request that has an effect."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: Any = None
    reference: Annotated[str, AfterValidator(_pointer)] | None = None
    """Where in the body the step's reference is put."""
    expect: list[Status] = Field(default=list(DONE_STATUSES), min_length=1)
    already: list[Status] = Field(default_factory=list)
    """Statuses that say that it was done before."""
    repeatable: bool = False
    """Whether it does no harm if the API gets it twice."""
    find: Find | None = None
    poll: Poll | None = None

    @property
    def may_be_repeated(self) -> bool:
        return self.repeatable or self.method in IDEMPOTENT


class Removal(Call):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "DELETE"
    already: list[Status] = Field(default=list(GONE_STATUSES))


class Spec(Strict):
    destination: str | None = None
    url: str | None = None
    apply: Call
    update: Call | None = None
    """Later changes; absent: `apply` again."""
    destroy: Removal | None = None
    read: Look | None = None
    desired: dict[str, Any] = Field(default_factory=dict)
    """Fields of what `read` finds, as they must be."""
    outputs: dict[str, Cel] = Field(default_factory=dict)
    secrets: dict[str, Cel] = Field(default_factory=dict)
    """Outputs of which only a reference is kept; read again where they are needed."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.desired or self.secrets) and self.read is None:
            raise ValueError("desired and secrets are fields of what read finds, and read is missing")
        if taken := {FINGERPRINT} & (self.outputs.keys() | self.secrets.keys()):
            raise ValueError(f"an output must not be named {taken.pop()}")
        if twice := self.outputs.keys() & self.secrets.keys():
            raise ValueError(f"{sorted(twice)[0]} is both an output and a secret")
        for call in (self.apply, self.update, self.destroy):
            if call is not None and call.poll is not None and not call.poll.is_placed and self.read is None:
                raise ValueError("a poll needs a path or at, or a read to ask")
        return self

    def changing(self, *, is_new: bool) -> Call:
        return self.apply if is_new or self.update is None else self.update


def checked(with_: Mapping[str, Any]) -> Spec:
    """The `with` of a step; raise StepFailed that names the field."""
    try:
        return Spec.model_validate(dict(with_))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(("with", *(str(one)[:60] for one in first["loc"])))
        reason = _WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            reason += meant(str(first["loc"][0])[:60], Spec.model_fields)
        raise StepFailed(f"{place}: {reason}"[:500]) from None

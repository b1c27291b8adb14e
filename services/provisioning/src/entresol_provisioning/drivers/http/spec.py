"""What a step of the `http` driver may say in its `with`.

Values are as the offering's `${…}` left them. The fields of type Cel are expressions that are evaluated here, over what
the API answers; they are written without `${}` and name inputs by themselves, so that no input becomes part of one.
"""

from typing import Annotated, Any, Literal, Self, TypeAlias

from entresol_manifests import durations
from entresol_manifests.expressions import ExpressionError, compile_expression
from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from entresol_provisioning.drivers.contracts import DestinationName, Length, Pointer, Strict, shaped

DONE_STATUSES = (200, 201, 202, 204)
GONE_STATUSES = (404, 410)
IDEMPOTENT = frozenset({"PUT", "DELETE"})
NO_URL = "is no URL of an API, such as https://host/v1; a user and password belong into a Destination"
FINGERPRINT = "fingerprint"
HOLDING = "holding"
"""The output by which the next run tells whether anything new is to be sent."""


def _compiled(source: str) -> str:
    if "${" in source:
        raise ValueError("is an expression by itself: write it without ${}, and inputs as inputs.name")
    try:
        compile_expression(source)
    except ExpressionError as error:
        raise ValueError(error.message) from None
    return source


Cel: TypeAlias = Annotated[str, AfterValidator(_compiled), WithJsonSchema({"type": "string", "format": "cel"})]
_PART = r"([^/?#\\%]|%[0-9A-Fa-f]{2})+"
PATH = rf"^/?{_PART}(/{_PART})*/?$"
_CLIMBS = r"(?i)(^|/)([.]|%2e){1,2}(/|$)"
ORIGIN = (
    r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?((?:/.*)?)"
)
"""Scheme, host, port, and what comes after them."""
TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}"
OURS = frozenset(
    {"authorization", "connection", "content-length", "content-type", "cookie", "host", "idempotency-key"}
    | {"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}
)
"""Headers that no step may set."""
Line: TypeAlias = Annotated[str, shaped("^[ -~]*$", "must be one line of ASCII, at most 4096 characters", longest=4096)]
Path: TypeAlias = Annotated[
    str, shaped(PATH, "must be a path such as /accounts, without ? and #; use query, or a list of parts")
]
Status: TypeAlias = Annotated[int, Field(ge=200, le=599)]
Scalar: TypeAlias = str | bool | int | float


class Place(Strict):
    """A request that changes nothing."""

    at_most_one = ("path", "at")
    rules = (
        {
            "properties": {
                "path": {
                    "not": {"type": "string", "pattern": _CLIMBS},
                    "items": {
                        "not": {"type": "string", "pattern": r"(^|/)[.]{0,2}(/|$)|\\"},
                        "errorMessage": "can't be a part of a path",
                    },
                    "errorMessage": "must not climb by . or ..",
                },
                "headers": {
                    "propertyNames": {
                        "pattern": f"^{TOKEN}$",
                        "not": {"pattern": f"(?i)^({'|'.join(sorted(OURS))})$"},
                        "errorMessage": "is not a header's that a step may set; a secret belongs into a Destination",
                    }
                },
            }
        },
    )

    path: Path | list[str | int] | None = None
    """Beneath the API's URL; in a list, each part is encoded as one, so that no input can lead elsewhere."""
    at: Cel | None = None
    """Instead of a path: an expression that gives one, a list of its parts, or a URL of the same API."""
    query: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    """What is appended to the URL."""
    headers: dict[str, Line] = Field(default_factory=dict)
    """Sent along; the credential comes from the Destination."""
    answer: Literal["json", "text", "none"] = "json"
    """What the answer's body is read as."""

    @property
    def is_placed(self) -> bool:
        return self.path is not None or self.at is not None


class Placed(Place):
    exactly_one = ("path", "at")


class Look(Placed):
    item: Cel | None = None
    """Picks what is meant out of the answer; null or an empty list if it is not there."""
    exists: Cel | None = None
    """Whether it is there, if the status does not say."""
    within: Length = "0s"
    """How long after a call nothing may be found of what it has made."""

    @property
    def within_seconds(self) -> float:
        return durations.seconds(self.within)


class Find(Look):
    within: Length = "60s"
    """How long after a call nothing may be found of what it has made."""


class Poll(Place):
    every: Length = "5s"
    """How long between two looks."""
    done: Cel
    """Whether it is done."""
    failed: Cel | None = None
    """Whether it has failed."""
    message: Cel | None = None
    """What people are told of how far it is, or why it failed."""
    resumable: bool = False
    """Whether a person may end the waiting."""

    @property
    def every_seconds(self) -> float:
        return max(durations.seconds(self.every), 0.05)


class Call(Placed):
    """A request that has an effect."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    """How it is sent."""
    body: Any = None
    """Sent as JSON; nothing if left out."""
    reference: Pointer | None = None
    """Where in the body the reference of the step is put, so that find knows it again; such as /inputs/id."""
    expect: list[Status] = Field(default=list(DONE_STATUSES), min_length=1)
    """Statuses of an answer that says that it was taken."""
    already: list[Status] = Field(default_factory=list)
    """Statuses that say that it was done before."""
    repeatable: bool = False
    """Whether it does no harm if the API gets it twice. PUT and DELETE never do."""
    find: Find | None = None
    """Finds what this call has made, after an attempt that nobody knows the end of."""
    poll: Poll | None = None
    """Asks again and again until it is done."""

    @property
    def may_be_repeated(self) -> bool:
        return self.repeatable or self.method in IDEMPOTENT


class Removal(Call):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "DELETE"
    """How it is sent."""
    already: list[Status] = Field(default=list(GONE_STATUSES))
    """Statuses that say that it was gone before."""


_WAITS_NOWHERE: JsonDict = {
    "required": ["poll"],
    "properties": {
        "poll": {
            "type": "object",
            "properties": {"path": {"const": None}, "at": {"const": None}},
        }
    },
}


_READ, _CALLS = ("desired", "secrets"), ("apply", "update", "destroy")


def _needs_read(name: str, where: JsonDict, told: str) -> JsonDict:
    return {
        "if": {"required": [name], "properties": {name: where}},
        "then": {"required": ["read"], "errorMessage": f"{told}; give the step a read"},
    }


class Spec(Strict):
    """Calls an API once and waits until it is done; or starts a job of it, a workflow, a DAG."""

    exactly_one = ("destination", "url")
    rules = (
        *(_needs_read(name, {"minProperties": 1}, f"{name} are fields of what read finds") for name in _READ),
        *(_needs_read(name, _WAITS_NOWHERE, f"the poll of {name} has no path or at") for name in _CALLS),
        {
            "properties": {
                name: {"propertyNames": {"not": {"enum": [FINGERPRINT, HOLDING]}, "errorMessage": "is taken"}}
                for name in ("outputs", "secrets")
            }
        },
    )

    destination: DestinationName | None = None
    """Name of a Destination with an api: its URL and its credential."""
    url: Annotated[str, shaped(f"^{ORIGIN}$", NO_URL)] | None = None
    """The API's URL, where it needs no credential."""
    apply: Call
    """What makes it."""
    update: Call | None = None
    """What changes it later; left out: apply again."""
    destroy: Removal | None = None
    """What removes it; left out: it is kept, and listed as orphaned."""
    read: Look | None = None
    """Looks at it: for plans, for drift, and to know whether a call had its effect."""
    desired: dict[str, Any] = Field(default_factory=dict)
    """Fields of what read finds, as they must be."""
    outputs: dict[str, Cel] = Field(default_factory=dict)
    """Outputs by name, each an expression about response.body, response.headers and response.status."""
    secrets: dict[str, Cel] = Field(default_factory=dict)
    """Outputs of which only a reference is kept; read again where they are needed."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if twice := self.outputs.keys() & self.secrets.keys():
            raise ValueError(f"{sorted(twice)[0]} is both an output and a secret")
        return self

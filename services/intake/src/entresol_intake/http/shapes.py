"""The bodies of the door as OpenAPI describes them.

What is really checked is in the domain; tests hold both together.
"""

from typing import Any, Final

from entresol_eventing.access import PERMISSIONS

from entresol_intake.domain.asks import BUILT_IN, CREATE, MAX_KEY, MAX_REASON, MAX_REQUEST_ID, MAX_REVISION
from entresol_intake.domain.shapes import SLUG, VERSION
from entresol_intake.domain.stages import STAGES

Schema = dict[str, Any]


def text(most: int, **more: Any) -> Schema:
    """A text that says something."""
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": r"\S", **more}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def record(required: list[str], properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_SLUG: Final[Schema] = {"type": "string", "pattern": SLUG}
_NAME: Final[Schema] = {"type": "string"}

ASK: Final = record(
    ["offering", "project", "environment", "name"],
    {
        "offering": _SLUG,
        "version": maybe({"type": "string", "pattern": VERSION, "maxLength": 40}),
        "class": maybe({**_SLUG, "description": "Kind of the thing; helps to choose the implementation."}),
        "action": {**_SLUG, "default": CREATE, "description": f"Built in: {', '.join(BUILT_IN)}."},
        "project": _SLUG,
        "environment": _SLUG,
        "name": _SLUG,
        "inputs": {"type": "object", "description": "As the offering's schema says.", "default": {}},
        "lifetime": maybe(text(40, examples=["5d"], description="For pause, how long it lasts.")),
        "snapshot": maybe(
            {
                **record(
                    ["revision"],
                    {
                        "revision": {"type": "integer", "minimum": 1, "maximum": MAX_REVISION},
                        "request_id": maybe(text(MAX_REQUEST_ID)),
                    },
                ),
                "description": "For rollback: the state to go back to; version and inputs are that state's.",
            }
        ),
        "orphan": {
            "type": "boolean",
            "default": False,
            "description": "For delete: what can't be removed is left in the world, and listed.",
        },
        "reason": maybe(text(MAX_REASON)),
        "dry_run": {"type": "boolean", "default": False},
        "break_glass": maybe(
            text(MAX_REASON, description="Why nothing may stand in its way; a policy says who may say so.")
        ),
    },
)
ACCEPTED: Final = record(
    ["id", "resource", "offering", "version", "action", "links"],
    {
        **dict.fromkeys(("id", "resource", "offering", "version", "action"), _NAME),
        "links": record(["self"], {"self": _NAME}),
    },
)
REASON: Final = record([], {"reason": maybe(text(MAX_REASON))})
BECAUSE: Final = record(["reason"], {"reason": text(MAX_REASON)})
RESUMPTION: Final = record(
    [],
    {
        "step": maybe({**_SLUG, "description": "Absent: whatever waits."}),
        "reason": maybe(text(MAX_REASON)),
        "answer": maybe({"type": "object", "description": "What the step is told."}),
    },
)
STAGE: Final = record(["stage"], {"stage": {"enum": list(STAGES)}, "reason": maybe(text(MAX_REASON))})
STAGED: Final = record(["name", "version", "stage"], {"name": _NAME, "version": _NAME, "stage": {"enum": list(STAGES)}})
ANSWER: Final = record(["answer"], {"answer": {"enum": ["granted", "rejected"]}, "reason": maybe(text(MAX_REASON))})
ANSWER_FORM: Final = record(
    ["answer"], {"answer": {"enum": ["granted", "rejected"]}, "reason": {"type": "string", "maxLength": MAX_REASON}}
)
DELEGATION: Final = record(
    ["to"], {"to": text(255, pattern="^user:[^\\s]+$", examples=["user:grace"]), "reason": maybe(text(MAX_REASON))}
)
TOKEN: Final = record(
    ["actor", "role"],
    {
        "actor": text(255, pattern="^(user|ci|service):[^\\s]+$"),
        "groups": {"type": "array", "items": text(255), "maxItems": 100, "default": []},
        "role": {"enum": list(PERMISSIONS)},
        "projects": {"type": "array", "items": text(63), "minItems": 1, "maxItems": 100, "default": ["*"]},
        "expires_in": maybe(text(40, examples=["90d"])),
    },
)
ISSUED: Final = record(
    ["id", "token", "actor", "groups", "role", "projects", "expires_at"],
    {
        **dict.fromkeys(("id", "token", "actor", "role"), _NAME),
        "groups": {"type": "array", "items": _NAME},
        "projects": {"type": "array", "items": _NAME},
        "expires_at": maybe({"type": "string", "format": "date-time"}),
    },
)
_SCOPE: Final[dict[str, Schema]] = {
    "project": _SLUG,
    "environment": _SLUG,
    "offering": _SLUG,
    "resource": text(255, pattern="^[a-z0-9-]+(/[a-z0-9-]+){3}$", description="project/environment/offering/name."),
    "action": _SLUG,
}
_TERM: Final[dict[str, Schema]] = {
    "until": maybe(text(40, format="date-time", description="When it ends; not beside `for`.")),
    "for": maybe(text(40, examples=["4h"], description="How long from now; not beside `until`.")),
}
LOCK: Final = record(
    ["scope", "reason"],
    {
        "scope": {**record([], _SCOPE), "description": "What fits every field is held; `{}` is everything."},
        "reason": text(MAX_REASON),
        "exempt": {
            "type": "array",
            "items": text(255, pattern="^(user|group|ci|service|trigger|system):.+$"),
            "maxItems": 100,
            "default": [],
        },
        **_TERM,
    },
)
WAIVER: Final = record(
    ["waives", "scope", "reason", "ticket"],
    {
        "waives": text(80, pattern="^(Policy|Quota|Window)/.+$", examples=["Policy/sensible-sizes"]),
        "rule": maybe({"type": "integer", "minimum": 0, "description": "Only this rule of the policy, from 0."}),
        "scope": record([], {**_SCOPE, "request": text(128, description="One request, by its id.")}),
        "reason": text(MAX_REASON),
        "ticket": text(255, description="Where it was agreed.", examples=["OPS-812"]),
        **_TERM,
    },
)
STANDING: Final = record(["id", "until"], {"id": _NAME, "until": maybe({"type": "string", "format": "date-time"})})
DEAD_LETTERS: Final = record(
    ["service"],
    {
        "service": _SLUG,
        "message_id": maybe(text(512, description="A dead letter, or a message that is still being tried again.")),
        "event_type": {"type": "string", "description": "Only dead letters of this type, such as `dev.entresol.….v1`."},
        "reason": maybe(text(MAX_REASON)),
    },
)
DISCARDED: Final[Schema] = {
    **DEAD_LETTERS,
    "required": ["service", "reason"],
    "properties": {**DEAD_LETTERS["properties"], "reason": text(MAX_REASON)},
}
MANIFESTS: Final[Schema] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "entresol.dev/v1"},
            "kind": _NAME,
            "metadata": {"type": "object"},
            "spec": {"type": "object"},
        },
    },
}
RESULTS: Final = record(
    ["results"],
    {
        "results": {
            "type": "array",
            "items": record(
                ["kind", "name", "version", "result"],
                {
                    "kind": _NAME,
                    "name": _NAME,
                    "version": maybe(_NAME),
                    "result": {"enum": ["created", "changed", "unchanged"]},
                },
            ),
        }
    },
)
CLOUD_EVENT: Final[Schema] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {"specversion": {"const": "1.0"}, "id": text(512), "source": text(1024), "type": text(4096)},
}
RECEIVED: Final = record(
    ["accepted", "duplicates"], {"accepted": {"type": "integer"}, "duplicates": {"type": "integer"}}
)
DELIVERED: Final = record(
    ["id", "events", "duplicate"],
    {"id": _NAME, "events": {"type": "integer"}, "duplicate": {"type": "boolean"}},
)
NAMED: Final = record(["id"], {"id": _NAME})
SAID: Final = record(["id", "by", "event"], {"id": _NAME, "by": _NAME, "event": _NAME})
EMPTY: Final = record([], {})
PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": _NAME,
        "title": _NAME,
        "status": {"type": "integer"},
        "detail": _NAME,
        "violations": {"type": "array", "items": record(["pointer", "detail"], {"pointer": _NAME, "detail": _NAME})},
    },
}
IDEMPOTENCY_KEY: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body gets the same answer, and nothing happens twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}

_ERRORS: Final = {
    400: "No JSON, or JSON that is not acceptable",
    401: "No token, or one that is not valid",
    403: "The token's role may not do this",
    404: "There is no such thing, or not for this token",
    413: "Too large",
    415: "Not JSON, or compressed",
    422: "Not valid; `violations` say what and where",
    503: "Try again after Retry-After seconds",
}


def answers(status: int, schema: Schema | None, description: str, *others: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its success, and the errors that any route may answer with."""
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    problem = {"content": {"application/problem+json": {"schema": PROBLEM}}}
    errors = {**_ERRORS, **dict.fromkeys(others, "Contradicts what is in force")}
    described: dict[int | str, dict[str, Any]] = {status: {"description": description, **content}}
    return described | {code: {"description": why, **problem} for code, why in sorted(errors.items())}


def pages(described: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for people: pages, and problems where the door refuses before the route is reached."""
    content = {"text/html": {"schema": {"type": "string"}}, "application/problem+json": {"schema": PROBLEM}}
    return {code: {"description": why, "content": content} for code, why in described.items()}


def takes(schema: Schema, *, required: bool = True, media_types: tuple[str, ...] = ("application/json",)) -> Schema:
    """The `openapi_extra` of a route that reads its body by itself."""
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {"requestBody": {"required": required, "content": content}}

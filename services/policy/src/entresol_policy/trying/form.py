"""The form of a case file, as JSON Schema.

It is written without references, so that a misspelt key is told together with the one that was meant.
"""

from collections.abc import Mapping
from typing import Any, Final

OUTCOMES: Final = ("deny", "plan", "approve", "reject", "hold", "allow", "break-glass")
STANDINGS: Final = ("matched", "passed", "error", "waived", "unplanned", "unconcerned")


def _map(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _list(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


_TEXT: Final = {"type": "string", "minLength": 1}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_ANY_MAP: Final = {"type": "object"}
_SWITCH: Final = {"type": "boolean"}
_TEXTS: Final = _list(_TEXT)
_SCOPE: Final = _map(project=_TEXT, environment=_TEXT, offering=_TEXT, resource=_TEXT, action=_TEXT, request=_TEXT)
_REQUEST: Final = _map(
    (),
    offering=_TEXT,
    version=_TEXT,
    action=_TEXT,
    project=_TEXT,
    environment=_TEXT,
    name=_TEXT,
    inputs=_ANY_MAP,
    dry_run=_SWITCH,
    lifetime_seconds={"type": "integer", "minimum": 1},
    reason=_TEXT,
    trigger=_TEXT,
    break_glass=_TEXT,
    orphan=_SWITCH,
    snapshot=_map(("revision",), revision={"type": "integer", "minimum": 1}, request_id=_TEXT),
    requirement=_map(("request_id", "resource_id", "name"), request_id=_TEXT, resource_id=_TEXT, name=_TEXT),
    question=_map(("from", "because"), **{"from": _list(_TEXT, minItems=1), "because": _TEXT}),
    **{"class": _TEXT},
)
NEEDED: Final = ("offering", "project", "environment", "name")
"""What a request has to say when everything that is given is put together."""
_CHANGE: Final = {"enum": ["add", "change", "destroy", "replace"]}
_PLAN: Final = _map(
    adds=_COUNT,
    changes=_COUNT,
    destroys=_COUNT,
    cost={"type": "number"},
    unknown=_TEXTS,
    resources=_list(_map(("address", "change"), step=_TEXT, address=_TEXT, type=_TEXT, change=_CHANGE)),
    steps=_list(
        _map(("name", "driver"), name=_TEXT, driver=_TEXT, adds=_COUNT, changes=_COUNT, destroys=_COUNT, summary=_TEXTS)
    ),
) | {"type": ["object", "null"]}
_RULE: Final = _map(("name", "level", "passed"), name=_TEXT, level=_TEXT, passed=_SWITCH, because=_TEXT)
_ENTITY: Final = _map(
    ("blueprint", "identifier"),
    blueprint=_TEXT,
    identifier=_TEXT,
    title=_TEXT,
    team={"type": ["string", "array", "null"], "items": _TEXT},
    properties=_ANY_MAP,
    relations=_ANY_MAP,
    scorecards={
        "type": "object",
        "additionalProperties": _map(("rank",), level={"type": ["string", "null"]}, rank=_COUNT, rules=_list(_RULE)),
    },
)
_RESOURCE: Final = _map(
    ("project", "environment", "offering", "name"),
    project=_TEXT,
    environment=_TEXT,
    offering=_TEXT,
    version=_TEXT,
    name=_TEXT,
    inputs=_ANY_MAP,
    owner=_TEXT,
)
_LOCK: Final = _map(("scope", "reason"), scope=_SCOPE, reason=_TEXT, by=_TEXT, exempt=_TEXTS, until=_TIME)
_WAIVER: Final = _map(
    ("waives",),
    waives={"type": "string", "pattern": "^(Policy|Quota|Window)/.+$"},
    rule=_COUNT,
    scope=_SCOPE,
    reason=_TEXT,
    ticket=_TEXT,
    until=_TIME,
    by=_TEXT,
)
_ANSWER: Final = _map(
    ("by", "answer"), by=_TEXT, groups=_TEXTS, answer={"enum": ["granted", "rejected"]}, reason=_TEXT, policy=_TEXT
)
_GIVEN: Final = _map(
    now=_TIME,
    actor=_map(id=_TEXT, groups=_TEXTS),
    request=_REQUEST,
    plan=_PLAN,
    catalog=_list(_ENTITY),
    resources=_list(_RESOURCE),
    locks=_list(_LOCK),
    waivers=_list(_WAIVER),
    answers=_list(_ANSWER),
)
_EXPECT: Final = _map(
    outcome={"enum": list(OUTCOMES)},
    because=_TEXTS,
    approvers=_TEXTS,
    holds=_TEXTS,
    policies={"type": "object", "additionalProperties": {"enum": list(STANDINGS)}},
) | {"minProperties": 1}
SCHEMA: Final[Mapping[str, Any]] = _map(
    ("cases",),
    policies=_TEXTS,
    given=_GIVEN,
    cases=_list(_map(("name", "expect"), name=_TEXT, given=_GIVEN, expect=_EXPECT), minItems=1),
)

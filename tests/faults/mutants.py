"""Real events of the contract, made wrong in every way that a sender, a bug or a broken disk might."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entresol_contracts import EVENT_TYPES, EventType
from entresol_eventing.envelope import encode, log_subject, new_id
from entresol_eventing.testing import event

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
SERVICES = ("intake", "policy", "provisioning", "catalog", "notification")
ORDERS = ("redrive.requested", "discard.requested", "token.revoked")
"""Not sent at all: obeyed, they would take away what the judge looks for."""


@dataclass(frozen=True, slots=True)
class Mutant:
    kind: str
    publisher: str
    log_subject: str
    body: bytes


def mutants(dice: random.Random, number: int) -> list[Mutant]:
    """That many, of each kind about as many; no two hold the same bytes."""
    types = [known for known in EVENT_TYPES if known.fact not in ORDERS]
    kinds = list(KINDS)
    return [_mutant(dice, kinds[at % len(kinds)], dice.choice(types)) for at in range(number)]


def _mutant(dice: random.Random, kind: str, known: EventType) -> Mutant:
    name = f"{known.type.removeprefix('dev.entresol.')}.{dice.choice(['minimal', 'full'])}.json"
    data = known.model.model_validate_json((EXAMPLES / name).read_bytes())
    publisher = known.publisher if known.publisher in SERVICES else dice.choice(SERVICES)
    # Each has a key of its own: behind a dead letter of its key, the best event waits for an operator.
    document = json.loads(encode(event(data, source=f"/entresol/{publisher}", partitionkey=new_id())))
    body = KINDS[kind](dice, document)
    return Mutant(kind, publisher, log_subject(publisher, known, new_id()), body)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a document, envelope and data."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(value, key), *_places(inner)]
    return found


def _dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


def _drop(dice: random.Random, document: Any) -> bytes:
    container, key = dice.choice(_places(document))
    del container[key]
    return _dumps(document)


WRONG: list[Any] = [None, True, 0, -1, 10**30, 1.5, "", [], {}, [[]], {"a": []}, "\0", "9999-12-31T23:59:59-14:00"]
WRONG += ["0001-01-01T00:00:00+14:00", "\x1b[2J\x9b31m\u202e", "x" * 5000, ["x"] * 200]


def _retype(dice: random.Random, document: Any) -> bytes:
    container, key = dice.choice(_places(document))
    long = "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(3000))
    container[key] = dice.choice([*WRONG, long])
    return _dumps(document)


def _swap(dice: random.Random, document: Any) -> bytes:
    (one, key), (other, name) = dice.sample(_places(document), 2)
    one[key], other[name] = json.loads(json.dumps(other[name])), json.loads(json.dumps(one[key]))
    return _dumps(document)


def _truncate(dice: random.Random, document: Any) -> bytes:
    body = _dumps(document)
    return body[: dice.randrange(40, len(body))]


def _no_text(dice: random.Random, document: Any) -> bytes:
    body = _dumps(document)
    at = dice.randrange(len(body))
    return body[:at] + dice.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\xf5"]) + body[at:]


def _flip(dice: random.Random, document: Any) -> bytes:
    body = bytearray(_dumps(document))
    for _ in range(dice.randrange(1, 4)):
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    return bytes(body)


def _twice(dice: random.Random, document: Any) -> bytes:
    key = dice.choice(list(document))
    again = json.dumps({key: dice.choice([document[key], "other", None, []])})
    return _dumps(document)[:-1] + b"," + again[1:].encode()


def _no_number(dice: random.Random, document: Any) -> bytes:
    container, key = dice.choice(_places(document))
    container[key] = "@@"
    wrong = dice.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"1E400", b"0" * 50])
    return _dumps(document).replace(b'"@@"', wrong)


def _deep(dice: random.Random, document: Any) -> bytes:
    container, key = dice.choice(_places(document))
    container[key] = "@@"
    opening, closing = dice.choice([(b"[", b"]"), (b'{"a":', b"}")])
    depth = dice.choice([100, 1_000, 10_000])
    return _dumps(document).replace(b'"@@"', opening * depth + b"1" + closing * depth)


def _future(dice: random.Random, document: Any) -> bytes:
    """A later minor version: fields that nobody here knows, and that must be ignored."""
    document["dataschema"] = document["dataschema"].replace(".0.json", ".9.json")
    document |= {"tomorrow": 1, "comexampleextension": "x"}
    document["data"] |= {"tomorrow": {"a": [1, None]}, "zz": dice.random()}
    return _dumps(document)


def _unheard(dice: random.Random, document: Any) -> bytes:
    document["type"] = dice.choice(["dev.entresol.request.teleported.v1", "dev.entresol.run.started.v2", "x", ""])
    return _dumps(document)


KINDS: dict[str, Callable[[random.Random, Any], bytes]] = {
    "dropped": _drop,
    "wrong type": _retype,
    "swapped": _swap,
    "truncated": _truncate,
    "not UTF-8": _no_text,
    "bits flipped": _flip,
    "key twice": _twice,
    "no number": _no_number,
    "deep": _deep,
    "future": _future,
    "unknown type": _unheard,
}

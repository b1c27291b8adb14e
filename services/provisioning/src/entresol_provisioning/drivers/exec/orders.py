"""What a step tells a program to do: read from the offering, and written for the program.

Nothing that a user wrote can become a path, an option or a secret's reference here. A text from an input may be an
argument as long as it does not begin with a dash, or after `--`; what is more than that belongs into `input`.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entresol_manifests.digest import digest
from entresol_manifests.secrets import SecretMissing, resolve

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.remains import texts

MOST_ARGUMENTS = 1000
LONGEST_ARGUMENT = 100 * 1024
_KNOWN = frozenset({"program", "arguments", "input", "env", "once", "observes"})
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_REFUSED = ("ENTRESOL_", "LD_")
_PASSED_ON = (
    "PATH",
    "TZ",
    "LANG",
    "LC_ALL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
)


@dataclass(frozen=True, slots=True)
class Order:
    """A program and what it is given."""

    name: str
    path: Path
    arguments: tuple[str, ...]
    input: Any
    env: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    """Values behind references, by variable; they are in `env` too."""
    once: bool
    observes: bool
    digest: str
    """Of all that the offering says; it can be known without any secret."""


def read(programs: Path, work: StepWork) -> Order:
    """Raise StepFailed for whatever is not plainly harmless."""
    with_ = work.with_
    if unknown := sorted(set(with_) - _KNOWN - {"destination"}):
        raise StepFailed(f"with.{unknown[0][:100]} is unknown to exec; there are {', '.join(sorted(_KNOWN))}")
    once, observes = with_.get("once", False), with_.get("observes", True)
    if not isinstance(once, bool) or not isinstance(observes, bool):
        raise StepFailed("with.once and with.observes must be true or false")
    name = with_.get("program")
    if not isinstance(name, str) or not name:
        raise StepFailed("an exec step needs with.program, the name of an installed program")
    arguments = _arguments(with_.get("arguments", []), work)
    env, secrets = _variables(with_.get("env") or {}, work)
    told = {name: with_.get(name) for name in sorted(_KNOWN)}
    return Order(name, _find(programs, name), arguments, with_.get("input"), env, secrets, once, observes, digest(told))


def document(work: StepWork, order: Order, does: str, *, looks: bool, destroys: bool) -> dict[str, Any]:
    """What the program reads in input/object.json."""
    return {
        "action": does,
        "dryRun": looks,
        "destroys": destroys,
        "adopts": work.adopts,
        "resource": {
            "id": work.resource_id,
            "project": work.project,
            "environment": work.environment,
            "offering": work.offering,
            "name": work.name,
        },
        "request": {"id": work.request_id, "action": work.action, "actor": work.actor},
        "run": work.run_id,
        "step": work.step,
        "idempotencyKey": work.idempotency_key,
        "inputs": dict(work.inputs),
        "input": order.input,
        "previous": None if work.previous is None else dict(work.previous),
        "memory": work.memory.get("memory", {}),
        "answer": None if work.answer is None else dict(work.answer),
    }


def environment(order: Order, place: Path, does: str, *, looks: bool, destroys: bool) -> dict[str, str]:
    """Everything that is in its environment."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **order.env,
        "HOME": str(place),
        "TMPDIR": str(place / "tmp"),
        "ENTRESOL_INPUT": str(place / "input" / "object.json"),
        "ENTRESOL_OUTPUT": str(place / "output"),
        "ENTRESOL_STATUS": str(place / "status.json"),
        "ENTRESOL_ACTION": does,
        "ENTRESOL_DRY_RUN": "1" if looks else "0",
        "ENTRESOL_DESTROYS": "1" if destroys else "0",
    }


def content_digest(path: Path) -> str:
    """Of the program itself."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(root: Path, name: str) -> Path:
    parts = name.split("/")
    if len(parts) > 4 or not all(_PART.match(part) and ".." not in part for part in parts):
        raise StepFailed(f"{name[:100]!r} is not a program's name: letters, digits, dots, dashes and slashes")
    place = root
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise StepFailed(f"the program {name} is a symbolic link, or behind one, which is not followed")
    try:
        mode = place.stat().st_mode
    except OSError:
        raise StepFailed(f"there is no program {name}; install it in the programs' directory") from None
    if not stat.S_ISREG(mode) or not os.access(place, os.X_OK):
        raise StepFailed(f"the program {name} is no executable file")
    if mode & stat.S_IWOTH:
        raise StepFailed(f"the program {name} can be changed by everybody; take away that right (chmod o-w)")
    return place


def _arguments(given: Any, work: StepWork) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise StepFailed("with.arguments must be a list of texts; numbers need quotes")
    if len(given) > MOST_ARGUMENTS or any(len(one.encode(errors="replace")) > LONGEST_ARGUMENT for one in given):
        raise StepFailed(f"with.arguments exceeds {MOST_ARGUMENTS} texts, or {LONGEST_ARGUMENT // 1024} KiB in one")
    if any("\0" in one or _is_half(one) for one in given):
        raise StepFailed("with.arguments holds a character that no argument may have")
    foreign = [text for _, text in texts([work.inputs, work.scope.get("steps", {})]) if len(text) > 1]
    options = tuple(text for text in foreign if text.startswith("-"))
    for one in given:
        if one == "--" and one not in options:
            break
        if one.startswith("-") and one.startswith(options):
            raise StepFailed("a text from outside begins with - among with.arguments; put it after --, or into input")
    return tuple(given)


def _variables(given: Any, work: StepWork) -> tuple[dict[str, str], dict[str, str]]:
    if not isinstance(given, Mapping):
        raise StepFailed("with.env must be an object of texts and secret references")
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    foreign = {text for _, text in texts([work.inputs])}
    for name, value in given.items():
        if not _VARIABLE.match(name) or name.startswith(_REFUSED):
            raise StepFailed(f"with.env can't set {name[:100]!r}")
        if isinstance(value, Mapping) and value.keys() == {"secretRef"}:
            secrets[name] = value = _secret(name, value["secretRef"], foreign)
        if not isinstance(value, str) or "\0" in value or _is_half(value) or len(value) > LONGEST_ARGUMENT:
            raise StepFailed(f"with.env.{name} must be a text or a secretRef")
        env[name] = value
    return env, secrets


def _secret(name: str, reference: Any, foreign: set[str]) -> str:
    if not isinstance(reference, str) or reference in foreign:
        raise StepFailed(f"with.env.{name}: a secret's reference must be written in the offering, not in an input")
    if reference.startswith("env:ENTRESOL_"):
        raise StepFailed(f"with.env.{name}: the platform's own secrets are not given away")
    try:
        return resolve(reference)
    except SecretMissing as error:
        raise StepFailed(f"with.env.{name}: {error}") from None


def _is_half(text: str) -> bool:
    return any("\ud800" <= one <= "\udfff" for one in text)

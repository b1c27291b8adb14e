"""What a step tells a program to do: read from the offering, and written for the program.

Nothing that a user wrote can become a path, an option or a secret's reference here. A text from an input may be an
argument as long as it does not begin with a dash, or after `--`; what is more than that belongs into `input`.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from entresol_manifests.digest import digest
from entresol_manifests.secrets import SecretMissing, resolve
from pydantic import Field

from entresol_provisioning.drivers import StepFailed, StepWork, contracts
from entresol_provisioning.drivers.contracts import DestinationName, Strict, shaped
from entresol_provisioning.drivers.remains import texts

MOST_ARGUMENTS = 1000
LONGEST = 100 * 1024
_TOLD = ("arguments", "env", "input", "observes", "once", "program")
_PART = r"[A-Za-z0-9](\.?[A-Za-z0-9_-])*"
Text: TypeAlias = Annotated[
    str, shaped(r"^[^\x00]*$", f"must be text without NUL, at most {LONGEST // 1024} KiB", longest=LONGEST)
]
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


class SecretRef(Strict):
    """A reference to a secret."""

    rules = (
        {
            "properties": {
                "secretRef": {
                    "not": {"type": "string", "pattern": "^env:ENTRESOL_"},
                    "errorMessage": "the platform's own secrets are not given away",
                }
            }
        },
    )

    secret_ref: str = Field(alias="secretRef", pattern="^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$")
    """Where the value is: env:NAME or file:/PATH of the service; written in the offering, never in an input."""


class Spec(Strict):
    """Runs a program that is installed beside the service, with a contract of files."""

    rules = (
        {
            "properties": {
                "env": {
                    "propertyNames": {
                        "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,99}$",
                        "not": {"pattern": "^(ENTRESOL|LD)_"},
                        "errorMessage": "must be letters, digits and _, and not begin with ENTRESOL_ or LD_",
                    }
                }
            }
        },
    )

    program: str = shaped(
        f"^{_PART}(/{_PART}){{0,3}}$",
        "must be a program's name: letters, digits, dots, dashes and slashes",
        longest=400,
    )
    """Name of a file in the service's directory of programs: letters, digits, dots, dashes and slashes."""
    arguments: list[Text] = Field(default_factory=list, max_length=MOST_ARGUMENTS)
    """Its arguments; a text from an input must not begin with a dash, unless it comes after --."""
    input: Any = None
    """What the program reads as `input`: any JSON."""
    env: dict[str, Text | SecretRef] | None = None
    """Variables of its environment: texts, or secrets as {secretRef: …}. Names that begin with ENTRESOL_ or LD_ are
    refused."""
    once: bool = False
    """Whether it must not be started again where it may have had its effect."""
    observes: bool = True
    """Whether it answers to observe; if not, its resources are taken to be as they were left."""
    destination: DestinationName | None = None
    """Name of a Destination; a change of it is a reason to run again."""


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
    asked = contracts.read(Spec, work)
    arguments = _arguments(asked.arguments, work)
    env, secrets = _variables(asked.env or {}, work)
    told = digest({name: work.with_.get(name) for name in _TOLD})
    path = _find(programs, asked.program)
    return Order(asked.program, path, arguments, asked.input, env, secrets, asked.once, asked.observes, told)


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
    place = root
    for part in name.split("/"):
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


def _arguments(given: list[str], work: StepWork) -> tuple[str, ...]:
    if any(len(one.encode()) > LONGEST for one in given):
        raise StepFailed(f"/with/arguments: one exceeds {LONGEST // 1024} KiB; put it into input")
    foreign = [text for _, text in texts([work.inputs, work.scope.get("steps", {})]) if len(text) > 1]
    options = tuple(text for text in foreign if text.startswith("-"))
    for one in given:
        if one == "--" and one not in options:
            break
        if one.startswith("-") and one.startswith(options):
            raise StepFailed("/with/arguments: a text from outside begins with -; put it after --, or into input")
    return tuple(given)


def _variables(given: Mapping[str, str | SecretRef], work: StepWork) -> tuple[dict[str, str], dict[str, str]]:
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    foreign = {text for _, text in texts([work.inputs])}
    for name, value in given.items():
        if isinstance(value, SecretRef):
            secrets[name] = env[name] = _secret(name, value.secret_ref, foreign)
        else:
            env[name] = value
        if "\0" in env[name] or len(env[name].encode()) > LONGEST:
            raise StepFailed(f"/with/env/{name}: must be text without NUL, at most {LONGEST // 1024} KiB")
    return env, secrets


def _secret(name: str, reference: str, foreign: set[str]) -> str:
    if reference in foreign:
        raise StepFailed(f"/with/env/{name}: a secret's reference must be written in the offering, not in an input")
    try:
        return resolve(reference)
    except SecretMissing as error:
        raise StepFailed(f"/with/env/{name}: {error}") from None

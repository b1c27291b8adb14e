"""The module of a step and its variables, as far as they can be judged without terraform."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from entresol_provisioning.drivers import StepFailed, StepWork, contracts
from entresol_provisioning.drivers.contracts import DestinationName, Files, Strict
from entresol_provisioning.drivers.workspaces import FILE_NAME, LONGEST_NAME, REFUSED_NAME

LARGEST_BYTES = 1024 * 1024
MOST_FILES = 200


class Spec(Strict):
    """Applies a module with tofu or terraform, which keeps a state for each resource and step."""

    model_config = ConfigDict(json_schema_extra={"required": ["files"]})
    rules = (
        {
            "properties": {
                "files": {
                    "propertyNames": {
                        "pattern": FILE_NAME,
                        "not": {"pattern": REFUSED_NAME},
                        "maxLength": LONGEST_NAME,
                        "errorMessage": "is not one that a file of a module may have",
                    },
                },
                "variables": {
                    "propertyNames": {
                        "pattern": r"^[\p{L}_][\p{L}\p{N}_-]*$",
                        "maxLength": LONGEST_NAME,
                        "errorMessage": "is not one of a variable: letters, digits, _ and -",
                    },
                },
            },
        },
        {
            "properties": {
                "files": {
                    "not": {"propertyNames": {"not": {"pattern": r"^[^/]+\.(tf|tofu)$"}}},
                    "errorMessage": "has no .tf file at its top",
                },
            },
        },
    )

    files: Files | None = Field(default=None, max_length=MOST_FILES)
    """The module: texts by path, with a .tf file at the top. Instead, module may name a folder beside the
    manifest, whose files are put here when it is applied."""
    variables: dict[str, Any] | None = None
    """Values of the module's variables. They are read literally: ${…} in an input stays text."""
    destination: DestinationName | None = None
    """Name of a Destination; a change of it is a reason to apply again."""


def read(work: StepWork) -> tuple[dict[str, str], dict[str, Any]]:
    """Files and variables; raise StepFailed if the module is too big, or terraform would read one as something else."""
    asked = contracts.read(Spec, work)
    if asked.files is None:
        raise StepFailed("/with/files: is missing; a terraform step needs a module, or module, its folder")
    return _files(asked.files), _variables(asked.variables or {})


def _files(files: Mapping[str, str]) -> dict[str, str]:
    if sum(len(text) for text in files.values()) > LARGEST_BYTES:
        raise StepFailed(f"/with/files: exceeds {LARGEST_BYTES // 1024} KiB")
    return dict(files)


def _variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(variables, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise StepFailed("/with/variables: hold characters that are no text") from None
    return dict(variables)

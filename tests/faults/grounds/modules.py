"""Terraform: its state, and a file to which the provisioners of its modules write."""

import json
from collections.abc import Iterator
from typing import Any

from tests.faults.grounds.ground import SIZES, STEPS, Effects, Ground, lines


class Modules(Ground):
    """Modules of terraform whose provisioners write down what they do."""

    driver = "terraform"

    def __post_init__(self) -> None:
        self.ledger = self.scratch / "terraform.ledger"
        self.workspaces = self.scratch / "workspaces"
        self.settings["WORKSPACES_ROOT"] = str(self.workspaces)

    def with_(self, step: str) -> dict[str, Any]:
        module = f"""
variable "name" {{ type = string }}
variable "size" {{ type = string }}
resource "terraform_data" "thing" {{
  input            = "${{var.name}}/{step}"
  triggers_replace = var.size
  provisioner "local-exec" {{
    command = "echo apply ${{self.input}} ${{self.triggers_replace}} >> {self.ledger}"
  }}
  provisioner "local-exec" {{
    when    = destroy
    command = "echo destroy ${{self.input}} ${{self.triggers_replace}} >> {self.ledger}"
  }}
}}
"""
        return {"files": {"main.tf": module}, "variables": {"name": "${request.name}", "size": "${inputs.size}"}}

    def effects(self) -> Effects:
        return lines(self.ledger)

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        for step in STEPS:
            if action != "create":
                yield f"destroy {name}/{step} {'small' if action == 'update' else 'large'}"
            if action != "delete":
                yield f"apply {name}/{step} {SIZES[action]}"

    def standing(self, name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for step in STEPS:
            for state in self.workspaces.glob(f"**/{name}/{step}/terraform.tfstate"):
                resources = json.loads(state.read_text(encoding="utf-8"))["resources"]
                instances = [one["attributes"] for kind in resources for one in kind["instances"]]
                sizes = [str(one["triggers_replace"]["value"]) for one in instances]
                found |= {step: "+".join(sizes)} if sizes else {}
        return found

    def left(self) -> Iterator[str]:
        yield from map(str, self.workspaces.rglob("*.lock.info"))

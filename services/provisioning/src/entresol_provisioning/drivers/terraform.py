"""The driver that applies a terraform module with `tofu` or `terraform`, whichever is installed.

`with`: `files` (a module, inlined) and `variables`. One working directory and state per resource and step.

- An attempt converges: it plans against the state and applies exactly that plan, so repeating one changes nothing.
- Sensitive outputs stay in the state; a step gives only `{"secretRef": "terraform:<workspace>#<name>"}`.
- At the deadline terraform is interrupted, so that it can still write its state, and killed some seconds later.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from entresol_eventing.failpoints import failpoint

from entresol_provisioning.drivers import Plan, StepFailed, StepResult, StepWork, workspaces
from entresol_provisioning.drivers.processes import Finished, run
from entresol_provisioning.drivers.workspaces import Workspace
from entresol_provisioning.settings import Settings

PLAN_FILE = "entresol.tfplan"
GRACE_SECONDS = 10.0
ERROR_LINES = 12
_NOT_PASSED_ON = ("ENTRESOL_", "TF_CLI_ARGS", "TF_LOG", "TF_VAR_", "TF_WORKSPACE", "TF_DATA_DIR")
_QUIET = ("-input=false", "-no-color")


class Terraform:
    name = "terraform"

    def __init__(self, settings: Settings) -> None:
        self._root = settings.workspaces
        self._named = settings.terraform
        self._turns = asyncio.Semaphore(settings.terraform_concurrency)

    def available(self) -> bool:
        return self._program() is not None

    async def close(self) -> None:
        pass

    async def plan(self, work: StepWork) -> Plan:
        workspace = workspaces.of(self._root, work)
        if work.destroys and not workspace.state.exists():
            return Plan()
        files, variables = workspaces.checked_files(work.with_), workspaces.checked_variables(work.with_)
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            copy = workspaces.scratch(self._root, workspace, work.idempotency_key)
            try:
                session = _Session(self._needed(), copy, lock, variables)
                await session.prepare(files)
                await session.plan(destroys=work.destroys)
                return await session.summary()
            finally:
                workspaces.remove(copy)

    async def apply(self, work: StepWork) -> StepResult:
        workspace = workspaces.of(self._root, work)
        files, variables = workspaces.checked_files(work.with_), workspaces.checked_variables(work.with_)
        program = self._needed()
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            workspace.place.mkdir(parents=True, exist_ok=True, mode=0o700)
            session = _Session(program, workspace, lock, variables)
            await session.prepare(files)
            message = "nothing to change"
            if await session.plan():
                plan = await session.summary()
                message = f"{plan.adds} added, {plan.changes} changed, {plan.destroys} destroyed"
                await session.apply()
            return StepResult(await session.outputs(), message)

    async def destroy(self, work: StepWork) -> StepResult:
        workspace = workspaces.of(self._root, work)
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            if not workspace.state.exists():
                workspaces.remove(workspace)
                return StepResult(message="nothing there")
            files, variables = workspaces.checked_files(work.with_), workspaces.checked_variables(work.with_)
            session = _Session(self._needed(), workspace, lock, variables)
            await session.prepare(files)
            plan = Plan()
            if await session.plan(destroys=True):
                plan = await session.summary()
                await session.apply()
            workspaces.remove(workspace)
            return StepResult(message=f"{plan.destroys} destroyed")

    def _program(self) -> str | None:
        if self._named:
            return shutil.which(self._named)
        return shutil.which("tofu") or shutil.which("terraform")

    def _needed(self) -> str:
        program = self._program()
        if program is None:
            wanted = self._named or "tofu or terraform"
            raise StepFailed(f"the program {wanted} is missing here; install it, or set where it is")
        return program


class _Session:
    """Terraform in one workspace, while its lock is held."""

    def __init__(self, program: str, workspace: Workspace, lock: int, variables: Mapping[str, Any]) -> None:
        self._program = program
        self._workspace = workspace
        self._lock = lock
        self._variables = variables

    async def prepare(self, files: Mapping[str, str]) -> None:
        if self._workspace.write(files, self._variables):
            await self._run("init", *_QUIET)
            self._workspace.initialised(files)

    async def plan(self, *, destroys: bool = False) -> bool:
        """Make the plan; return whether it changes anything."""
        options = ("-destroy",) if destroys else ()
        files = (f"-out={PLAN_FILE}", f"-var-file={workspaces.VARIABLES}")
        done = await self._run("plan", *_QUIET, "-detailed-exitcode", *files, *options, good=(0, 2))
        return done.code == 2

    async def summary(self) -> Plan:
        document = json.loads((await self._run("show", "-json", PLAN_FILE)).out)
        adds = changes = destroys = 0
        summary = []
        for one in document.get("resource_changes", []):
            actions = one["change"]["actions"]
            adds += "create" in actions
            changes += "update" in actions
            destroys += "delete" in actions
            if actions not in (["no-op"], ["read"]):
                summary.append(f"{' and '.join(actions)} {one['address']}")
        return Plan(adds, changes, destroys, tuple(summary))

    async def apply(self) -> None:
        failpoint("effect.middle")
        try:
            await self._run("apply", *_QUIET, PLAN_FILE)
        finally:
            (self._workspace.place / PLAN_FILE).unlink(missing_ok=True)

    async def outputs(self) -> dict[str, Any]:
        found = json.loads((await self._run("output", "-json", "-no-color")).out or "{}")
        return {
            name: {"secretRef": f"terraform:{self._workspace.name}#{name}"} if one.get("sensitive") else one["value"]
            for name, one in found.items()
        }

    async def _run(self, *arguments: str, good: tuple[int, ...] = (0,)) -> Finished:
        done = await run(
            (self._program, *arguments),
            env=_environment(),
            directory=self._workspace.place,
            grace_seconds=GRACE_SECONDS,
            keep_open=(self._lock,),
        )
        if done.code not in good:
            raise StepFailed(f"{Path(self._program).name} {arguments[0]} failed: {self._said(done)}", retryable=True)
        return done

    def _said(self, done: Finished) -> str:
        """The last lines of what it said, without the variables' values."""
        lines = [line.strip("│╷╵ ") for line in (done.err or done.out).splitlines()]
        said = "\n".join([line for line in lines if line][-ERROR_LINES:])
        for value in sorted(set(_texts(self._variables)), key=len, reverse=True):
            said = said.replace(value, "…")
        return said[:2000] or f"exit code {done.code}"


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    return env | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str) and len(value) >= 3:
        yield value

"""The driver that applies a terraform module with `tofu` or `terraform`, whichever is installed.

One working directory and state per resource and step.

- An attempt converges: it plans against the state and applies exactly that plan, so repeating one changes nothing.
- Sensitive outputs stay in the state; a step gives only `{"secretRef": "terraform:<workspace>#<name>"}`.
- What is approved is every change of a resource or an output, from which value to which, of this module with these
  variables. What is left after an apply that failed half way is another plan.
- `observe` plans a copy of the state against the world. To adopt, the module's `import` blocks are carried out, by a
  plan that does nothing else.
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

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepWork, workspaces
from entresol_provisioning.drivers.contracts import contract
from entresol_provisioning.drivers.processes import LARGEST_BYTES, Finished, run
from entresol_provisioning.drivers.terraform import changes, modules, sightings
from entresol_provisioning.drivers.workspaces import Workspace
from entresol_provisioning.settings import Settings

PLAN_FILE = "entresol.tfplan"
LARGEST_PLAN_BYTES = 128 * 1024 * 1024
GRACE_SECONDS = 10.0
NOT_THERE = "Cannot import non-existent remote object"
ERROR_LINES = 12
_NOT_PASSED_ON = ("ENTRESOL_", "TF_CLI_ARGS", "TF_LOG", "TF_VAR_", "TF_WORKSPACE", "TF_DATA_DIR")
_QUIET = ("-input=false", "-no-color")


class Terraform:
    name = "terraform"
    contract = contract(modules.Spec)

    def __init__(self, settings: Settings) -> None:
        self._root = settings.workspaces
        self._named = settings.terraform
        self._turns = asyncio.Semaphore(settings.terraform_concurrency)

    def available(self) -> bool:
        return self._program() is not None

    async def plan(self, work: StepWork) -> Plan:
        workspace = workspaces.with_state(self._root, work)
        key = workspaces.digest_key(self._root)
        if work.destroys and not workspace.state.exists():
            return changes.outline({}, work.with_, key)
        files, variables = modules.read(work)
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            document = await self._looked(work, workspace, lock, files, variables)
        return await asyncio.to_thread(changes.outline, document, work.with_, key)

    async def apply(self, work: StepWork) -> StepResult:
        workspace = workspaces.with_state(self._root, work)
        files, variables = modules.read(work)
        program = self._needed()
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            workspace.place.mkdir(parents=True, exist_ok=True, mode=0o700)
            session = _Session(program, workspace, lock, variables)
            await session.prepare(files)
            message = "nothing to change"
            if (plan := await self._agreed(session, work, destroys=False)) is not None:
                message = f"{plan.adds} added, {plan.changes} changed, {plan.destroys} destroyed"
                await session.apply()
            return StepResult(await session.outputs(), message)

    async def destroy(self, work: StepWork) -> StepResult:
        workspace = workspaces.with_state(self._root, work)
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            if not workspace.state.exists():
                if not work.attempted:
                    work.hold_to(changes.outline({}, work.with_, workspaces.digest_key(self._root)).digest)
                workspaces.remove(workspace)
                return StepResult(message="nothing there")
            files, variables = modules.read(work)
            session = _Session(self._needed(), workspace, lock, variables)
            await session.prepare(files)
            if (plan := await self._agreed(session, work, destroys=True)) is not None:
                await session.apply()
            workspaces.remove(workspace)
            return StepResult(message=f"{0 if plan is None else plan.destroys} destroyed")

    async def observe(self, work: StepWork) -> Observation:
        workspace = workspaces.with_state(self._root, work, proves=work.destroys)
        if not work.adopts and not workspace.state.exists():
            return Observation(exists=False)
        files, variables = modules.read(work)
        async with self._turns, workspaces.locked(self._root, workspace) as lock:
            if work.adopts:
                document = await self._adopted(workspace, lock, files, variables)
            else:
                document = await self._looked(work, workspace, lock, files, variables, whole=True)
        return await asyncio.to_thread(sightings.observation, document, workspace.refer)

    async def close(self) -> None:
        pass

    async def _looked(
        self,
        work: StepWork,
        workspace: Workspace,
        lock: int,
        files: Mapping[str, str],
        variables: Mapping[str, Any],
        *,
        whole: bool = False,
    ) -> dict[str, Any]:
        """The plan of the work, made on a copy."""
        copy = workspaces.scratch(self._root, workspace, work.idempotency_key, files)
        try:
            session = _Session(self._needed(), copy, lock, variables)
            await session.prepare(files)
            return await session.plan(destroys=work.destroys, lies_in=workspace, whole=whole)
        finally:
            workspaces.remove(copy)

    async def _adopted(
        self, workspace: Workspace, lock: int, files: Mapping[str, str], variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The plan after what the module imports is in the state; raises StepFailed if more would have to be done."""
        program = self._needed()
        workspace.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        session = _Session(program, workspace, lock, variables)
        try:
            await session.prepare(files)
            document = await session.plan(destroys=False, whole=True)
            if sightings.imported(document):
                if others := sightings.touched(document):
                    raise StepFailed(
                        "it can't be adopted as it is, because the module would do more than import it: "
                        + "; ".join(others[:ERROR_LINES])
                        + (f" and {len(others) - ERROR_LINES} more" if len(others) > ERROR_LINES else "")
                    )
                await session.apply()
                document = await session.plan(destroys=False, whole=True)
            return document
        except StepFailed as failure:
            if NOT_THERE in failure.reason:
                return {}
            raise
        finally:
            session.discard()
            if not workspace.state.exists():
                workspaces.remove(workspace)

    async def _agreed(self, session: "_Session", work: StepWork, *, destroys: bool) -> Plan | None:
        """What `session.apply` would now do; None if nothing. Raises PlanOutdated if that is not what was approved."""
        try:
            document = await session.plan(destroys=destroys)
            if not document and work.attempted:
                return None  # an earlier attempt has done it
            key = workspaces.digest_key(self._root)
            plan = await asyncio.to_thread(changes.outline, document, work.with_, key)
            work.hold_to(plan.digest)
        except BaseException:
            session.discard()
            raise
        return plan if document else None

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
            settings = self._workspace.place / ".terraform"
            if (settings / "terraform.tfstate").exists():  # where terraform keeps what it was told of a backend
                await asyncio.to_thread(shutil.rmtree, settings)
                raise StepFailed("the module names a backend; its state is kept beside the service, so take that out")
            self._workspace.initialised(files)

    async def plan(self, *, destroys: bool, lies_in: Workspace | None = None, whole: bool = False) -> dict[str, Any]:
        """Make the plan; return it as terraform shows it, empty if it changes nothing and is not wanted whole.

        A module may name its directory, so a copy's plan is told as if it were made in the workspace that it is of.
        """
        options = ("-destroy",) if destroys else ()
        files = (f"-out={PLAN_FILE}", f"-var-file={workspaces.VARIABLES}")
        done = await self._run("plan", *_QUIET, "-detailed-exitcode", *files, *options, good=(0, 2))
        if done.code == 0 and not whole:
            return {}
        shown = (await self._run("show", "-json", PLAN_FILE, largest_bytes=LARGEST_PLAN_BYTES)).out
        try:
            return await asyncio.to_thread(_document, shown, self._workspace, lies_in or self._workspace)
        except ValueError:
            raise StepFailed(f"its plan exceeds {LARGEST_PLAN_BYTES // 1024**2} MiB or can't be read") from None

    def discard(self) -> None:
        """Forget the plan, which may hold secrets."""
        (self._workspace.place / PLAN_FILE).unlink(missing_ok=True)

    async def apply(self) -> None:
        failpoint("effect.middle")
        try:
            await self._run("apply", *_QUIET, PLAN_FILE)
        finally:
            self.discard()

    async def outputs(self) -> dict[str, Any]:
        said = (await self._run("output", "-json", "-no-color")).out
        try:
            found = json.loads(said or "{}")
        except ValueError:
            raise StepFailed(f"its outputs exceed {LARGEST_BYTES // 1024**2} MiB or can't be read") from None
        return {
            name: self._workspace.refer(name) if one.get("sensitive") else one["value"] for name, one in found.items()
        }

    async def _run(self, *arguments: str, good: tuple[int, ...] = (0,), largest_bytes: int = LARGEST_BYTES) -> Finished:
        done = await run(
            (self._program, *arguments),
            env=_environment(),
            directory=self._workspace.place,
            grace_seconds=GRACE_SECONDS,
            keep_open=(self._lock,),
            largest_bytes=largest_bytes,
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


def _document(shown: str, made_in: Workspace, lies_in: Workspace) -> dict[str, Any]:
    here, there = (json.dumps(os.path.realpath(one.place))[1:-1] for one in (made_in, lies_in))
    document: dict[str, Any] = json.loads(shown if here == there else shown.replace(here, there))
    return document


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

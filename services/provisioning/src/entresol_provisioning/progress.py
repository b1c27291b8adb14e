"""How far a run is, as it is told and remembered."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_contracts.events import RunProgressed
from entresol_eventing.reactions import Outcome

from entresol_provisioning.claims import DESTROY
from entresol_provisioning.domain.graph import StepState
from entresol_provisioning.domain.requests import APPLY, Request
from entresol_provisioning.endings import about
from entresol_provisioning.verdicts import Verdict

TAKEN_DOWN: Final = "taken down"


def tell(request: Request, verdict: Verdict, steps: Mapping[str, StepState]) -> Iterator[Outcome]:
    """Nothing is said of steps that are only planned for policy: it hears of the whole plan."""
    if request.phase == APPLY:
        yield about(
            request,
            RunProgressed,
            step=verdict.step,
            state=verdict.state,
            attempt=verdict.attempt,
            message=verdict.message or (TAKEN_DOWN if (verdict.act, verdict.state) == (DESTROY, "succeeded") else None),
            outputs=verdict.outputs or None,
            running=[name for name, one in steps.items() if one.state == "ready"],
        )


def noted(verdict: Verdict) -> dict[str, Any] | None:
    """What is told of the step when the run has ended."""
    if verdict.kept is not None:
        return {"kept": verdict.kept}
    if verdict.differences:
        step = verdict.step
        return {"differences": [{"step": step, "path": one.path, "change": one.change} for one in verdict.differences]}
    return None


def only(verdict: Verdict) -> StepState:
    """The step of a run that has no other."""
    return StepState(
        name=verdict.step,
        needs=(),
        state=verdict.state,
        outputs=verdict.outputs,
        plan=verdict.plan,
        driver="" if verdict.undo is None else verdict.undo["driver"],
        act=verdict.act,
        memory=noted(verdict),
    )

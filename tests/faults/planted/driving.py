"""Bugs in drivers: an effect of an earlier attempt that is not looked for, or not taken for what it is."""

from typing import Any

from entresol_provisioning.drivers import StepResult, StepWork
from entresol_provisioning.drivers.exec.executions import Execution
from entresol_provisioning.drivers.git import history, trees
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.gitops import commits
from entresol_provisioning.drivers.gitops.targets import Target
from entresol_provisioning.drivers.gitops.wishes import Wish
from entresol_provisioning.drivers.http import carrying

from tests.faults.planted.seams import replace


def commit_not_looked_for() -> None:
    """A step that was interrupted commits again, without a look at whether it had."""

    def make(_: Any) -> Any:
        def anyway(view: View, work: StepWork, target: Target, wish: Wish, committer: str) -> StepResult:
            tip = view.tips[target.branch]
            change, difference, files = commits.weigh(view, work, tip, wish)
            parents = () if tip is None else (tip,)
            new = trees.commit(view.objects, parents, tip, change, difference, history.message(work), committer)
            view.tips[target.branch] = new
            return StepResult(commits.outputs(target, files, new.decode()), "committed")

        return anyway

    replace(commits, "add", make)


def call_not_looked_for() -> None:
    """A call that an earlier attempt may have made is made again, without a look at what came of it."""

    def make(_: Any) -> Any:
        async def never(*arguments: Any) -> bool:
            return False

        return never

    replace(carrying, "_was_done", make)


def end_of_program_ignored() -> None:
    """A program that has ended while nobody waited for it is started again."""
    replace(Execution, "ended", lambda _: lambda self: None)

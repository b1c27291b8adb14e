"""One round after another at each repository: what waits is prepared together, and put onto the branches in one go.

A round reads the branches, lets every step that waits look at them and add its own commit on top of those before it,
and moves the branches by compare-and-set: one push carries many commits, and still each step has its own. Where
somebody else was first, the steps of that branch are in the next round again and look anew. What a step is told holds
for the branch as it then is: an answer that rests on commits which did not get there is thrown away.
"""

import asyncio
import copy
import random
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dulwich.objects import ObjectID
from dulwich.repo import Repo
from entresol_eventing.failpoints import failpoint

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.git import refs
from entresol_provisioning.drivers.git.objects import Damaged, Objects, opened
from entresol_provisioning.drivers.git.pace import Pace
from entresol_provisioning.drivers.git.remotes import Move, Remote, remember
from entresol_provisioning.drivers.git.views import Job, View

ATTEMPTS = 50
"""How often a branch may be moved by somebody else before a step is put off."""
TIDY_ROUNDS = 64
"""After how many rounds the packs of a mirror, one of each fetch and push, are put together."""


P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Asked:
    job: Job
    branches: frozenset[str]
    answer: "asyncio.Future[Any]"
    deadline: float
    trailer: bytes | None
    reads: bool
    tries: int = 0
    alone: bool = False

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    @property
    def remaining(self) -> bool:
        return not self.answer.done()


class Rounds:
    """The rounds at one repository: a bare one that lies here, or the mirror of a remote one."""

    def __init__(self, place: Path, remote: Remote | None) -> None:
        self._place = place
        self._remote = remote
        self._waiting: list[_Asked] = []
        self._acting: list[_Asked] = []
        self._running: asyncio.Task[None] | None = None
        self._left_at: dict[str, ObjectID | None] = {}
        self._pace = Pace()
        self._done = 0
        self._moving = False
        self._seen: Mapping[str, str | None] = {}

    @property
    def idle(self) -> bool:
        return self._running is None and not self._pace.expects_others

    async def ask(
        self,
        job: Job,
        branches: Collection[str],
        *,
        deadline: float = float("inf"),
        trailer: bytes | None = None,
        reads: bool = False,
    ) -> Any:
        """What the job gives in the round whose commits got onto the branches; raises what it raises.

        `reads`: it sets no tips and looks only at heads. `trailer`: what it may ask `find` for.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(job, frozenset(branches), answer, deadline, trailer, reads))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            return await answer
        except asyncio.CancelledError:
            if not self._left():
                await self._stop()
            raise

    async def close(self) -> None:
        """Stop in the middle of a round; what got onto a branch is found there by its trailer."""
        for one in self._left():
            one.answer.cancel()
        await self._stop()

    async def _stop(self) -> None:
        if (running := self._running) is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _left(self) -> list[_Asked]:
        return [one for one in (*self._acting, *self._waiting) if one.remaining]

    async def _run(self) -> None:
        try:
            while self._take():
                began, acting = time.monotonic(), len(self._acting)
                self._pace.went(acting, refused=await self._round_or_fail())
                if self._waiting:
                    await self._await_turn(began)
        finally:
            # Somebody may have asked while it was being stopped, because nobody was left.
            self._acting, self._waiting, self._running = [], self._left(), None
            if self._waiting:
                self._running = asyncio.create_task(self._run())

    async def _await_turn(self, began: float) -> None:
        """Whoever was faster has to come by again before the next try: right after that there is most time for it."""
        if self._remote is not None and self._pace.refusals > 1:
            await self._remote.moved(self._place, self._seen, random.uniform(0.1, 0.5))
        else:
            await asyncio.sleep(self._pace.rest_seconds(began))

    async def _round_or_fail(self) -> bool:
        try:
            try:
                refused = await self._round(trusting=self._remote is None)
            except Damaged:
                if self._remote is None:
                    raise
                # A mirror holds nothing of its own, and a power cut may have left anything in it.
                await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)
                refused = await self._round(trusting=True)
        except Exception as error:
            if isinstance(error, OSError):
                error = StepFailed(f"the repository can't be worked with: {error.strerror or error}", retryable=True)
            for one in self._acting:
                failure = copy.copy(error)
                if isinstance(failure, StepFailed):
                    failure.untouched = not self._moving
                one.fail(failure)
            return False
        self._done += 1
        if self._remote is not None and self._done % TIDY_ROUNDS == 0:
            await self._remote.tidy(self._place)
        return refused

    def _take(self) -> bool:
        waiting = [one for one in self._waiting if one.remaining]
        alone = next((one for one in waiting if one.alone), None)
        self._acting = waiting[: self._pace.most] if alone is None else [alone]
        self._waiting = [one for one in waiting if one not in self._acting] if alone else waiting[self._pace.most :]
        return bool(self._acting)

    async def _round(self, *, trusting: bool) -> bool:
        """Do it once for all who are acting; return whether somebody else came first.

        Unless it is trusted, a repository that is damaged fails the round, and nobody has been answered yet.
        """
        self._moving = False
        branches = frozenset[str]().union(*(one.branches for one in self._acting))
        fetched = None
        if self._remote is not None:
            fetched = await self._remote.heads(self._place, branches, moved=self._pace.refusals > 0)
            self._seen = fetched
        with await _in_thread(opened, self._place) as repo:
            view = await _in_thread(self._look, repo, branches, fetched)
            outcomes = await _in_thread(self._perform, view)
            if not trusting and (damage := next((one for _, one in outcomes if isinstance(one, Damaged)), None)):
                raise damage
            moves = {one: tip for one, tip in view.tips.items() if tip != view.heads[one]}
            rest = []
            for one, (value, error) in zip(self._acting, outcomes, strict=True):
                if not one.reads and one.branches & moves.keys():
                    rest.append((one, value, error))
                else:
                    _deliver(one, value, error)
            refused: Mapping[str, StepFailed | None] = {}
            if moves:
                self._moving = True
                failpoint("effect.middle")
                refused = await self._move(repo, view, moves)
        self._left_at = {branch: tip for branch, tip in view.tips.items() if branch not in refused}
        self._acting = []
        for one, value, error in rest:
            hindered = [branch for branch in sorted(one.branches & moves.keys()) if branch in refused]
            if hindered:
                self._again(one, refused[hindered[0]])
            else:
                _deliver(one, value, error)
        return any(reason is None for reason in refused.values())

    def _again(self, one: _Asked, reason: StepFailed | None) -> None:
        """Let it be in another round; alone if the branch was refused for what one of several may have brought."""
        one.tries += 1
        if reason is not None:
            if one.alone:
                refusal = copy.copy(reason)
                refusal.untouched = True
                one.fail(refusal)
                return
            one.alone = True
        elif one.tries >= ATTEMPTS or time.monotonic() > one.deadline:
            one.fail(StepFailed("others keep moving the branch", retryable=True, untouched=True))
            return
        self._waiting.insert(0, one)

    def _look(self, repo: Repo, branches: frozenset[str], fetched: Mapping[str, str | None] | None) -> View:
        heads: dict[str, ObjectID | None] = {}
        for branch in branches:
            if fetched is None:
                heads[branch] = refs.head_of(repo, branch)
            else:
                head = fetched[branch]
                heads[branch] = None if head is None else ObjectID(head.encode())
            if heads[branch] != self._left_at.get(branch, heads[branch]):
                self._pace.meet_others()
        trailers = {one.trailer for one in self._acting if one.trailer is not None}
        return View(Objects(repo), heads, dict(heads), trailers)

    def _perform(self, view: View) -> list[tuple[Any, Exception | None]]:
        outcomes: list[tuple[Any, Exception | None]] = []
        for one in self._acting:
            try:
                outcomes.append((one.job(view), None))
            except Exception as error:
                if isinstance(error, StepFailed):
                    error.untouched = True
                outcomes.append((None, error))
        if self._remote is None:
            view.objects.save()
        return outcomes

    async def _move(
        self, repo: Repo, view: View, moves: Mapping[str, ObjectID | None]
    ) -> Mapping[str, StepFailed | None]:
        if self._remote is None:
            return await _in_thread(_move_here, repo, view, moves)
        texts = {one: Move(_text(view.heads[one]), _text(tip)) for one, tip in moves.items()}
        packed = await _in_thread(view.objects.pack)
        refused: Mapping[str, StepFailed | None] = texts.fromkeys(texts)
        try:
            refused = await self._remote.push(self._place, texts)
        finally:
            if refused.keys() == texts.keys() or self._remote.shares(self._place):
                for file in packed:
                    file.unlink(missing_ok=True)
        if not self._remote.shares(self._place):
            await _in_thread(remember, repo, {one: tip for one, tip in moves.items() if one not in refused})
        return refused


def _move_here(repo: Repo, view: View, moves: Mapping[str, ObjectID | None]) -> dict[str, StepFailed | None]:
    refused: dict[str, StepFailed | None] = {}
    for branch, tip in moves.items():
        try:
            if not refs.move(repo, branch, view.heads[branch], tip):
                refused[branch] = None
        except StepFailed as error:
            refused[branch] = error
    return refused


def _deliver(one: _Asked, value: Any, error: Exception | None) -> None:
    if error is not None:
        one.fail(error)
    elif not one.answer.done():
        one.answer.set_result(value)


def _text(commit: ObjectID | None) -> str | None:
    return None if commit is None else commit.decode()


async def _in_thread(act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """As asyncio.to_thread, but over when it ends, also if it is cancelled: no thread goes on by itself."""
    running = asyncio.ensure_future(asyncio.to_thread(act, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise

"""The driver that calls an API: makes something and waits until it is done, or starts a workflow somewhere else.

`with` is described in `spec`. What holds:

- Effects at most once. A call carries the step's key; where an earlier attempt may have been received, what it did is
  looked for (`find`, `read`) before anything is sent again, and a call that can be neither found nor repeated fails.
- Waiting is suspended, with the place to ask remembered, so it survives restarts.
- Where `read` is, a step is done when it shows what is desired, and taken down when it shows nothing any more.
- What is approved is the call, and what of the desired fields would be changed by it, from which value.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from entresol_eventing.egress import Egress, Permitted, egress

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepWork, workspaces
from entresol_provisioning.drivers.contracts import contract, read
from entresol_provisioning.drivers.http import waiting
from entresol_provisioning.drivers.http.api import api_of
from entresol_provisioning.drivers.http.carrying import act
from entresol_provisioning.drivers.http.expressions import Evaluator
from entresol_provisioning.drivers.http.ledger import Ledger, Marks
from entresol_provisioning.drivers.http.planning import intend
from entresol_provisioning.drivers.http.session import Seen, Session
from entresol_provisioning.drivers.http.spec import HOLDING, Spec
from entresol_provisioning.holdings import addresses
from entresol_provisioning.settings import Settings

USER_AGENT = "entresol-provisioning"


class Http:
    name = "http"
    contract = contract(Spec)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._evaluator = Evaluator()
        self._ledger = Ledger()
        self._marks = Marks(settings.calls)
        self._opened = AsyncExitStack()
        self._egress: Egress | None = None
        self._opening = asyncio.Lock()

    def available(self) -> bool:
        return True

    async def plan(self, work: StepWork) -> Plan:
        session = await self._session(work)
        return (await intend(session, await session.read(), removes=work.destroys)).plan()

    async def apply(self, work: StepWork) -> StepResult:
        return await self._act(work, removes=False)

    async def destroy(self, work: StepWork) -> StepResult:
        result = await self._act(work, removes=True)
        self._marks.drop(work)
        return result

    async def observe(self, work: StepWork) -> Observation:
        """Without `read` it leaves nothing that could be found; what was done once is taken to be there."""
        session = await self._session(work)
        seen = await session.read()
        if seen is None:
            if session.spec.read is not None and work.adopts:
                raise StepFailed("it can only be read by what its creation gives, so it can't be adopted")
            there = not work.destroys and (work.adopts or session.owned)
            return Observation(exists=there, outputs=await _outputs(session, None) if there else None)
        if seen.response is None:
            return Observation(exists=False)
        if work.destroys:
            return Observation(exists=session.owned)
        if work.adopts:
            await _refuse_taken(session, seen)
        return Observation(exists=True, differences=seen.differences, outputs=await _outputs(session, seen))

    async def close(self) -> None:
        self._egress = None
        await self._opened.aclose()
        await self._evaluator.close()

    async def _act(self, work: StepWork, *, removes: bool) -> StepResult:
        session = await self._session(work)
        with waiting.suspending(session):
            return await act(session, self._ledger, self._marks, removes=removes)

    async def _session(self, work: StepWork) -> Session:
        spec = read(Spec, work)
        settings = self._settings
        async with self._opening:
            if self._egress is None:
                permitted = Permitted(
                    settings.http_allow_loopback, settings.http_allow_plain, settings.http_allow_private_networks
                )
                way = egress(permitted, settings.http_seconds, settings.http_resolvers, USER_AGENT)
                self._egress = await self._opened.enter_async_context(way)
        api = api_of(spec, work, self._egress, settings.http_answer_bytes)
        key = workspaces.digest_key(settings.workspaces)
        return Session(work, spec, api, self._evaluator, self._marks.has(work), key)


async def _refuse_taken(session: Session, seen: Seen) -> None:
    """Raise StepFailed if the thing is another resource's already."""
    holding = await session.holding()
    held = {} if holding is None else await session.work.others(addresses(Http.name, {HOLDING: holding}))
    for resource in held.values():
        if resource != session.work.resource_id:
            raise StepFailed(f"{seen.url} belongs to {resource}; it can't be adopted")


async def _outputs(session: Session, seen: Seen | None) -> dict[str, Any] | None:
    try:
        return await session.results(seen)
    except StepFailed:
        return None

"""What a step would do now: the one call, if any, and the digest that approves it."""

from dataclasses import dataclass
from typing import Literal

from entresol_provisioning.drivers import Plan, StepFailed, Touched
from entresol_provisioning.drivers.http.places import without_query
from entresol_provisioning.drivers.http.session import Seen, Session
from entresol_provisioning.drivers.http.spec import FINGERPRINT, Call

STEADY = frozenset({"create", "update", "reconcile", "rollback"})
"""Actions that bring about a state; every other action is done each time that it is asked for."""
_SIGNS = {"add": "+", "change": "~", "destroy": "-"}


@dataclass(frozen=True, slots=True)
class Intent:
    do: Literal["nothing", "add", "change", "destroy"]
    digest: str
    name: str = ""
    """Which call of the spec it is."""
    call: Call | None = None
    url: str = ""
    address: str = ""

    def plan(self) -> Plan:
        if self.do == "nothing" or self.call is None:
            return Plan(digest=self.digest)
        return Plan(
            digest=self.digest,
            adds=int(self.do == "add"),
            changes=int(self.do == "change"),
            destroys=int(self.do == "destroy"),
            summary=(f"{_SIGNS[self.do]} {self.call.method} {without_query(self.url)}",),
            resources=(Touched(self.address, self.do),),
        )


async def intend(session: Session, seen: Seen | None, *, removes: bool) -> Intent:
    """What would be done, without doing it. Raise StepFailed if something is there that the resource has not made."""
    do = _removal(session, seen) if removes else _change(session, seen)
    if do == "nothing":
        return Intent(do, session.digest({"do": do, "step": None if removes else session.fingerprint()}))
    name, call = called(session, is_new=do == "add", removes=removes)
    assert call is not None
    url = await session.url(name, call, None if seen is None else seen.response)
    digest = session.digest(
        {
            "do": do,
            "call": [call.method, url, call.headers, call.body],
            "before": session.before.get(FINGERPRINT) if seen is None else seen.values,
        }
    )
    return Intent(do, digest, name, call, url, without_query(url) if seen is None else seen.url)


def called(session: Session, *, is_new: bool, removes: bool) -> tuple[str, Call | None]:
    """The call that such a change needs, and its name in the spec."""
    spec = session.spec
    if removes:
        return "destroy", spec.destroy
    return ("apply", spec.apply) if is_new or spec.update is None else ("update", spec.update)


def refuse_foreign(session: Session, seen: Seen | None) -> None:
    """Raise StepFailed if something is there that is not the resource's, unless the step says that this is fine."""
    if seen is None or seen.response is None or session.owned or session.spec.apply.already:
        return
    raise StepFailed(f"{seen.url} is there already, and not made by this resource; adopt it, or name it otherwise")


def _removal(session: Session, seen: Seen | None) -> Literal["nothing", "destroy"]:
    there = session.owned and (seen is None or seen.response is not None)
    return "destroy" if there and session.spec.destroy is not None else "nothing"


def _change(session: Session, seen: Seen | None) -> Literal["nothing", "add", "change"]:
    work, spec = session.work, session.spec
    if seen is not None and seen.response is None:
        return "add"
    if seen is None and FINGERPRINT not in session.before:
        return "add"
    refuse_foreign(session, seen)
    if seen is not None and seen.differences:
        return "change"
    if session.before.get(FINGERPRINT, session.fingerprint()) != session.fingerprint():
        return "change"
    return "nothing" if spec.desired or work.action in STEADY else "change"

"""Answer what waits for people: approve, reject, take an answer back, hand it on to somebody else."""

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.doors.lookup import approval_id, segment
from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.telling.plans import outline
from entresol.terminal import clean

Approval = Annotated[
    str,
    typer.Argument(help="Its id or its request's, a unique beginning, or the resource.", show_default=False),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the answer.")]
Document = dict[str, Any]

_MOMENT_SECONDS = 10.0
_SETTLED_SECONDS = 0.25
"""The catalog shows what was said before it hears that policy refused it. Policy says nothing of what counts."""
_LOOK_SECONDS = 0.05


def approve(session: Session, approval: Approval, reason: Reason = None) -> None:
    """Grant an approval. Policy decides whether the answer counts; `entresol status` of the request tells.

    If the request was planned, that plan is what is approved, and no other is applied.

    [bold]Examples[/bold]

      entresol approve 0193f2c4-81 --reason "load test was fine"

      entresol status            (lists what waits, and for whom)
    """
    answer(session, approval_id(session.client, approval), "granted", reason)


def reject(session: Session, approval: Approval, reason: Reason = None) -> None:
    """Refuse an approval: the request ends.

    [bold]Example[/bold]   entresol reject 0193f2c4-81 --reason "not during the sale"
    """
    answer(session, approval_id(session.client, approval), "rejected", reason)


def withdraw(session: Session, approval: Approval, reason: Reason = None) -> None:
    """Take back a grant of yours while the approval is still open.

    [bold]Example[/bold]   entresol withdraw 0193f2c4-81 --reason "the plan is not what I thought"
    """
    wanted = approval_id(session.client, approval)
    body = {"reason": reason} if reason else {}
    _say(session, wanted, "withdraw", body, "withdrawn", "took back the grant of")


def delegate(
    session: Session,
    approval: Approval,
    to: Annotated[str, typer.Option(metavar="user:NAME", help="Who may answer in your place.", show_default=False)],
    reason: Reason = None,
) -> None:
    """Hand an approval that you may answer on to another person, for this one time.

    [bold]Example[/bold]   entresol delegate 0193f2c4-81 --to user:bob --reason "on leave"
    """
    wanted = approval_id(session.client, approval)
    body = {"to": to} | ({"reason": reason} if reason else {})
    _say(session, wanted, "delegate", body, "delegations", f"{to} may answer")


def answer(session: Session, wanted: str, said: str, reason: str | None, verb: str = "") -> None:
    """Answer an approval or a review, and tell what it was about; raise Failure if the answer does not count."""
    item = session.client.approval(wanted)
    accepted = session.client.answer(wanted, said, reason)
    after = _verdict(session, item, accepted, "answers")
    document = {"approval": wanted, "answer": said, "counted": _counted(after), "plan": item.get("plan"), **accepted}
    line = f"{verb or said} {'review' if item.get('review') else 'approval'} {wanted}{_outcome(after)}"
    session.terminal.result(document, Text(clean(line)), *outline(item.get("plan")))


def _say(session: Session, wanted: str, path: str, body: Document, shown_in: str, text: str) -> None:
    item = session.client.approval(wanted)
    accepted = session.client.write("POST", f"/v1/approvals/{segment(wanted)}/{path}", body)
    after = _verdict(session, item, accepted, shown_in)
    document = {"approval": wanted, "counted": _counted(after), **accepted}
    session.terminal.result(document, Text(clean(f"{text} approval {wanted}{_undecided(after)}")))


def _counted(after: Document | None) -> bool | None:
    return None if after is None else True


def _undecided(after: Document | None) -> str:
    return "" if after else "; policy has not said yet whether it counts"


def _outcome(after: Document | None) -> str:
    waits = after is not None and after.get("state") == "pending"
    return "; it waits for others as well" if waits else _undecided(after)


def _verdict(session: Session, before: Document, accepted: Document, shown_in: str) -> Document | None:
    """The approval as it is once what was said counts; None if policy hasn't said within a moment; raise Failure if
    it does not count.

    What others say at the same time is told apart by who said it: their grant may end an approval before one's own
    is refused.
    """
    approval, by = accepted["id"], accepted["by"]
    refused, said = (len(_of(by, before, name)) for name in ("refused", shown_in))
    deadline = time.monotonic() + _MOMENT_SECONDS
    seen_at: float | None = None
    while (now := time.monotonic()) < deadline:
        item = session.client.approval(approval)
        if len(refusals := _of(by, item, "refused")) > refused:
            raise Failure(f"the answer does not count: {refusals[-1]['reason']}", Code.NOT_ALLOWED)
        if len(_of(by, item, shown_in)) > said:
            seen_at = seen_at or now
            decided = shown_in == "answers" and item.get("state") in ("granted", "rejected")
            if decided or now - seen_at >= _SETTLED_SECONDS:
                return item
        time.sleep(_LOOK_SECONDS)
    return None


def _of(by: str, item: Document, name: str) -> list[Document]:
    return [one for one in item.get(name) or [] if one["by"] == by]

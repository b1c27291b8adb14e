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
    str, typer.Argument(help="Id of the approval or of its request, or a unique beginning.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the answer.")]
Document = dict[str, Any]

_MOMENT_SECONDS = 10.0
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
    item = _look(session, wanted)
    accepted = session.client.answer(wanted, said, reason)
    counted = _verdict(session, item, wanted, "answers")
    document = {"approval": wanted, "answer": said, "counted": counted, "plan": item.get("plan"), **(accepted or {})}
    line = f"{verb or said} {'review' if item.get('review') else 'approval'} {wanted}{_undecided(counted)}"
    session.terminal.result(document, Text(clean(line)), *outline(item.get("plan")))


def _say(session: Session, wanted: str, path: str, body: Document, shown_in: str, text: str) -> None:
    item = _look(session, wanted)
    accepted = session.client.write("POST", f"/v1/approvals/{segment(wanted)}/{path}", body)
    counted = _verdict(session, item, wanted, shown_in)
    document = {"approval": wanted, "counted": counted, **(accepted or {})}
    session.terminal.result(document, Text(clean(f"{text} approval {wanted}{_undecided(counted)}")))


def _undecided(counted: bool | None) -> str:
    return "" if counted else "; policy has not said yet whether it counts"


def _verdict(session: Session, before: Document, approval: str, shown_in: str) -> bool | None:
    """Whether policy counted what was said; None if it hasn't said within a moment; raise Failure if it does not.

    The catalog may show an answer a moment before it hears that policy refused it, so it is looked at once more.
    """
    refused, said = (len(before.get(name) or []) for name in ("refused", shown_in))
    deadline = time.monotonic() + _MOMENT_SECONDS
    seen = False
    while time.monotonic() < deadline:
        item = _look(session, approval)
        if len(item.get("refused") or []) > refused:
            raise Failure(f"the answer does not count: {item['refused'][-1]['reason']}", Code.NOT_ALLOWED)
        known = len(item.get(shown_in) or []) > said
        ended = item.get("state") != before.get("state")
        if ended or (seen and known and item.get("state") == "pending"):
            return True
        seen = known
        time.sleep(_LOOK_SECONDS)
    return None


def _look(session: Session, approval: str) -> Document:
    return next((one for one in session.client.every("/v1/approvals") if one["id"] == approval), {})

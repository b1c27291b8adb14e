"""Answer what waits for people: approve, reject, take an answer back, hand it on to somebody else."""

from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.commands.ruling import ruled
from entresol.doors.lookup import approval_id
from entresol.session import Session
from entresol.telling.one_request import needs
from entresol.telling.plans import outline
from entresol.terminal import clean

Approval = Annotated[
    str,
    typer.Argument(help="Its id or its request's, a unique beginning, or the resource.", show_default=False),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the answer.")]
Document = dict[str, Any]


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
    _say(session, wanted, "/withdraw", body, "took back the grant of")


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
    _say(session, wanted, "/delegate", body, f"{to} may answer")


def answer(session: Session, wanted: str, said: str, reason: str | None, verb: str = "") -> None:
    """Answer an approval or a review, and tell what it was about; raise Failure if the answer does not count."""
    item = session.client.approval(wanted)
    accepted = session.client.answer(wanted, said, reason)
    after = _ruled(session, accepted)
    document = {"approval": wanted, "answer": said, "plan": item.get("plan"), **_counted(after), **accepted}
    line = f"{verb or said} {'review' if item.get('review') else 'approval'} {wanted}{_outcome(after)}"
    session.terminal.result(document, Text(clean(line)), *outline(item.get("plan")))


def _say(session: Session, wanted: str, door: str, body: Document, text: str) -> None:
    accepted = session.client.say(wanted, door, body)
    after = _ruled(session, accepted)
    document = {"approval": wanted, **_counted(after), **accepted}
    session.terminal.result(document, Text(clean(f"{text} approval {wanted}{_undecided(after)}")))


def _ruled(session: Session, accepted: Document) -> Document | None:
    return ruled(lambda: session.client.approval(accepted["id"]), accepted["event"], "what you said")


def _counted(after: Document | None) -> Document:
    if after is None:
        return {"counted": None}
    return {"counted": True, "missing": after["missing"], "missing_from": after["missing_from"]}


def _undecided(after: Document | None) -> str:
    return "" if after else "; policy has not said yet whether it counts"


def _outcome(after: Document | None) -> str:
    return f"; {needs(after)}" if after and after["missing"] else _undecided(after)

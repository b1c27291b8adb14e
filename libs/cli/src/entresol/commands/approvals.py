"""Answer what waits for people: approve, reject."""

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from entresol.failures import Code, Failure
from entresol.lookup import approval_id
from entresol.session import Session
from entresol.terminal import clean

Approval = Annotated[
    str, typer.Argument(help="Id of the approval or of its request, or a unique beginning.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the answer.")]

_MOMENT_SECONDS = 10.0


def approve(session: Session, approval: Approval, reason: Reason = None) -> None:
    """Grant an approval. Policy decides whether the answer counts; `entresol status` of the request tells.

    [bold]Examples[/bold]

      entresol approve 0193f2c4-81 --reason "load test was fine"

      entresol status            (lists what waits, and for whom)
    """
    _answer(session, approval, "granted", reason)


def reject(session: Session, approval: Approval, reason: Reason = None) -> None:
    """Refuse an approval: the request ends.

    [bold]Example[/bold]   entresol reject 0193f2c4-81 --reason "not during the sale"
    """
    _answer(session, approval, "rejected", reason)


def _answer(session: Session, approval: str, answer: str, reason: str | None) -> None:
    wanted = approval_id(session.client, approval)
    before = _counts(_look(session, wanted))
    accepted = session.client.answer(wanted, answer, reason)
    counted, refusal = _verdict(session, wanted, before)
    if refusal:
        raise Failure(f"the answer does not count: {refusal}", Code.NOT_ALLOWED)
    document = {"approval": wanted, "answer": answer, "counted": counted, **(accepted or {})}
    undecided = "" if counted else "; policy has not said yet whether it counts"
    session.terminal.result(document, Text(clean(f"{answer} approval {wanted}{undecided}")))


def _verdict(session: Session, approval: str, before: tuple[int, int]) -> tuple[bool | None, str | None]:
    """Whether policy counted the answer, or why not; (None, None) if it hasn't said within a moment."""
    deadline = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < deadline:
        item = _look(session, approval)
        answers, refused = _counts(item)
        if answers > before[0] or item.get("state", "pending") != "pending":
            return True, None
        if refused > before[1]:
            return False, str(item["refused"][-1]["reason"])
        time.sleep(0.05)
    return None, None


def _look(session: Session, approval: str) -> dict[str, Any]:
    return next((one for one in session.client.every("/v1/approvals") if one["id"] == approval), {})


def _counts(item: dict[str, Any]) -> tuple[int, int]:
    return len(item.get("answers") or []), len(item.get("refused") or [])

"""Load: clients that ask for things, several at a time, insist until they are answered, and write down what they hear.

A client never gives up on a door that is away: it repeats the same ask under the same Idempotency-Key until it has an
answer, and takes a request for accepted only when it has read a whole 202. What clients were told goes to `told.jsonl`,
in the lines that `tests.faults.judge.requests` describes.
"""

import http.client
import json
import random
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tests.fleet import Fleet

T = TypeVar("T")

INSIST_SECONDS = 120.0
TOLD_OF = "dev.entresol.request.completed.v1"
CLIENTS = 8


class Journey(StrEnum):
    """What a client wants, from its first ask to the end."""

    MADE = "made"
    DENIED = "denied"
    GRANTED = "granted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DELETED = "deleted"


MIX: Sequence[Journey] = (
    *(Journey.MADE,) * 5,
    Journey.DENIED,
    Journey.GRANTED,
    Journey.REJECTED,
    Journey.CANCELLED,
    Journey.DELETED,
)
"""In turn: half of the clients want a thing and nothing else."""


class Refused(Exception):
    """A door said no to what it has to take."""


class Load:
    """Runs journeys with `CLIENTS` at a time, no further than they are released.

    `release` lets clients begin; so faults can be spread over the load whatever the machine's speed.
    """

    def __init__(self, fleet: Fleet, told: Path, journeys: int, dice: random.Random) -> None:
        self.fleet = fleet
        self._told = told.open("a", encoding="utf-8")
        self._turn = threading.Condition()
        self._released = 0
        self._finished = 0
        self._stopped = False
        self._pool = ThreadPoolExecutor(CLIENTS, thread_name_prefix="client")
        self._running: list[Future[None]] = []
        self._prefix = f"{dice.randrange(2**32):08x}"
        self.journeys = journeys
        self.accepted: set[str] = set()
        """Requests that clients were told of."""
        self.repeats: Counter[str] = Counter()
        """How often a door did not answer, by what was asked of it."""
        self.approver = ""

    def __enter__(self) -> "Load":
        """Begin; no journey starts before it is released."""
        self.approver = self.token("user:grace")
        self._running = [self._pool.submit(self._travel, number) for number in range(self.journeys)]
        return self

    def token(self, actor: str) -> str:
        """A token of somebody who may answer what the group sre is asked."""
        token = {"actor": actor, "groups": ["sre"], "role": "developer"}
        made: str = self.insist("token", lambda: self.fleet.call("intake", "POST", "/v1/tokens", token))["token"]
        return made

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._pool.shutdown(cancel_futures=True)
        self._told.close()

    def release(self, journeys: int) -> None:
        """Let clients begin, up to that many in all."""
        with self._turn:
            self._released = max(self._released, journeys)
            self._turn.notify_all()

    @property
    def finished(self) -> int:
        """How many journeys are over."""
        return self._finished

    def await_finished(self, journeys: int, seconds: float) -> None:
        """Return when that many journeys are over, or the time is."""
        deadline = time.monotonic() + seconds
        while self.finished < journeys and time.monotonic() < deadline:
            time.sleep(0.02)

    def join(self, seconds: float) -> None:
        """Return when every journey is over; raise the first error of a client, or TimeoutError."""
        self.release(self.journeys)
        done, late = wait(self._running, seconds)
        for one in done:
            one.result()
        if late:
            raise TimeoutError(f"{len(late)} clients have no answer after {seconds:g} s")

    def insist(self, what: str, call: Callable[[], T], seconds: float = INSIST_SECONDS) -> T:
        """Call until the door answers; raise Refused for an answer that is none of its troubles."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return call()
            except urllib.error.HTTPError as refused:
                with refused:
                    if refused.code < 500:
                        raise Refused(refused.code, refused.read().decode(errors="replace")) from None
                failure: Exception = refused
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                failure = error
            if self._stopped or time.monotonic() > deadline:
                raise TimeoutError(f"no answer to {what}") from failure
            self.repeats[what] += 1
            time.sleep(0.05)

    def tell(self, told: str, **line: Any) -> None:
        with self._turn:
            self._told.write(json.dumps({"told": told, **line}) + "\n")
            self._told.flush()

    def submit(self, number: int, journey: Journey, action: str = "create") -> str:
        """Ask for one thing until it is accepted; sometimes once more, as a client does that has lost the answer."""
        environment = "prod" if journey in (Journey.GRANTED, Journey.REJECTED) else "dev"
        inputs = {"size": "large" if journey == Journey.DENIED else "small"}
        place = (f"team-{number // 100}", environment, f"thing-{number}")
        expects = {
            Journey.DENIED: ["denied"],
            Journey.REJECTED: ["rejected"],
            Journey.CANCELLED: ["cancelled", "succeeded"],
        }.get(journey, ["succeeded"])
        for _ in range(2 if number % 7 == 0 else 1):
            key = f"{self._prefix}-{number}-{action}"
            request = self.ask(key, "thing", place, inputs if action == "create" else None, action, expects)
        return request

    def ask(
        self,
        key: str,
        offering: str,
        place: tuple[str, str, str],
        inputs: Mapping[str, Any] | None,
        action: str,
        expects: Sequence[str],
        *,
        file: bool = True,
    ) -> str:
        """Ask for an action on the offering's thing of that project, environment and name, until it is accepted.

        With `file`, the repository must have a file named after the offering if that succeeds.
        """
        body: dict[str, Any] = dict(zip(("project", "environment", "name"), place, strict=True))
        body |= {"offering": offering, "action": action, **({} if inputs is None else {"inputs": dict(inputs)})}
        headers = {"Idempotency-Key": key}
        try:
            answer = self.insist("submit", lambda: self.fleet.call("intake", "POST", "/v1/requests", body, **headers))
        except Refused as refused:
            self.tell("refused", key=key, status=refused.args[0], body=refused.args[1])
            raise
        request: str = answer["id"]
        where = f"{answer['resource']}/{offering}.yaml" if file else ""
        self.tell("accepted", key=key, request=request, action=action, file=where, expects=list(expects))
        self.accepted.add(request)
        return request

    def show(self, request: str) -> dict[str, Any] | None:
        """What the read door says of the request; None if it does not know it yet."""
        try:
            shown = self.insist("show", lambda: self.fleet.call("catalog", "GET", f"/v1/requests/{request}"))
        except Refused as refused:
            if refused.args[0] != 404:
                raise
            return None
        self.tell("state", request=request, state=shown["state"], revision=shown["revision"])
        found: dict[str, Any] = shown
        return found

    def await_approval(self, request: str, seconds: float = INSIST_SECONDS) -> str:
        """The id of the approval that the request waits for."""

        def asked(shown: dict[str, Any]) -> str | None:
            return next((one["id"] for one in shown["approvals"] if one["state"] == "pending"), None)

        return self.await_seen(f"an approval of {request}", request, asked, seconds)

    def await_end(self, request: str, seconds: float = INSIST_SECONDS) -> str:
        """The state in which the request has ended."""

        def ended(shown: dict[str, Any]) -> str | None:
            return shown["state"] if shown["completed_at"] else None

        return self.await_seen(f"the end of {request}", request, ended, seconds)

    def answer(self, request: str, approval: str, answer: str, approver: str = "") -> None:
        headers = {"Authorization": f"Bearer {approver or self.approver}"}
        body = {"answer": answer, "reason": "looked at"}
        path = f"/v1/approvals/{approval}"
        self.insist("answer", lambda: self._call_once_known("POST", path, body, headers))
        self.tell("answered", request=request, approval=approval, answer=answer)

    def lock(self, scope: dict[str, str]) -> str:
        """Lock what the scope names; return the lock's id."""
        headers = {"Idempotency-Key": f"{self._prefix}-lock-{'-'.join(scope.values())}"}
        body = {"scope": scope, "reason": "nobody touches it"}
        lock: str = self.insist("lock", lambda: self.fleet.call("intake", "POST", "/v1/locks", body, **headers))["id"]
        return lock

    def lift(self, lock: str) -> None:
        path = f"/v1/locks/{lock}"
        try:
            self.insist("lift", lambda: self.fleet.call("intake", "DELETE", path, {"reason": "all is well"}))
        except Refused as refused:
            if refused.args[0] != 409:  # lifted, and the answer was lost
                raise

    def cancel(self, request: str) -> None:
        path = f"/v1/requests/{request}/cancel"
        self.insist("cancel", lambda: self.fleet.call("intake", "POST", path, {"reason": "no longer wanted"}))
        self.tell("cancelling", request=request)

    def _call_once_known(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        """The catalog may show an approval before intake has heard of it: then the door says 404 for a moment."""
        try:
            return self.fleet.call("intake", method, path, body, **headers)
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                refused.close()
                raise ConnectionError("not known yet") from None
            raise

    def await_seen(
        self, what: str, request: str, look: Callable[[dict[str, Any]], T | None], seconds: float = INSIST_SECONDS
    ) -> T:
        """What `look` finds in what the read door shows of the request, once it finds anything."""
        deadline = time.monotonic() + seconds
        while True:
            shown = self.show(request)
            if shown is not None and (found := look(shown)) is not None:
                return found
            if self._stopped or time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come; the catalog shows {json.dumps(shown)[:2000]}")
            time.sleep(0.1)

    def _travel(self, number: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._stopped or number < self._released)
            if self._stopped:
                return
        self.travel(number)
        with self._turn:
            self._finished += 1

    def travel(self, number: int) -> None:
        """Go one journey from its first ask to its end, or to where nothing more is asked of the client."""
        journey = MIX[number % len(MIX)]
        request = self.submit(number, journey)
        match journey:
            case Journey.GRANTED | Journey.REJECTED:
                approval = self.await_approval(request)
                self.answer(request, approval, journey.value)
            case Journey.CANCELLED:
                self.cancel(request)
            case Journey.DELETED:
                self.await_end(request)
                self.submit(number, journey, "delete")
            case _:
                pass

"""How a notice goes out by HTTP: a POST, of whose answer only the beginning is looked at."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from entresol_eventing import egress as out
from entresol_eventing.egress import Answer, Permitted, Unanswered

from entresol_notification.channels import Undelivered

MAX_BODY_BYTES = 1024
USER_AGENT = "entresol-notification"


class Egress:
    """Posts to receivers. Lives in one event loop; made by `egress()`."""

    def __init__(self, way: out.Egress) -> None:
        self._way = way

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer if it is a 2xx; raise Undelivered, with how to go on, if it is anything else."""
        try:
            answer = await self._way.exchange("POST", target, body, headers, largest_bytes=MAX_BODY_BYTES)
        except Unanswered as failure:
            raise Undelivered(failure.reason, final=failure.final) from None
        if answer.is_success:
            return answer
        kind = ", a redirect, which is not followed" if answer.is_redirect else ""
        raise Undelivered(
            f"the receiver answered {answer.status}{kind}",
            final=answer.status == HTTPStatus.GONE,
            retry_after_seconds=answer.retry_after_seconds,
            text=answer.body.decode("utf-8", "replace"),
        )


@asynccontextmanager
async def egress(permitted: Permitted, deadline_seconds: float, concurrency: int) -> AsyncIterator[Egress]:
    """A way out, closed at exit."""
    async with out.egress(permitted, deadline_seconds, concurrency, USER_AGENT) as way:
        yield Egress(way)

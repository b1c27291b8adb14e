"""The one way out by HTTP.

- The receiver's name is resolved once, every address is checked, and the connection goes to a checked address.
- https, unless plain http is allowed. No redirects, no proxies from the environment, no cookies, no kept connections.
- The whole exchange has a deadline; of the answer's body no more than is asked for is read.
- A failure tells whether the receiver may have got the request; who must not repeat an effect needs to know.
- Errors name neither the URL nor the receiver: the path of a URL may be a secret.
"""

import asyncio
import contextlib
import email.utils
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import httpx

from entresol_eventing.addresses import is_loopback, refusal

_SECONDS = re.compile(r"[0-9]{1,6}\Z")


@dataclass(frozen=True, slots=True)
class Permitted:
    """Where requests may go besides https on public addresses."""

    loopback: bool = False
    """This machine, also by plain http."""
    http: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said, whatever it was; nothing of it is to be trusted."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    cut: str | None = None
    """Why the body is only the beginning of what was said; None if it is all of it."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        return 300 <= self.status < 400

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the receiver asked to be left alone for, by number or by date."""
        value = self.headers.get("retry-after", "")
        if _SECONDS.match(value):
            return float(value)
        with contextlib.suppress(ValueError):
            at = email.utils.parsedate_to_datetime(value)
            return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
        return None


class Unanswered(Exception):
    """There was no answer; the text names neither the URL nor the receiver."""

    def __init__(self, reason: str, *, final: bool = False, sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        """Trying again would change nothing."""
        self.sent = sent
        """The receiver may have got the request, and may have acted on it."""


class Egress:
    """Sends requests. Lives in one event loop; made by `egress()`."""

    def __init__(
        self, permitted: Permitted, client: httpx.AsyncClient, resolvers: Executor, deadline_seconds: float
    ) -> None:
        self._resolvers = resolvers
        self._permitted = permitted
        self._client = client
        self._deadline_seconds = deadline_seconds

    async def exchange(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], *, largest_bytes: int
    ) -> Answer:
        """The answer, of any status, with at most `largest_bytes` of its body; raise Unanswered if there is none."""
        try:
            url = httpx.URL(target)
        except (httpx.InvalidURL, ValueError):
            raise Unanswered("the receiver's URL is not valid", final=True) from None
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise Unanswered("the receiver's URL must be http or https with a host and without a password", final=True)
        sent = _Sent()
        last: Exception | None = None
        try:
            async with asyncio.timeout(self._deadline_seconds):
                for address in await self._addresses(url):
                    try:
                        return await self._send(method, url, address, body, headers, largest_bytes, sent)
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        last = error
        except (httpx.HTTPError, TimeoutError) as error:
            last = error
        raise Unanswered(_explain(last), sent=sent.begun) from None

    async def _addresses(self, url: httpx.URL) -> list[str]:
        host = url.raw_host.decode("ascii").strip("[]")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(self._resolvers, resolve)
        except TimeoutError:
            raise
        except (OSError, UnicodeError):
            raise Unanswered("the receiver's name can't be resolved") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            reason = refusal(address, allow_loopback=self._permitted.loopback, allow_private=self._permitted.private)
            if reason:
                raise Unanswered(f"the receiver's address is refused: {reason}", final=True)
        plain = self._permitted.http or (self._permitted.loopback and all(map(is_loopback, addresses)))
        if url.scheme == "http" and not plain:
            raise Unanswered("plain http is not allowed here; the receiver's URL must be https", final=True)
        return addresses

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        address: str,
        body: bytes,
        headers: Mapping[str, str],
        largest_bytes: int,
        sent: "_Sent",
    ) -> Answer:
        request = self._client.build_request(
            method,
            url.copy_with(host=address),
            content=body,
            headers={**headers, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii"), "trace": sent},
        )
        response = await self._client.send(request, stream=True)
        try:
            read, cut = await _read(response, largest_bytes)
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, read, cut)


class _Sent:
    """Hears from the connection whether anything of the request was written to it."""

    def __init__(self) -> None:
        self.begun = False

    async def __call__(self, event: str, _: object) -> None:
        if event.endswith("send_request_headers.started"):
            self.begun = True


@asynccontextmanager
async def egress(
    permitted: Permitted, deadline_seconds: float, concurrency: int, user_agent: str
) -> AsyncIterator[Egress]:
    """A way out, closed at exit. httpx would log each URL; that is turned off here.

    Names are resolved in threads of its own: a name server that does not answer holds a thread for a long time, and
    the loop's own threads read the database.
    """
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    client = httpx.AsyncClient(
        verify=await asyncio.to_thread(ssl.create_default_context),
        trust_env=False,
        follow_redirects=False,
        timeout=deadline_seconds,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"user-agent": user_agent, "accept-encoding": "identity"},
    )
    resolvers = ThreadPoolExecutor(concurrency, thread_name_prefix="resolve")
    try:
        async with client:
            yield Egress(permitted, client, resolvers, deadline_seconds)
    finally:
        resolvers.shutdown(wait=False, cancel_futures=True)


async def _read(response: httpx.Response, largest_bytes: int) -> tuple[bytes, str | None]:
    """The body, and why it is cut off if it is."""
    read = bytearray()
    try:
        async for chunk in response.aiter_raw(1 << 14):
            read += chunk
            if len(read) > largest_bytes:
                return bytes(read[:largest_bytes]), f"the receiver's answer exceeds {largest_bytes} bytes"
    except httpx.HTTPError as error:
        return bytes(read), _explain(error)
    return bytes(read), None


def _explain(error: Exception | None) -> str:
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "the receiver did not answer in time"
    if isinstance(error, httpx.ConnectError):
        distrusted = "CERTIFICATE" in str(error).upper()
        return "the receiver's certificate is not trusted" if distrusted else "the receiver can't be connected to"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the receiver dropped the connection or did not speak HTTP"
    return f"the exchange with the receiver failed ({type(error).__name__})"

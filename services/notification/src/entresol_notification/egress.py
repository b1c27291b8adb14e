"""The one way out by HTTP.

- The receiver's name is resolved once, every address is checked, and the connection goes to a checked address.
- https, unless plain http is allowed. No redirects, no proxies from the environment, no cookies, no kept connections.
- The whole exchange has a deadline; of the answer's body at most `MAX_BODY_BYTES` are read.
- Errors name neither the URL nor the receiver: the path of a Slack URL is a secret.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import httpx

from entresol_notification.channels import Undelivered
from entresol_notification.domain.addresses import is_loopback, refusal

MAX_BODY_BYTES = 1024
USER_AGENT = "entresol-notification"
_SECONDS = re.compile(r"[0-9]{1,6}\Z")


@dataclass(frozen=True, slots=True)
class Permitted:
    """Where notifications may go besides https on public addresses."""

    loopback: bool = False
    """This machine, also by plain http."""
    http: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said; `text` is the beginning of the body and not to be trusted."""

    status: int
    text: str


class Egress:
    """Posts to receivers. Lives in one event loop; made by `egress()`."""

    def __init__(self, permitted: Permitted, client: httpx.AsyncClient, resolvers: Executor) -> None:
        self._resolvers = resolvers
        self._permitted = permitted
        self._client = client

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer if it is a 2xx; raise Undelivered, with how to go on, if it is anything else."""
        try:
            url = httpx.URL(target)
        except (httpx.InvalidURL, ValueError):
            raise Undelivered("the receiver's URL is not valid", final=True) from None
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise Undelivered("the receiver's URL must be http or https with a host and without a password", final=True)
        last: Exception | None = None
        for address in await self._addresses(url):
            try:
                return await self._send(url, address, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
            except httpx.HTTPError as error:
                raise Undelivered(_explain(error)) from None
        raise Undelivered(_explain(last)) from None

    async def _addresses(self, url: httpx.URL) -> list[str]:
        host = url.raw_host.decode("ascii").strip("[]")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(self._resolvers, resolve)
        except (OSError, UnicodeError):
            raise Undelivered("the receiver's name can't be resolved") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            reason = refusal(address, allow_loopback=self._permitted.loopback, allow_private=self._permitted.private)
            if reason:
                raise Undelivered(f"the receiver's address is refused: {reason}", final=True)
        plain = self._permitted.http or (self._permitted.loopback and all(map(is_loopback, addresses)))
        if url.scheme == "http" and not plain:
            raise Undelivered("plain http is not allowed here; the receiver's URL must be https", final=True)
        return addresses

    async def _send(self, url: httpx.URL, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={**headers, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._client.send(request, stream=True)
        try:
            text = await _beginning(response)
        finally:
            await response.aclose()
        if response.is_success:
            return Answer(response.status_code, text)
        kind = ", a redirect, which is not followed" if response.is_redirect else ""
        raise Undelivered(
            f"the receiver answered {response.status_code}{kind}",
            final=response.status_code == httpx.codes.GONE,
            retry_after_seconds=_retry_after(response),
            text=text,
        )


@asynccontextmanager
async def egress(permitted: Permitted, deadline_seconds: float, concurrency: int) -> AsyncIterator[Egress]:
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
        headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
    )
    resolvers = ThreadPoolExecutor(concurrency, thread_name_prefix="resolve")
    try:
        async with client:
            yield Egress(permitted, client, resolvers)
    finally:
        resolvers.shutdown(wait=False, cancel_futures=True)


async def _beginning(response: httpx.Response) -> str:
    read = b""
    with contextlib.suppress(httpx.HTTPError):  # the status has come; how the body ends does not matter
        async for chunk in response.aiter_raw(MAX_BODY_BYTES):
            read += chunk
            if len(read) >= MAX_BODY_BYTES:
                break
    return read[:MAX_BODY_BYTES].decode("utf-8", "replace")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the receiver asked to be left alone for, by number or by date."""
    value = response.headers.get("retry-after", "")
    if _SECONDS.match(value):
        return float(value)
    with contextlib.suppress(ValueError):
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return None


def _explain(error: Exception | None) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "the receiver did not answer in time"
    if isinstance(error, httpx.ConnectError):
        distrusted = "CERTIFICATE" in str(error).upper()
        return "the receiver's certificate is not trusted" if distrusted else "the receiver can't be connected to"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the receiver dropped the connection or did not speak HTTP"
    return f"the exchange with the receiver failed ({type(error).__name__})"

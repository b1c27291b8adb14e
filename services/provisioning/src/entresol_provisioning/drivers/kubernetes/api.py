"""Speak to one cluster: get, apply, delete, and find out which kinds it has.

lightkube brings the connection: kubeconfig, TLS, logins. Its clients are not used, because their models drop fields
that they don't know and are shared by all clusters of a process, and their delete takes no precondition.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
from entresol_manifests.digest import canonical
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError
from lightkube.types import PatchType

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.kubernetes.logins import ExecLogin
from entresol_provisioning.drivers.kubernetes.objects import Identity
from entresol_provisioning.drivers.kubernetes.refusals import Refused, refused

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
DISCOVERY_SECONDS = 300.0
_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class Kind:
    """What a cluster says of a kind of objects."""

    plural: str
    namespaced: bool
    has_status: bool


class Cluster:
    """A connection. Belongs to the event loop that uses it first."""

    def __init__(self, config: SingleConfig, proxy: str | None, seconds: float) -> None:
        self.server = config.cluster.server.rstrip("/")
        self._seconds = seconds
        params = ConnectionParams(timeout=httpx2.Timeout(seconds), trust_env=False, proxy=proxy)
        login = config.user.exec if config.user is not None else None
        try:
            self._client = AsyncClient(config, params)
            if login is not None:
                self._client.auth = ExecLogin(login, seconds / 2)
        except (ConfigError, OSError, ValueError, httpx2.InvalidURL) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise StepFailed(f"the kubeconfig's certificates, keys or addresses can't be used: {reason}") from None
        self._kinds: dict[str, tuple[float, Mapping[str, Kind]]] = {}

    async def close(self) -> None:
        await self._client.aclose()

    async def kind(self, identity: Identity) -> Kind | None:
        """What the cluster knows of the kind; None if it has none of that name now."""
        fetched_at, kinds = self._kinds.get(identity.api_version, (-DISCOVERY_SECONDS, {}))
        if identity.kind not in kinds or time.monotonic() - fetched_at > DISCOVERY_SECONDS:
            kinds = await self._discover(identity.api_version)
            self._kinds[identity.api_version] = (time.monotonic(), kinds)
        return kinds.get(identity.kind)

    async def get(self, identity: Identity) -> dict[str, Any] | None:
        """The object; None if there is none, or no such kind."""
        if (kind := await self.kind(identity)) is None:
            return None
        try:
            with _about(identity):
                return await self._ask("GET", _path(identity, kind))
        except Refused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def apply(
        self, identity: Identity, manifest: Mapping[str, Any], *, manager: str, force: bool, dry_run: bool
    ) -> dict[str, Any]:
        """What the server makes (or would make) of it. Raises Refused, also for a kind that it hasn't."""
        kind = await self.kind(identity)
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            params["dryRun"] = "All"
        with _about(identity):
            if kind is None:
                raise Refused(_NOT_FOUND, "NotFound", "it has no such kind")
            return await self._ask("PATCH", _path(identity, kind), params, manifest, PatchType.APPLY.value)

    async def delete(self, identity: Identity, uid: str) -> bool:
        """Ask for its removal, dependents first; return whether there was something to remove.

        An object of another uid, which came in its place meanwhile, is left alone.
        """
        if (kind := await self.kind(identity)) is None:
            return False
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            with _about(identity):
                await self._ask("DELETE", _path(identity, kind), None, body, "application/json")
        except Refused as error:
            if error.status == _NOT_FOUND or (error.status == _CONFLICT and "uid" in error.message.lower()):
                return False
            raise
        return True

    async def pods(self, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Pods with these labels; none if they may not be read."""
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        path = f"api/v1/namespaces/{quote(namespace, safe='')}/pods"
        try:
            found = await self._ask("GET", path, {"labelSelector": selector, "limit": "200"})
        except Refused:
            return []
        items = found.get("items")
        return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []

    async def _discover(self, api_version: str) -> Mapping[str, Kind]:
        base = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        try:
            found = await self._ask("GET", base)
        except Refused as error:
            if error.status == _NOT_FOUND:
                return {}
            raise
        listed = [one for one in found.get("resources") or () if isinstance(one, dict)]
        parts = {str(one.get("name")) for one in listed}
        return {
            str(one["kind"]): Kind(str(one["name"]), one.get("namespaced") is True, f"{one['name']}/status" in parts)
            for one in listed
            if "kind" in one and "/" not in str(one.get("name", "/"))
        }

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", **({"Content-Type": content_type} if content_type else {})}
        content = None if body is None else canonical(body)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(method, path, params=params, content=content, headers=headers) as answer,
            ):
                received = bytearray()
                async for part in answer.aiter_bytes():
                    received += part
                    if len(received) > LARGEST_ANSWER_BYTES:
                        raise StepFailed(f"an answer of the cluster exceeds {LARGEST_ANSWER_BYTES // 1024**2} MiB")
                return refused(answer.status_code, bytes(received))
        except TimeoutError:
            raise StepFailed(f"the cluster did not answer within {self._seconds:g} s", retryable=True) from None
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        except httpx2.InvalidURL:
            raise StepFailed("the kubeconfig's server is no usable address") from None

    def _unreachable(self, error: httpx2.HTTPError) -> StepFailed:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                said = cause.verify_message
                return StepFailed(f"the certificate of the cluster {self.server} can't be trusted: {said}")
            if isinstance(cause, ssl.SSLError):
                return StepFailed(f"no TLS with the cluster {self.server}: {cause.reason}", retryable=True)
            cause = cause.__cause__ or cause.__context__
        return StepFailed(f"the cluster {self.server} can't be reached: {type(error).__name__}", retryable=True)


@contextmanager
def _about(identity: Identity) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        error.identity = identity
        raise


def _path(identity: Identity, kind: Kind) -> str:
    group = f"apis/{identity.api_version}" if identity.group else f"api/{identity.api_version}"
    namespace = f"/namespaces/{quote(identity.namespace, safe='')}" if identity.namespace else ""
    return f"{group}{namespace}/{kind.plural}/{quote(identity.name, safe='')}"

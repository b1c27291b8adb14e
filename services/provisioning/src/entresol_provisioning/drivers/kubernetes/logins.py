"""Log in by the program that a kubeconfig names: its `exec`, as kubectl does.

The program is started without a shell, gets this service's environment without the service's own settings, is killed
when it takes too long, and what it prints is told to nobody.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
from lightkube.config.models import UserExec

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.processes import run

_API = "client.authentication.k8s.io/"
_VERSIONS = ("v1", "v1beta1")
_UNAUTHORIZED = 401


class ExecLogin(httpx2.Auth):
    """The token that the program gives, asked for when there is none yet and when it is refused."""

    def __init__(self, login: UserExec, seconds: float) -> None:
        self._login = login
        self._seconds = seconds
        self._token: str | None = None
        self._turn = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._current(refused=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {await self._current(refused=token)}"
            yield request

    async def _current(self, *, refused: str | None) -> str:
        async with self._turn:
            if self._token is None or self._token == refused:
                self._token = await self._ask()
            return self._token

    async def _ask(self) -> str:
        login = self._login
        if login.apiVersion.removeprefix(_API) not in _VERSIONS:
            raise StepFailed(f"the kubeconfig's exec speaks {login.apiVersion[:60]}, which is not supported")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTRESOL_")}
        environment |= {one.name: one.value for one in login.env or ()}
        asked = {"apiVersion": login.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(asked)
        program = Path(login.command).name
        try:
            async with asyncio.timeout(self._seconds):
                done = await run((login.command, *(login.args or ())), env=environment, directory=Path("/"))
        except TimeoutError:
            raise StepFailed(
                f"the kubeconfig's login program {program} took longer than {self._seconds:g} s", retryable=True
            ) from None
        except OSError as error:
            raise StepFailed(f"the kubeconfig's login program {program} can't be run: {error.strerror}") from None
        if done.code != 0:
            raise StepFailed(f"the kubeconfig's login program {program} ended with {done.code}", retryable=True)
        try:
            token = json.loads(done.out)["status"]["token"]
        except (ValueError, LookupError, TypeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise StepFailed(f"the kubeconfig's login program {program} gave no token")
        return token

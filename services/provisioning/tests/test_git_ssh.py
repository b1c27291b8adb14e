"""Repositories that are reached by ssh: only with the destination's key, and only where the host's key is known."""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.testing import eventually
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.settings import Settings

from services.provisioning.tests.repositories import bare, git, steps_of

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Host:
    """A server by ssh on loopback, and who may enter."""

    place: Path
    port: int
    repository: Path

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.repository}"


def new_key(place: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return place


def known(place: Path, port: int, key: Path) -> Path:
    """A file by which the host's key is that one."""
    place.write_text(f"[127.0.0.1]:{port} {key.with_suffix('.pub').read_text()}")
    return place


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client or server is not installed: no repository was reached by ssh")
    place = tmp_path_factory.mktemp("ssh")
    new_key(place / "user")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": new_key(place / "host"),
        "AuthorizedKeysFile": place / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    (place / "config").write_text("".join(f"{name} {value}\n" for name, value in told.items()))
    tried = subprocess.run([SSHD, "-t", "-f", str(place / "config")], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"OpenSSH's server can't be started here: {tried.stderr.strip()}")
    known(place / "known_hosts", port, place / "host")
    with (place / "log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(place / "config")], stderr=log)
    try:
        yield Host(place, port, bare(place / "infra.git"))
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
async def repository(host: Host) -> Path:
    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(answers)
    shutil.rmtree(host.repository)
    return bare(host.repository)


@pytest.fixture
def known_settings(settings: Settings, host: Host) -> Settings:
    return settings.model_copy(update={"git_known_hosts": host.place / "known_hosts", "git_seconds": 20.0})


@pytest.fixture
async def driver(known_settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(known_settings)
    yield made
    await made.close()


@pytest.fixture
def step(host: Host, repository: Path) -> Callable[..., StepWork]:
    def make(login: str | None = f"file:{host.place / 'user'}", url: str = host.url, **changes: Any) -> StepWork:
        destination = {"repository": url, **({"secretRef": login} if login else {})}
        return make_work(**{"destination": destination, "with_": {"files": {"a.txt": "x"}}, **changes})

    return make


async def refusal(driver: GitOps, work: StepWork) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        await driver.apply(work)
    return failure.value


async def test_a_step_is_pushed_observed_and_taken_away(
    driver: GitOps, step: Callable[..., StepWork], repository: Path
) -> None:
    await driver.apply(step())
    assert steps_of(repository) == ["run-1/only"]
    assert (await driver.observe(step())).differences == ()
    await driver.destroy(step(idempotency_key="run-2/only"))
    assert not (await driver.observe(step())).exists


async def test_a_scaffold_is_begun_and_kept_current(
    known_settings: Settings, step: Callable[..., StepWork], repository: Path
) -> None:
    template = known_settings.templates / "service"
    template.mkdir(parents=True)
    (template / "copier.yml").write_text("size: {type: str}\n")
    (template / "size.txt.jinja").write_text("{{ size }}\n")
    driver = Scaffold(known_settings)
    for size in ("small", "large"):
        with_ = {"template": "service", "answers": {"size": size}}
        await driver.apply(step(with_=with_, idempotency_key=f"{size}/only"))
        assert git(repository, "show", "main:size.txt") == size
    await driver.close()


@pytest.mark.parametrize("key", ["", "another"])
async def test_a_host_whose_key_is_not_known_is_refused(
    settings: Settings, step: Callable[..., StepWork], host: Host, repository: Path, tmp_path: Path, key: str
) -> None:
    place = tmp_path / "known_hosts"
    if key:
        known(place, host.port, new_key(tmp_path / key))
    driver = GitOps(settings.model_copy(update={"git_known_hosts": place}))
    failure = await refusal(driver, step())
    assert "the server's key is not known" in failure.reason
    assert not failure.retryable
    assert git(repository, "for-each-ref") == ""
    assert place.exists() == bool(key), "an unknown key was noted"
    await driver.close()


async def test_another_key_is_refused_with_the_remedy(
    driver: GitOps, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    failure = await refusal(driver, step(f"file:{new_key(tmp_path / 'another')}"))
    assert "the server wants another key; check secretRef" in failure.reason
    assert not failure.retryable


async def test_a_key_that_others_may_read_is_told_of(
    driver: GitOps, step: Callable[..., StepWork], host: Host, tmp_path: Path
) -> None:
    key = shutil.copy(host.place / "user", tmp_path / "key")
    os.chmod(key, 0o644)
    failure = await refusal(driver, step(f"file:{key}"))
    assert "may be read by others" in failure.reason
    assert not failure.retryable


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        ("env:GIT_KEY_FOR_TEST", "needs its key as file:/PATH"),
        ("file:/nowhere/key", "file:/nowhere/key can't be read: No such file"),
        ("file:key", "is written env:NAME or file:/PATH"),
        ("file:/dev/null -o ProxyCommand=touch${IFS}ran", "can't be read"),
    ],
)
async def test_a_key_that_is_no_file_is_refused_before_anybody_is_asked(
    driver: GitOps, step: Callable[..., StepWork], login: str, reason: str
) -> None:
    assert reason in (await refusal(driver, step(login))).reason


async def test_a_server_that_says_nothing_is_given_up(
    known_settings: Settings, step: Callable[..., StepWork], host: Host
) -> None:
    driver = GitOps(known_settings.model_copy(update={"git_seconds": 0.5}))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = host.url.replace(f":{host.port}/", f":{silent.getsockname()[1]}/")
        failure = await refusal(driver, step(url=url))
    assert "took longer than 0.5 s" in failure.reason
    assert failure.retryable
    await driver.close()

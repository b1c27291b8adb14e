"""Repositories that are reached by https: with a login, by TLS alone, and whatever the server does."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.settings import Settings

from services.provisioning.tests.git_https import BACKEND, LOGIN, GitServer, Handler, git_server, self_signed
from services.provisioning.tests.repositories import bare, files_of, git, steps_of
from services.provisioning.tests.test_gitops_conformance import good, meddling

TOKEN = LOGIN.partition(":")[2]
Step = Callable[..., StepWork]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not BACKEND.exists():
        pytest.skip("git was installed without git-http-backend: nothing to serve repositories with")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate to serve repositories with")
    return self_signed(tmp_path_factory.mktemp("tls") / "server.crt")


@pytest.fixture
def server(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """Serves an empty repository to whom has the token; the service trusts its authority."""
    bare(tmp_path / "served" / "infra.git")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("GIT_TOKEN_FOR_TEST", TOKEN)
    with git_server(tmp_path / "served", certificate) as made:
        yield made


@pytest.fixture
def repository(server: GitServer) -> Path:
    return server.root / "infra.git"


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[GitOps]:
    made = GitOps(settings.model_copy(update={"git_seconds": 20.0}))
    yield made
    await made.close()


@pytest.fixture
def step(server: GitServer) -> Step:
    def make(number: int = 1, login: str | None = "env:GIT_TOKEN_FOR_TEST", **changes: Any) -> StepWork:
        destination = {"repository": f"{server.url}/infra.git", **({"secretRef": login} if login else {})}
        with_ = {"files": {f"{number}.txt": "x"}, "path": ""}
        names = {"run_id": f"run-{number}", "idempotency_key": f"run-{number}/only"}
        return make_work(**{"destination": destination, "with_": with_, **names, **changes})

    return make


async def refusal(act: Callable[[StepWork], Any], work: StepWork) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        await act(work)
    assert "canary" not in failure.value.reason
    assert failure.value.reason.isprintable()
    return failure.value


@pytest.mark.long
class TestGitOpsByHttps(Conformance):
    @pytest.fixture
    async def case(
        self, settings: Settings, server: GitServer, repository: Path, tmp_path: Path
    ) -> AsyncIterator[Case]:
        driver = GitOps(settings)
        url, meddle = f"{server.url}/infra.git", meddling(repository, tmp_path / "clone")
        work = make_work(destination={"repository": url, "secretRef": "env:GIT_TOKEN_FOR_TEST"})
        yield Case(driver=driver, work=work, good=good, bad={}, meddle=meddle)
        await driver.close()


@pytest.mark.parametrize("login", [TOKEN, LOGIN])
async def test_a_login_is_a_token_or_a_name_with_its_password(
    driver: GitOps, step: Step, server: GitServer, repository: Path, tmp_path: Path, login: str
) -> None:
    (tmp_path / "login").write_text(f"{login}\n")
    await driver.apply(step(login=f"file:{tmp_path / 'login'}"))
    assert steps_of(repository) == ["run-1/only"]
    assert {told for _, told in server.asked} == {login if ":" in login else f"entresol:{login}"}


async def test_a_server_that_nobody_vouches_for_gets_no_login(
    driver: GitOps, step: Step, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    failure = await refusal(driver.apply, step())
    assert "SSL_CERT_FILE" in failure.reason
    assert not failure.retryable
    assert server.asked == []


@pytest.mark.parametrize("login", ["env:ANOTHER_TOKEN_FOR_TEST", None])
async def test_a_wrong_login_is_told_with_the_remedy_and_not_tried_again(
    driver: GitOps, step: Step, repository: Path, monkeypatch: pytest.MonkeyPatch, login: str | None
) -> None:
    monkeypatch.setenv("ANOTHER_TOKEN_FOR_TEST", "canary-wrong")
    failure = await refusal(driver.apply, step(login=login))
    assert "wants another login; check secretRef" in failure.reason
    assert not failure.retryable
    assert git(repository, "for-each-ref") == ""


async def test_a_server_that_hangs_is_given_up_and_holds_nobody_for_longer(
    settings: Settings, step: Step, server: GitServer, repository: Path
) -> None:
    def hang(_: Handler) -> bool:
        return server.stopped.wait()

    driver = GitOps(settings.model_copy(update={"git_seconds": 0.5}))
    server.misbehave = hang
    failures = await asyncio.gather(*(refusal(driver.apply, step(number)) for number in range(3)))
    assert all("took longer than 0.5 s" in one.reason and one.retryable for one in failures)
    server.misbehave = lambda _: False
    await driver.close()
    await GitOps(settings).apply(step())
    assert steps_of(repository) == ["run-1/only"]


def answers_500(one: Handler) -> bool:
    if one.pushes:
        one.ask_backend()
        one.answer(500, [], b"an accident")
    return one.pushes


def answers_nothing(one: Handler) -> bool:
    if one.pushes:
        one.ask_backend()
        one.answer(200, [("Content-Type", "application/x-git-receive-pack-result")], b"")
    return one.pushes


def hangs_up(one: Handler) -> bool:
    if one.pushes:
        status, headers, body = one.ask_backend()
        one.close_connection = True
        one.answer(status, headers, body, cut_at=10)
    return one.pushes


@pytest.mark.parametrize("misbehave", [answers_500, answers_nothing, hangs_up])
async def test_a_push_whose_answer_is_lost_is_found_by_the_next_attempt(
    driver: GitOps, step: Step, server: GitServer, repository: Path, misbehave: Callable[[Handler], bool]
) -> None:
    approved = replace(step(), approved=(await driver.plan(step())).digest)
    server.misbehave = misbehave
    assert (await refusal(driver.apply, approved)).retryable
    server.misbehave = lambda _: False
    done = await driver.apply(replace(approved, attempted=True))
    assert done.outputs["commit"] == git(repository, "rev-parse", "main")
    assert steps_of(repository) == ["run-1/only"]


async def test_a_push_that_a_server_refuses_with_500_is_made_good(
    driver: GitOps, step: Step, server: GitServer, repository: Path
) -> None:
    def refuse(one: Handler) -> bool:
        if one.pushes:
            one.answer(500, [], b"an accident")
        return one.pushes

    server.misbehave = refuse
    failures = await asyncio.gather(*(refusal(driver.apply, step(number)) for number in range(3)))
    assert all(one.retryable for one in failures)
    server.misbehave = lambda _: False
    await asyncio.gather(*(driver.apply(step(number, attempted=True)) for number in range(3)))
    assert steps_of(repository) == ["run-0/only", "run-1/only", "run-2/only"]


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_login_does_not_follow_a_server_that_sends_elsewhere(
    driver: GitOps, step: Step, server: GitServer, certificate: Path, tmp_path: Path, scheme: str
) -> None:
    with git_server(tmp_path / "served", certificate) as elsewhere:
        elsewhere.misbehave = lambda one: one.answer(*one.ask_backend())
        aim = elsewhere.url.replace("https", scheme)

        def redirect(one: Handler) -> bool:
            one.answer(302, [("Location", f"{aim}{one.path}")], b"")
            return True

        server.misbehave = redirect
        assert "give the destination that URL" in (await refusal(driver.apply, step())).reason
        assert elsewhere.asked == []


@pytest.mark.parametrize("page", [b"", b"<html>please log in</html>"])
async def test_a_page_that_is_no_server_of_git_is_not_an_empty_repository(
    driver: GitOps, step: Step, server: GitServer, page: bytes
) -> None:
    """Such as that of a network which wants a login: what was made would seem to be gone, and a delete to be done."""
    await driver.apply(step())

    def show(one: Handler) -> bool:
        one.answer(200, [("Content-Type", "text/html")], page)
        return True

    server.misbehave = show
    gone = replace(step(2), destroys=True, previous={"files": ["1.txt"]})
    for act in (driver.observe, driver.plan, driver.destroy):
        failure = await refusal(act, gone)
        assert "no server of git" in failure.reason
        assert failure.retryable


async def test_what_a_server_says_reaches_people_without_the_login(
    driver: GitOps, step: Step, server: GitServer
) -> None:
    def refuse(one: Handler) -> bool:
        said = f"\x1b[31mno, {one.headers['Authorization']} of {TOKEN}"
        one.answer(403, [("Content-Type", "text/plain")], said.encode())
        return True

    server.misbehave = refuse
    assert "[31mno, Basic … of …" in (await refusal(driver.apply, step())).reason


async def test_why_a_hook_refuses_a_push_is_told(driver: GitOps, step: Step, repository: Path) -> None:
    hook = repository / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho main is protected >&2\nexit 1\n")
    hook.chmod(0o755)
    assert "main is protected" in (await refusal(driver.apply, step())).reason


async def test_a_scaffold_is_begun_and_kept_current_by_https(
    settings: Settings, server: GitServer, repository: Path
) -> None:
    template = settings.templates / "service"
    template.mkdir(parents=True)
    (template / "copier.yml").write_text("size: {type: str}\n")
    (template / "size.txt.jinja").write_text("{{ size }}\n")
    destination = {"repository": f"{server.url}/infra.git", "secretRef": "env:GIT_TOKEN_FOR_TEST"}
    driver = Scaffold(settings)

    def work(number: int, size: str) -> StepWork:
        with_ = {"template": "service", "answers": {"size": size}}
        names = {"run_id": f"run-{number}", "idempotency_key": f"run-{number}/only"}
        return make_work(with_=with_, destination=destination, **names)

    await driver.apply(work(1, "small"))
    assert "size.txt" in files_of(repository)
    await driver.apply(work(2, "large"))
    assert git(repository, "show", "main:size.txt") == "large"
    server.misbehave = lambda one: one.answer(500, [], b"")
    assert (await refusal(driver.observe, work(2, "large"))).retryable
    await driver.close()

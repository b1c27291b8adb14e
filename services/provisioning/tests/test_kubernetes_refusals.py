"""What the kubernetes driver refuses, and how it tells what a cluster refuses. On the stand-in, and without any."""

import asyncio
import base64
import json
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import finished, later, make_work
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.kubernetes import Kubernetes
from entresol_provisioning.drivers.kubernetes.refusals import Refused, refused
from entresol_provisioning.settings import Settings

from services.provisioning.tests.git_https import self_signed
from services.provisioning.tests.kubernetes_api import WEAK, Api
from services.provisioning.tests.kubernetes_places import Place, config_map, place, secret


@pytest.fixture
async def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with place("stand-in", settings, monkeypatch) as made:
        yield made


@pytest.fixture
async def strict(settings: Settings) -> AsyncIterator[Kubernetes]:
    """The driver as it is when nothing was allowed."""
    made = Kubernetes(settings.model_copy(update={"kubernetes_seconds": 5.0}))
    yield made
    await made.close()


def named(name: Any, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}


HOSTILE: list[tuple[Any, str]] = [
    ([named("../../secrets/x")], "not a name that Kubernetes takes"),
    ([named("..")], "not a name that Kubernetes takes"),
    ([named("a..b")], "not a name that Kubernetes takes"),
    ([named("a/b")], "not a name that Kubernetes takes"),
    ([named("a?dryRun=All")], "not a name that Kubernetes takes"),
    ([named("a" * 10_000)], "not a name that Kubernetes takes"),
    ([named("a\n")], "not a name that Kubernetes takes"),
    ([named(7)], "/with/objects/0/metadata/name: must be text; put it in quotes"),
    ([named("a", namespace="../kube-system")], "not a name that a namespace can have"),
    ([named("a", namespace="kube-system")], "in another namespace"),
    ([named("a", uid="1")], "/with/objects/0/metadata/uid: is the server's; leave it out"),
    ([named("a", ownerReferences=[{}])], "/with/objects/0/metadata/ownerReferences: is the server's"),
    (
        [named("a", labels={"entresol.dev/owner": "x"})],
        "/labels/entresol.dev~1owner: its name is Entresol's",
    ),
    ([named("a", labels=["x"])], "/with/objects/0/metadata/labels: must be null or a map"),
    ([named("a"), named("a")], "is there twice"),
    ([{**named("a"), "apiVersion": "v1/../../apis/v1"}], "/with/objects/0/apiVersion: must be written like apps/v1"),
    ([{**named("a"), "kind": "../Secret"}], "/with/objects/0/kind: must be written like Deployment"),
    ([{**named("a"), "data": {"x": "y" * 5_000_000}}], "exceeds 1024 KiB"),
    ([{**named("a"), "data": {"x": float("nan")}}], "can't be written as JSON"),
    ([named(f"a{number}") for number in range(10_000)], "more than 500 objects"),
    ([{"kind": "List", "items": [named(f"a{number}") for number in range(10_000)]}], "more than 500 objects"),
    (["{{ inputs }}"], "must be a map"),
    ("{{ inputs }}", "must be a list"),
    ([], "must have at least 1 item"),
    ([{**named("a"), "kind": "Secret", "data": {"x": "not base64 canary"}}], "must be base64"),
]


@pytest.mark.parametrize(("listed", "reason"), HOSTILE)
async def test_hostile_objects_are_refused_before_anything_is_sent(here: Place, listed: Any, reason: str) -> None:
    assert here.api is not None
    work = here.work()
    for act in (here.driver.plan, here.driver.apply, here.driver.observe):
        with pytest.raises(StepFailed) as failure:
            await act(replace(work, with_={**work.with_, "objects": listed}))
        assert reason in failure.value.reason
        assert len(failure.value.reason) < 1000
        assert "canary" not in failure.value.reason
    assert here.api.asked == []


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
)
TEMPLATES = [
    (BOMB, "aliases counted"),
    ("{{", "template all.yaml line 1"),
    ("{{ ''.__class__ }}", "unsafe"),
    ("{{ inputs.text }}", "line break"),
    ("a: [", "not YAML"),
    ("a: 1\na: 2", "is there twice"),
    ("[" * 5_000, "nests deeper"),
    ("!!python/object/apply:os.system [ls]", "is not allowed here"),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ inputs.text | tojson }}}", "not a name"),
    (
        "{% for n in range(10000) %}---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a{{ n }}}}\n{% endfor %}",
        "500",
    ),
    ("{{ 'x' * 5000000 }}", "exceeds"),
    ("", "has no object"),
]


@pytest.mark.parametrize(("text", "reason"), TEMPLATES)
async def test_hostile_templates_are_refused_before_anything_is_sent(here: Place, text: str, reason: str) -> None:
    assert here.api is not None
    with_ = {key: value for key, value in here.work().with_.items() if key != "objects"}
    scope = {"inputs": {"text": "a\n---\nkind: ClusterRole"}}
    work = replace(here.work(), with_={**with_, "files": {"all.yaml": text}}, scope=scope)
    with pytest.raises(StepFailed) as failure:
        await here.driver.apply(work)
    assert reason in failure.value.reason
    assert len(failure.value.reason) < 1000
    assert here.api.asked == []


@pytest.mark.parametrize(
    ("with_", "reason"),
    [
        ({"wait": "yes"}, "/with/wait: must be true or false"),
        ({"forse": True}, "/with/forse: unknown field forse; did you mean force?"),
        ({"files": {"a": "b"}}, "/with: has both objects and files; keep one"),
        ({"namespace": "Not/One"}, "/with/namespace: is not a name"),
        ({"outputs": ["x"]}, "/with/outputs: must be a map"),
        (
            {"outputs": {"objects": {"kind": "Pod", "name": "a", "pointer": "/x"}}},
            "its name is taken by",
        ),
        ({"outputs": {"x": {"kind": "Secret", "name": "a", "pointer": "/data/password"}}}, "never as a value"),
        ({"outputs": {"x": {"kind": "ConfigMap", "name": "a", "pointer": "data.x"}}}, "must be a JSON pointer"),
        ({"outputs": {"x": {"kind": "ConfigMap", "name": "a"}}}, "/with/outputs/x: needs pointer or key"),
        (
            {"outputs": {"x": {"kind": "Secret", "name": "a", "key": "b", "namespace": "kube-system"}}},
            "(anyNamespace)",
        ),
    ],
)
async def test_nonsense_in_with_is_named(here: Place, with_: dict[str, Any], reason: str) -> None:
    assert here.api is not None
    with pytest.raises(StepFailed) as failure:
        await here.driver.apply(here.work(config_map("a"), **with_))
    assert reason in failure.value.reason
    assert here.api.asked == []


async def test_a_step_without_a_cluster_is_refused(strict: Kubernetes) -> None:
    with pytest.raises(StepFailed, match="a Destination that has a cluster"):
        await strict.apply(make_work(with_={"objects": [config_map("a")]}, destination={"repository": "infra"}))


@pytest.mark.parametrize(
    ("code", "reason", "retryable"),
    [
        (429, "asked too often", True),
        (500, "it is broken", True),
        (503, r"failed \(503\)", True),
        (413, "too large", False),
    ],
)
async def test_what_may_pass_is_tried_again(here: Place, code: int, reason: str, retryable: bool) -> None:
    assert here.api is not None
    here.api.broken.append(code)
    with pytest.raises(StepFailed, match=reason) as failure:
        await here.driver.apply(here.work(config_map("a")))
    assert failure.value.retryable == retryable


@pytest.mark.parametrize(("token", "reason"), [(WEAK, r'\(403\): User "weak" cannot'), ("canary-x", r"login \(401\)")])
async def test_a_login_that_is_refused_is_told_without_it(
    here: Place, monkeypatch: pytest.MonkeyPatch, token: str, reason: str
) -> None:
    assert here.api is not None
    monkeypatch.setenv("STAND_IN", here.api.kubeconfig(token))
    with pytest.raises(StepFailed, match=reason) as failure:
        await here.driver.apply(here.work(config_map("a")))
    assert not failure.value.retryable
    assert "canary" not in failure.value.reason


async def test_nothing_is_sent_for_what_would_not_change(here: Place) -> None:
    assert here.api is not None
    work = here.work(config_map("a", size="1"), secret("b", password="x"))
    result = await finished(here.driver.apply, work)
    writes = len(here.api.writes)
    assert writes == 2
    await finished(here.driver.apply, replace(work, attempted=True))
    await finished(here.driver.apply, later(work, 2, previous=result.outputs))
    await here.driver.plan(later(work, 3, previous=result.outputs))
    await here.driver.observe(later(work, 3, previous=result.outputs))
    assert len(here.api.writes) == writes


def test_secrets_are_left_out_of_what_a_cluster_says_also_where_it_is_cut() -> None:
    value = 'canary-4711 with "quotes"'
    long = "x" * 290 + value
    body = {
        "reason": "Invalid",
        "message": long,
        "details": {"causes": [{"field": "data.x", "message": f"not {value}"}]},
    }
    with pytest.raises(Refused) as error:
        refused(422, json.dumps(body).encode())
    for told in (error.value.told([value]), Refused(400, "", long).told([value])):
        assert "canary" not in told.reason


async def test_a_refused_secret_is_not_told(here: Place) -> None:
    with pytest.raises(StepFailed, match="must be texts by name"):
        await here.driver.apply(here.work({**secret("a"), "stringData": {"x": ["canary"]}}))
    work = here.work(secret("canary-as-name.", password="canary-as-name."))
    with pytest.raises(StepFailed):
        await here.driver.apply(work)


@contextmanager
def serving(answer: bytes, certificate: Path | None = None) -> Iterator[int]:
    """A server that answers everything with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(server: str, user: dict[str, Any] | None = None, /, **cluster: Any) -> str:
    return json.dumps(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": user or {"token": "canary"}}],
        }
    )


def at(text: str, tmp_path: Path, **cluster: Any) -> StepWork:
    (tmp_path / "kubeconfig").write_text(text)
    destination = {"cluster": {"kubeconfig": f"file:{tmp_path / 'kubeconfig'}", **cluster}}
    return make_work(destination=destination, with_={"objects": [config_map("a")]})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate to try TLS with")
    return self_signed(tmp_path_factory.mktemp("tls") / "server.crt")


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    strict: Kubernetes, certificate: Path, tmp_path: Path
) -> None:
    with serving(b"{}", certificate) as port:
        server = f"https://127.0.0.1:{port}"
        with pytest.raises(StepFailed, match=r"certificate of the cluster .* can't be trusted: self.signed") as failure:
            await strict.observe(at(kubeconfig(server), tmp_path))
        assert not failure.value.retryable
        authority = base64.b64encode(await asyncio.to_thread(certificate.read_bytes)).decode()
        with pytest.raises(StepFailed, match="the cluster has no kind ConfigMap"):
            await strict.plan(at(kubeconfig(server, **{"certificate-authority-data": authority}), tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "it is not YAML that can be read"),
        ("just text", "must be one YAML document, an object"),
        ("{}", "has no current context"),
        (kubeconfig("http://x"), "KUBERNETES_INSECURE"),
        (kubeconfig("https://x", **{"insecure-skip-tls-verify": True}), "KUBERNETES_INSECURE"),
        (kubeconfig("ftp://x"), "no server with an https"),
        (kubeconfig("https://x", {"exec": {"apiVersion": "v1", "command": "/bin/sh"}}), "KUBECONFIG_EXEC"),
        (kubeconfig("https://x", {"tokenFile": "/etc/shadow"}), "KUBECONFIG_FILES"),
        (kubeconfig("https://x", {"client-certificate": "../x"}), "KUBECONFIG_FILES"),
        (kubeconfig("https://x", **{"certificate-authority": "/etc/passwd"}), "KUBECONFIG_FILES"),
        (kubeconfig("https://x", {"auth-provider": {"name": "gcp"}}), "auth-provider, which is not supported"),
        (kubeconfig("https://x", {"token": "t", "as": "root"}), "has as, which is not supported"),
        (
            kubeconfig("https://x", **{"certificate-authority-data": "canary!"}),
            "certificate-authority-data is not base64",
        ),
        (kubeconfig("https://x", {"token": ["canary"]}), "can't be used"),
    ],
)
async def test_a_kubeconfig_may_not_do_what_was_not_allowed(
    strict: Kubernetes, tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(StepFailed) as failure:
        await strict.observe(at(text, tmp_path))
    assert reason in failure.value.reason
    assert "canary" not in failure.value.reason


async def test_a_kubeconfig_that_is_not_there_is_named(strict: Kubernetes, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="can't be read: No such file"):
        await strict.observe(
            make_work(destination={"cluster": {"kubeconfig": f"file:{tmp_path}/none"}}, with_={"objects": [named("a")]})
        )
    with pytest.raises(StepFailed, match="the kubeconfig has no context 'other'"):
        await strict.observe(at(kubeconfig("https://x"), tmp_path, context="other"))


async def test_a_cluster_that_is_not_there_is_tried_again(strict: Kubernetes, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StepFailed, match="can't be reached: ConnectError") as failure:
            await strict.observe(at(kubeconfig(f"https://127.0.0.1:{port}"), tmp_path))
    assert failure.value.retryable


async def test_a_cluster_that_does_not_answer_is_not_waited_for(settings: Settings, tmp_path: Path) -> None:
    driver = Kubernetes(settings.model_copy(update={"kubernetes_seconds": 0.2, "kubernetes_insecure": True}))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        with pytest.raises(StepFailed, match=r"did not answer|can't be reached: ReadTimeout") as failure:
            await driver.observe(at(kubeconfig(f"http://127.0.0.1:{deaf.getsockname()[1]}"), tmp_path))
        assert failure.value.retryable
    await driver.close()


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"[" * 100_000])
async def test_what_is_no_kubernetes_api_is_told(settings: Settings, tmp_path: Path, answer: bytes) -> None:
    driver = Kubernetes(settings.model_copy(update={"kubernetes_insecure": True}))
    with serving(answer) as port, pytest.raises(StepFailed, match="is it a Kubernetes API"):
        await driver.observe(at(kubeconfig(f"http://127.0.0.1:{port}"), tmp_path))
    await driver.close()


LOGIN = """
import json, os, sys
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": {"token": %s}}))
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (LOGIN % "os.environ['TOKEN']", None),
        (LOGIN % "None", "gave no token"),
        ("import sys; sys.exit('canary')", "ended with 1"),
        ("print('canary')", "gave no token"),
        ("import time; time.sleep(60)", "took longer than"),
    ],
)
async def test_a_program_that_logs_in_is_run_if_that_is_allowed(
    settings: Settings, tmp_path: Path, program: str, reason: str | None
) -> None:
    allowed = {
        "kubernetes_insecure": True,
        "kubeconfig_exec": True,
        "kubernetes_seconds": 5.0 if reason is None else 1.0,
    }
    driver = Kubernetes(settings.model_copy(update=allowed))
    with Api() as api:
        login = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", program],
            "env": [{"name": "TOKEN", "value": "canary-token-of-the-cluster"}],
        }
        work = at(kubeconfig(api.url, {"exec": login}), tmp_path)
        if reason is None:
            assert (await driver.plan(work)).adds == 1
        else:
            with pytest.raises(StepFailed, match=reason) as failure:
                await driver.plan(work)
            assert "canary" not in failure.value.reason
    await driver.close()

"""The command against a whole platform: five services and a bus in a process of their own."""

import base64
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from entresol.demo.child import Child, running, start
from entresol.demo.receiver import receiving
from entresol.doors.client import Client
from entresol.embedded.home import Home
from typer.testing import Result

from tests.e2e.people import Person, Run, Town, eventually
from tests.e2e.world import entresol

MANIFESTS = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: thing, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties: {size: {type: integer, maximum: 9, default: 3}}
  lifetime: {max: 30d}
  actions:
    create:
      steps:
        - name: make
          driver: noop
          with: {outputs: {size: "${inputs.size}"}, fail: "${inputs.size == 7 ? 'seven never works' : ''}"}
    slow: {steps: [{name: linger, driver: noop, with: {seconds: 60}}]}
  outputs: {size: "${steps.make.outputs.size}"}
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: production}
spec:
  when: request.environment == "prod"
  rules:
    - approve: {from: ["group:sre"], notSelf: true}
      because: production needs a second pair of eyes
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: emergencies}
spec:
  rules:
    - breakGlass: {by: ["group:on-call"], review: {from: ["group:security"]}}
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: nothing-huge}
spec:
  rules:
    - deny: has(request.inputs.size) && request.inputs.size == 8
      because: eight is too much
"""


@pytest.fixture(scope="module")
def manifests() -> str:
    return MANIFESTS


@pytest.fixture(scope="module")
def child(place: Town) -> Child:
    return place.child


def ask(name: str, *more: str, size: int = 3, environment: str = "dev") -> tuple[str, ...]:
    return ("request", "thing", name, "-p", "shop", "-e", environment, "-i", f"size={size}", *more)


def test_a_request_is_followed_to_its_outputs(run: Run) -> None:
    result = run(*ask("followed", "--wait", "--timeout", "20", "-o", "json"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outputs"] == {"size": 3}
    assert "run.progressed  step make succeeded" in result.stderr


def test_a_request_that_fails_says_in_which_step_and_why(run: Run) -> None:
    result = run(*ask("failing", "--wait", "--timeout", "20", size=7))
    assert result.exit_code == 1
    assert "seven never works" in result.stdout


def test_a_denial_is_explained_by_its_rule(run: Run) -> None:
    result = run(*ask("huge", "--wait", "--timeout", "20", size=8))
    assert result.exit_code == 1
    assert "because eight is too much" in result.stdout
    explained = run("explain", "shop/dev/thing/huge")
    assert "· nothing-huge rule 0: denies: eight is too much" in explained.stdout


def test_wrong_inputs_are_told_by_the_option_and_nothing_is_stored(run: Run) -> None:
    result = run(*ask("wrong", size=10))
    assert result.exit_code == 2
    assert "-i size=…" in result.stderr
    assert run("explain", "shop/dev/thing/wrong").exit_code == 3


def test_an_unknown_offering_is_told(run: Run) -> None:
    result = run("request", "nonsense", "x", "-p", "shop", "-e", "dev")
    assert result.exit_code == 2
    assert "OFFERING" in result.stderr


def test_production_waits_for_a_second_actor(run: Run, place: Town) -> None:
    issued = json.loads(run("token", "create", "user:sue", "--group", "sre", "-p", "shop", "-o", "json").stdout)
    with Client(place.child.url, issued["token"]) as client:
        sue = Person("sue", place.child.url, issued["token"], client)

        def waits() -> str | None:
            waiting = run(*ask("cart", "--wait", "--timeout", "1", "--idempotency-key", "cart", environment="prod"))
            assert waiting.exit_code == 6
            return waiting.stderr if "group:sre" in waiting.stderr else None

        eventually(waits)
        assert "shop/prod/thing/cart" in run("status").stdout
        request = waiting_for_approval(run, "cart")
        assert request is not None
        refused = run("approve", request)
        assert refused.exit_code == 4, refused.output
        sue.does("approve", request, "--reason", "fine")
        assert ended(place, request) == "succeeded"
        assert "granted by user:sue: fine" in run("explain", request).stdout
        assert run("token", "revoke", issued["id"]).exit_code == 0
        eventually(lambda: sue.runs("status").exit_code == 4)


def ended(place: Town, request: str) -> str:
    return str(place.admin.client.wait(request, 20)["state"])


def asked(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["id"])


def test_a_question_is_handed_on_and_a_grant_taken_back(run: Run, place: Town) -> None:
    grace, bob = place.person("grace", "sre"), place.person("bob")
    request = asked(run(*ask("handed-on", "-o", "json", environment="prod")))
    eventually(lambda: waiting_for_approval(run, "handed-on"))
    assert bob.runs("approve", request).exit_code == 4
    grace.does("delegate", request, "--to", "user:bob", "--reason", "on leave")
    assert "user:grace hands on to user:bob: on leave" in run("status", request).stdout
    bob.does("approve", request)
    assert ended(place, request) == "succeeded"
    assert bob.runs("withdraw", request).exit_code == 3


def test_a_lock_holds_until_it_is_lifted(run: Run, place: Town) -> None:
    lock = asked(
        run("lock", "add", "-p", "shop", "--offering", "thing", "-e", "stage", "--reason", "a move", "-o", "json")
    )
    request = asked(run(*ask("locked", "-o", "json", environment="stage")))
    eventually(lambda: "a move" in run("status", request).stdout)
    assert "Held" in run("status").stdout
    waiting = run("status", request, "-o", "json")
    assert json.loads(waiting.stdout)["state"] == "held"
    assert "a move" in run("lock", "list").stdout
    assert run("lock", "lift", lock[:18], "--reason", "moved").exit_code == 0
    assert ended(place, request) == "succeeded"
    eventually(lambda: "lifted by" in run("lock", "list", "--all").stdout)
    explained = run("explain", request).stdout
    assert "request.held" in explained


WINDOW = """\
apiVersion: entresol.dev/v1
kind: Window
metadata: {{name: next-month}}
spec:
  when: request.environment == "test"
  effect: allow
  cron: "0 0 {at.day} {at.month} *"
  duration: 1h
  override: ["group:sre"]
  because: nothing changes here
"""


def test_who_may_lets_a_held_request_begin(run: Run, place: Town, tmp_path: Path) -> None:
    grace, bob = place.person("grace", "sre"), place.person("bob")
    (tmp_path / "window.yaml").write_text(WINDOW.format(at=datetime.now(UTC) + timedelta(days=30)))
    assert run("apply", str(tmp_path / "window.yaml")).exit_code == 0
    request = asked(run(*ask("hurried", "-o", "json", environment="test")))
    eventually(lambda: "nothing changes here" in run("status", request).stdout)
    refused = bob.runs("override", request, "--reason", "now")
    assert refused.exit_code == 4, refused.output
    grace.does("override", request, "--reason", "it can't wait")
    assert ended(place, request) == "succeeded"


def test_a_waived_rule_denies_nothing(run: Run) -> None:
    granted = run(
        "waiver", "grant", "Policy/nothing-huge", "--resource", "shop/dev/thing/waived", "--for", "1d",
        "--reason", "load test", "--ticket", "OPS-1", "-o", "json",
    )  # fmt: skip
    waiver = asked(granted)
    eventually(lambda: "OPS-1" in run("waiver", "list").stdout)
    assert run(*ask("waived", "--wait", "--timeout", "20", size=8)).exit_code == 0
    assert f"waived by {waiver}" in run("explain", "shop/dev/thing/waived").stdout
    assert run("waiver", "revoke", waiver[:18]).exit_code == 0
    eventually(lambda: run("waiver", "list").stdout.strip() == "no waivers")
    assert run(*ask("waived-no-more", "--wait", "--timeout", "20", size=8)).exit_code == 1


def test_broken_glass_waits_for_sign_off(run: Run, place: Town) -> None:
    ada, sam = place.person("ada", "on-call", "security"), place.person("sam", "security")
    broke = ada.runs(*ask("urgent", "--break-glass", "the shop is down", "-o", "json", environment="prod"))
    request = asked(broke)
    assert ended(place, request) == "succeeded"
    eventually(lambda: "the shop is down" in run("review", "list").stdout)
    assert "Waiting for sign-off" in run("status").stdout
    assert "broken by user:ada: the shop is down" in run("status", request).stdout
    assert "glass.broken" in run("explain", request).stdout
    own = ada.runs("review", "sign", request)
    assert own.exit_code == 4, own.output
    sam.does("review", "sign", request, "--reason", "there was no choice")
    eventually(lambda: run("review", "list").stdout.strip() == "nothing waits for sign-off")


TOLD = """\
apiVersion: entresol.dev/v1
kind: Channel
metadata: {{name: graces-own}}
spec: {{kind: webhook, url: "{url}", secretRef: "file:{secret}", answersAs: {{actor: "user:grace", groups: [sre]}}}}
---
apiVersion: entresol.dev/v1
kind: Route
metadata: {{name: ask-grace}}
spec:
  on: [dev.entresol.approval.requested.v1]
  when: event.data.resource_id.endsWith("/linked")
  channel: graces-own
"""


def test_a_link_answers_once_and_is_kept_nowhere(run: Run, place: Town, tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * 32).decode()
    (tmp_path / "secret").write_text(secret)
    with receiving(secret) as receiver:
        (tmp_path / "told.yaml").write_text(TOLD.format(url=receiver.url, secret=tmp_path / "secret"))
        assert run("apply", str(tmp_path / "told.yaml")).exit_code == 0
        request = asked(run(*ask("linked", "-o", "json", environment="prod")))
        eventually(lambda: receiver.taken)
    url = receiver.taken[0].event["data"]["answer_url"]
    assert url.startswith(f"{place.child.url}/intake/answers/")
    eventually(lambda: httpx.get(url).status_code == 200)
    assert httpx.post(url, data={"answer": "granted", "reason": "fine"}).status_code == 202
    assert ended(place, request) == "succeeded"
    assert "granted by user:grace: fine" in run("status", request).stdout
    assert httpx.post(url, data={"answer": "rejected"}).status_code == 409
    token = url.rpartition("/")[2].encode()
    files = [one for one in place.child.data.rglob("*") if one.is_file()]
    assert [one for one in files if token in one.read_bytes()] == []


def test_a_resource_is_extended_and_deleted(run: Run) -> None:
    assert run(*ask("passing", "--wait", "--timeout", "20", "--lifetime", "1h")).exit_code == 0
    assert run("extend", "shop/dev/thing/passing", "--for", "5d", "--wait").exit_code == 0
    assert run("delete", "shop/dev/thing/passing", "--wait", "--timeout", "20").exit_code == 0
    eventually(lambda: "deleted" in run("status", "shop/dev/thing/passing").stdout)


def test_a_dry_run_shows_a_plan_and_makes_nothing(run: Run) -> None:
    result = run(*ask("planned", "--dry-run", "--wait", "--timeout", "20"))
    assert result.exit_code == 0, result.output
    assert "plan: 1 to add" in result.stdout
    assert run("status", "shop/dev/thing/planned").exit_code == 3


def test_a_request_that_runs_is_cancelled(run: Run) -> None:
    assert run(*ask("slow", "--wait", "--timeout", "20")).exit_code == 0
    assert run("request", "thing", "slow", "-p", "shop", "-e", "prod", "-i", "size=1").exit_code == 0
    waiting = eventually(lambda: waiting_for_approval(run, "slow"))
    result = run("cancel", waiting, "--wait", "--reason", "changed my mind")
    assert result.exit_code == 0, result.output
    assert "cancelled" in result.stdout


def test_the_same_idempotency_key_asks_once(run: Run) -> None:
    first = json.loads(run(*ask("once", "--idempotency-key", "once", "-o", "json")).stdout)
    again = json.loads(run(*ask("once", "--idempotency-key", "once", "-o", "json")).stdout)
    assert first["id"] == again["id"]


def test_a_catalog_comes_in_and_goes_out(run: Run, tmp_path: Path) -> None:
    blueprint = {
        "identifier": "Domain",
        "title": "Domain",
        "schema": {"properties": {}, "required": []},
        "relations": {},
    }
    entity = {"identifier": "Orders", "title": "Orders", "blueprint": "Domain", "properties": {}, "relations": {}}
    (tmp_path / "catalog.json").write_text(json.dumps([entity, blueprint]))
    assert run("catalog", "import", str(tmp_path / "catalog.json")).exit_code == 0
    eventually(lambda: run("catalog", "get", "Domain", "Orders").exit_code == 0)
    assert "Orders" in run("catalog", "get", "Domain").stdout
    exported = json.loads(run("catalog", "export", "--format", "port").stdout)
    assert [one["identifier"] for one in exported["entities"]] == ["Orders"]
    assert run("catalog", "get", "Nonsense").exit_code == 3


def test_events_are_followed_live(child: Child, run: Run) -> None:
    environment = {**os.environ, "ENTRESOL_SERVER": child.url, "ENTRESOL_TOKEN": child.token}
    arguments = [sys.executable, "-m", "entresol", "events", "--follow", "--type", "request.completed", "-o", "json"]

    def interruptible() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if a shell runs the tests in the background

    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=interruptible
    ) as follower:
        lines: queue.Queue[str] = queue.Queue()
        stdout = follower.stdout
        assert stdout is not None

        def read() -> None:
            for line in stdout:
                lines.put(line)

        threading.Thread(target=read, daemon=True).start()

        def one_was_seen() -> bool:
            run(*ask(f"live-{time.monotonic_ns()}", "--wait", "--timeout", "20"))
            return not lines.empty()

        try:
            eventually(one_was_seen, seconds=20)
            assert json.loads(lines.get())["type"] == "dev.entresol.request.completed.v1"
        finally:
            follower.send_signal(signal.SIGINT)
            try:
                assert follower.wait(10) == 130
            finally:
                follower.kill()


def test_nothing_waits_for_an_operator(run: Run) -> None:
    assert run("dead-letters", "list").stdout.strip() == "no dead letters"


def test_a_token_that_nobody_knows_is_not_allowed(run: Run) -> None:
    result = run("status", "--token", "entresol_unknown")
    assert result.exit_code == 4
    assert "entresol token create" in result.stderr


def test_the_front_says_what_is_where(child: Child) -> None:
    assert "/intake" in httpx.get(child.url).json()["places"]
    assert "<h1>Entresol</h1>" in httpx.get(child.url, headers={"accept": "text/html"}).text
    ready = httpx.get(f"{child.url}/health/ready").json()
    assert set(ready["services"]) == {"intake", "policy", "provisioning", "catalog", "notification"}
    assert "entresol_events_handled_total" in httpx.get(f"{child.url}/metrics").text


def test_a_second_platform_on_the_same_data_is_refused(child: Child) -> None:
    result = entresol("up", "--data", str(child.data), "--port", "0")
    assert result.returncode == 1
    assert f"a platform is already running on {child.data} at {child.url}" in " ".join(result.stderr.split())


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = entresol("up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert result.returncode == 1
    assert f"port {port} of 127.0.0.1 can't be had" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "policy.db").write_bytes(b"something else" * 100)
    result = entresol("up", "--data", str(tmp_path), "--port", "0", "--bare")
    assert result.returncode == 1
    assert "policy.db can't be used: file is not a database" in " ".join(result.stderr.split())
    assert "docs/recovery.md" in result.stderr
    assert "Traceback" not in result.stderr
    assert not Home(tmp_path).in_use()


def test_secrets_of_the_data_directory_are_its_owners_alone(child: Child) -> None:
    for name in ("token", "link-keys", "bus.json", "nats/nats.conf"):
        assert (child.data / name).stat().st_mode & 0o077 == 0, name
    assert child.data.stat().st_mode & 0o077 == 0


def test_memory_stays_small(child: Child) -> None:
    resident = child.resident_bytes()
    if resident is None:
        pytest.skip("this system does not tell how much memory a process holds")
    assert resident < 250 * 2**20


def test_a_bus_that_dies_is_started_again(run: Run, child: Child) -> None:
    os.kill(bus_of(child.data), signal.SIGKILL)
    result = run(*ask("after-the-bus", "--wait", "--timeout", "30"))
    assert result.exit_code == 0, result.output


def test_a_platform_goes_on_where_a_killed_one_ended(tmp_path: Path) -> None:
    data = tmp_path / "data"
    killed = start(data)
    orphan = bus_of(data)
    try:
        assert (data / "starter-applied").exists()
        killed.process.kill()
        killed.process.wait()
        with running(data) as platform:
            assert not alive(orphan)
            manifests = entresol("apply", "--starter", "-o", "json", ENTRESOL_DATA=str(data))
            assert {one["result"] for one in json.loads(manifests.stdout)} == {"unchanged"}
            assert entresol("down", "--data", str(data)).stdout.startswith("ended the platform")
            assert platform.process.wait(10) == 0
        assert entresol("down", "--data", str(data)).stdout.startswith("no platform runs")
        assert Home(data).advertised() is None
    finally:
        assert killed.process.stdout is not None
        killed.process.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)


def test_a_platform_ends_in_order_though_somebody_follows_its_events(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, "--bare") as platform, Client(platform.url, platform.token) as client:
        stream = client.stream(after=0)
        assert next(stream)["specversion"] == "1.0"
        assert platform.stop() == 0
        stream.close()
    log = (data / "up.log").read_text()
    assert "Traceback" not in log, log


def test_the_demonstration_holds() -> None:
    result = entresol("demo", COLUMNS="110")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "✗ " not in result.stdout.partition("Checked")[2]


def bus_of(data: Path) -> int:
    """Process id of the platform's nats-server."""
    return int(next((data / "nats").glob("nats-server_*.ports")).stem.rpartition("_")[2])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def waiting_for_approval(run: Run, name: str) -> str | None:
    shown = json.loads(run("status", "-o", "json").stdout)["waiting_for_approval"]
    return next((one["id"] for one in shown if one["name"] == name), None)

"""The exec driver with real programs: the contract of files, from both sides."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.testing import eventually
from entresol_provisioning.conformance import Case, Conformance, later, make_work
from entresol_provisioning.drivers import Observation, StepFailed, StepSuspended, StepWork, Touched
from entresol_provisioning.drivers.exec import Exec
from entresol_provisioning.settings import Settings

THING = f"""#!{sys.executable} -IS
# Keeps a thing in a file; every effect adds a line to a ledger.
import json, os, sys
asked = json.load(open(os.environ["ENTRESOL_INPUT"]))
world, size = asked["input"]["world"], asked["input"]["size"]
file = os.path.join(world, asked["resource"]["name"])
there = open(file).read() if os.path.exists(file) else None
outputs = {{"size": size, "password": {{"secretRef": "env:THING"}}}}

def give(name, value):
    with open(os.path.join(os.environ["ENTRESOL_OUTPUT"], name), "w") as out:
        json.dump(value, out)

if asked["action"] == "observe":
    differences = [{{"path": file, "change": "changed"}}] if there not in (None, size) else []
    give("observation.json", {{"exists": there is not None, "differences": differences, "outputs": outputs}})
    sys.exit()
wanted = None if asked["destroys"] else size
if wanted == there:
    change = None
else:
    change = "add" if there is None else "destroy" if wanted is None else "change"
give("plan.json", {{
    "summary": [f"{{change}} {{file}}"] if change else [],
    "resources": [{{"address": file, "change": change, "type": "file"}}] if change else [],
    "from": there, "to": wanted,
}})
if not asked["destroys"]:
    give("outputs.json", outputs)
if os.environ["ENTRESOL_DRY_RUN"] == "0" and change:
    with open(os.path.join(world, "ledger"), "a") as ledger:
        ledger.write(f"{{asked['idempotencyKey']}} {{asked['attempt']}}\\n")
    if wanted is None:
        os.unlink(file)
    else:
        open(file, "w").write(wanted)
"""


def install(settings: Settings, name: str, text: str) -> None:
    place = settings.programs / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}")
    place.chmod(0o755)


@pytest.fixture
def driver(settings: Settings) -> Exec:
    return Exec(settings)


@pytest.fixture
def step(settings: Settings, work: Callable[..., StepWork]) -> Callable[..., StepWork]:
    """A step that runs a program with this text."""

    def make(text: str, number: int = 1, **attributes: Any) -> StepWork:
        install(settings, "given", text)
        with_ = {"program": "given", **attributes.pop("with_", {})}
        return work(run_id=f"run-{number}", idempotency_key=f"run-{number}/only", with_=with_, **attributes)

    return make


class TestExec(Conformance):
    @pytest.fixture
    def case(self, settings: Settings, tmp_path: Path) -> Case:
        install(settings, "tools/thing", THING)
        world = tmp_path / "world"
        world.mkdir()

        async def meddle(work: StepWork) -> None:
            (world / work.name).write_text("tampered")

        return Case(
            driver=Exec(settings),
            work=make_work(),
            good=lambda size: {"program": "tools/thing", "input": {"world": str(world), "size": size}},
            bad={"program": "../thing"},
            meddle=meddle,
        )


async def test_a_program_finds_who_asked_for_what_and_gives_outputs(
    driver: Exec, step: Callable[..., StepWork]
) -> None:
    give = 'cp "$ENTRESOL_INPUT" "$ENTRESOL_OUTPUT/outputs.json"; echo \'{"message": "all well"}\' > "$ENTRESOL_STATUS"'
    asked = step(give, inputs={"size": "small"}, previous={"host": "db"}, with_={"input": [1, {"a": "${b}"}]})
    result = await driver.apply(asked)
    assert result.message == "all well"
    assert result.outputs == {
        "action": "apply",
        "dryRun": False,
        "destroys": False,
        "adopts": False,
        "resource": {
            "id": "shop/dev/database/orders",
            "project": "shop",
            "environment": "dev",
            "offering": "database",
            "name": "orders",
        },
        "request": {"id": "request-1", "action": "create", "actor": "user:ada"},
        "run": "run-1",
        "step": "only",
        "idempotencyKey": "run-1/only",
        "inputs": {"size": "small"},
        "input": [1, {"a": "${b}"}],
        "previous": {"host": "db"},
        "memory": {},
        "answer": None,
        "attempt": 1,
    }


async def test_arguments_reach_the_program_as_they_are_and_no_shell_sees_them(
    driver: Exec, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    text = (
        f"#!{sys.executable}\nimport json, sys\njson.dump({{'given': sys.argv[1:]}}, open('output/outputs.json', 'w'))"
    )
    given = ["--size", "", "a b", "$(touch x)", "; rm -rf /", '${file("/etc/passwd")}', "ü\n", "--", "-v"]
    result = await driver.apply(step(text, with_={"arguments": given}, inputs={"v": "-v"}))
    assert result.outputs == {"given": given}


async def test_its_environment_holds_nothing_of_the_service(
    driver: Exec, step: Callable[..., StepWork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRESOL_PROVISIONING_NATS_PASSWORD", "canary")
    monkeypatch.setenv("CLOUD_TOKEN", "canary-token")
    text = f"""#!{sys.executable}
import json, os
env = {{name: value if name in ("MODE", "TOKEN") else "" for name, value in os.environ.items()}}
env["TOKEN"] = env["TOKEN"][::-1]
mask = os.umask(0)
json.dump({{"env": env, "umask": mask, "here": os.listdir()}}, open("output/outputs.json", "w"))
"""
    env = {"MODE": "fast", "TOKEN": {"secretRef": "env:CLOUD_TOKEN"}}
    outputs = (await driver.apply(step(text, with_={"env": env}))).outputs
    assert outputs["env"].pop("MODE") == "fast"
    assert outputs["env"].pop("TOKEN") == "nekot-yranac"
    ours = {"ACTION", "DESTROYS", "DRY_RUN", "INPUT", "OUTPUT", "STATUS"}
    assert {f"ENTRESOL_{name}" for name in ours} == {name for name in outputs["env"] if name.startswith("ENTRESOL_")}
    assert outputs["env"].keys() <= {*(f"ENTRESOL_{name}" for name in ours), "HOME", "TMPDIR"} | {"PATH", "LANG"} | {
        *("LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    }
    assert outputs["umask"] == 0o077
    assert sorted(outputs["here"]) == ["input", "output", "tmp"]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("env:ENTRESOL_PROVISIONING_NATS_PASSWORD", "the platform's own secrets are not given away"),
        ("file:/etc/passwd", "a secret's reference must be written in the offering, not in an input"),
        ("env:NO_SUCH_SECRET", "env:NO_SUCH_SECRET is not set or empty; provide it where this service runs"),
    ],
)
async def test_a_reference_leads_only_to_secrets_that_the_offering_may_name(
    driver: Exec, step: Callable[..., StepWork], reference: str, reason: str
) -> None:
    asked = step("true", with_={"env": {"KEY": {"secretRef": reference}}}, inputs={"key": "file:/etc/passwd"})
    with pytest.raises(StepFailed, match=f"/with/env/KEY(/secretRef)?: {reason}"):
        await driver.apply(asked)


async def test_a_secret_is_never_told(
    driver: Exec, step: Callable[..., StepWork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "canary-4711")
    secret = {"env": {"TOKEN": {"secretRef": "env:CLOUD_TOKEN"}}}
    with pytest.raises(StepFailed) as failed:
        await driver.apply(step('echo "refused: $TOKEN" >&2; exit 1', with_=secret))
    assert failed.value.reason == "the program given failed with exit code 1: refused: …"
    tells = 'echo "{\\"a\\": [\\"x-$TOKEN\\"]}" > output/outputs.json'
    with pytest.raises(StepFailed) as failed:
        await driver.apply(step(tells, 2, with_=secret))
    assert failed.value.reason == "its output/outputs.json holds the secret in TOKEN at /a/0; give a secretRef instead"


@pytest.mark.parametrize(
    ("text", "reason", "retryable"),
    [
        ("echo first >&2; echo last >&2; exit 3", "failed with exit code 3: first\nlast", False),
        ('echo \'{"message": "no room"}\' > "$ENTRESOL_STATUS"; exit 1', "failed with exit code 1: no room", False),
        ("echo busy >&2; exit 75", "failed with exit code 75: busy", True),
        ("echo '{' > status.json; exit 1", "failed with exit code 1", False),
        ("kill -9 $$", "failed with signal 9", True),
        (r"printf 'a\033[31m\007b' >&2; exit 1", "failed with exit code 1: a [31m b", False),
        ("#!/no/such/interpreter\n", "can't be started: No such file or directory", False),
    ],
)
async def test_a_failure_says_what_the_program_said(
    driver: Exec, step: Callable[..., StepWork], text: str, reason: str, retryable: bool
) -> None:
    with pytest.raises(StepFailed) as failed:
        await driver.apply(step(text))
    assert failed.value.reason == f"the program given {reason}"
    assert failed.value.retryable == retryable


async def test_what_should_be_tried_again_is_and_is_told_so(driver: Exec, step: Callable[..., StepWork]) -> None:
    text = """
grep '"attempt": 2' input/object.json && echo '{"second": true}' > output/outputs.json && exit 0
exit 75
"""
    with pytest.raises(StepFailed):
        await driver.apply(step(text))
    assert (await driver.apply(replace(step(text), attempted=True))).outputs == {"second": True}


async def test_a_program_that_waits_is_called_again_with_what_it_remembers(
    driver: Exec, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    text = f"""
echo once >> {tmp_path}/ledger
if grep -q '"seen": 1' input/object.json; then
    echo '{{"done": true}}' > output/outputs.json
else
    echo '{{"suspend": "the queue is full", "retryAfter": "90s",' > status.json
    echo '"memory": {{"seen": 1}}, "resumable": true}}' >> status.json
fi
"""
    for _ in range(2):  # the second time nobody knows of the first
        with pytest.raises(StepSuspended) as waits:
            await driver.apply(step(text))
        assert (waits.value.reason, waits.value.look_after_seconds) == ("the queue is full", 90)
        assert waits.value.resumable
    again = replace(step(text), memory=waits.value.memory, answer={"ok": True}, attempted=True)
    assert (await driver.apply(again)).outputs == {"done": True}
    assert (await driver.apply(again)).outputs == {"done": True}
    assert (tmp_path / "ledger").read_text() == "once\nonce\n"


async def test_a_program_can_wait_for_a_person(driver: Exec, step: Callable[..., StepWork]) -> None:
    text = """
cp input/object.json output/outputs.json
grep -q '"answer": null' input/object.json && echo '{"suspend": true, "message": "may I?"}' > status.json
true
"""
    with pytest.raises(StepSuspended) as waits:
        await driver.apply(step(text))
    assert (waits.value.reason, waits.value.look_after_seconds, waits.value.resumable) == ("may I?", None, True)
    answered = replace(step(text), memory=waits.value.memory, answer={"yes": "${1}"})
    assert (await driver.apply(answered)).outputs["answer"] == {"yes": "${1}"}


async def test_a_plan_is_told_without_an_effect_and_counted(driver: Exec, step: Callable[..., StepWork]) -> None:
    text = """
test "$ENTRESOL_ACTION$ENTRESOL_DRY_RUN$ENTRESOL_DESTROYS" = plan10 || exit 9
echo '{"summary": ["+ a"], "resources": [{"address": "a", "change": "replace", "type": "box"}]}' > output/plan.json
"""
    plan = await driver.plan(step(text))
    assert (plan.adds, plan.changes, plan.destroys) == (1, 0, 1)
    assert (plan.summary, plan.resources) == (("+ a",), (Touched("a", "replace", "box"),))
    other = await driver.plan(step(text, with_={"input": "secret"}))
    assert other.digest != plan.digest
    assert (await driver.plan(step(text + "\n"))).digest != plan.digest, "another program is another plan"


async def test_a_program_that_can_t_plan_is_planned_as_one_change(driver: Exec, step: Callable[..., StepWork]) -> None:
    for text in ("exit 64", "true"):
        plan = await driver.plan(step(text))
        assert (plan.adds, plan.resources) == (1, (Touched("shop/dev/database/orders", "add"),))
        assert plan == await driver.plan(step(text))
        assert (await driver.plan(step(text, previous={}))).changes == 1
        assert (await driver.plan(step(text, previous={}, destroys=True))).destroys == 1


async def test_what_can_t_be_observed_is_not_made_up(driver: Exec, step: Callable[..., StepWork]) -> None:
    for text in ("exit 64", "true"):
        with pytest.raises(StepFailed, match="can't tell what is there"):
            await driver.observe(step(text, previous={}))
    blind = step("exit 1", with_={"observes": False}, previous={})
    assert await driver.observe(blind) == Observation(exists=True)
    assert await driver.observe(replace(blind, destroys=True)) == Observation(exists=False)


async def test_what_a_destroy_kept_is_told(driver: Exec, step: Callable[..., StepWork]) -> None:
    result = await driver.destroy(step('echo \'{"kept": "the last backup"}\' > status.json'))
    assert result.kept == "the last backup"


async def test_a_program_that_must_not_run_twice_is_not_started_again_in_the_dark(
    driver: Exec, step: Callable[..., StepWork], settings: Settings, tmp_path: Path
) -> None:
    asked = step(f"echo x >> {tmp_path}/ledger", with_={"once": True})
    assert (await driver.apply(asked)).outputs == {}
    for record in settings.executions.rglob("ended.json"):
        record.unlink()  # as if its supervisor had been killed
    with pytest.raises(StepFailed, match="nobody knows how the program given ended; look at what it has done"):
        await driver.apply(replace(asked, attempted=True))
    assert (tmp_path / "ledger").read_text() == "x\n"


async def test_a_program_that_must_not_run_twice_is_not_started_again_after_its_deadline(
    driver: Exec, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    asked = step(f"echo x >> {tmp_path}/ledger; exec sleep 600", with_={"once": True})
    with pytest.raises(StepFailed, match="was not done in time"):
        await driver.apply(replace(asked, deadline=asyncio.get_running_loop().time() + 2))
    with pytest.raises(StepFailed, match="nobody knows how the program given ended"):
        await driver.apply(replace(asked, attempted=True))
    assert (tmp_path / "ledger").read_text() == "x\n"


async def test_its_deadline_ends_it(driver: Exec, step: Callable[..., StepWork]) -> None:
    asked = step("trap '' TERM; while true; do sleep 1; done")
    quick = replace(asked, deadline=asyncio.get_running_loop().time() + 0.5)
    driver._limits = replace(driver._limits, grace_seconds=0.2)
    with pytest.raises(StepFailed) as failed:
        await driver.apply(quick)
    assert failed.value.reason == "the program given was not done in time, and was stopped"
    assert failed.value.retryable


async def test_a_cancelled_step_leaves_no_process_and_is_run_again(
    driver: Exec, step: Callable[..., StepWork], tmp_path: Path
) -> None:
    text = f"echo $$ >> {tmp_path}/pids; test -e {tmp_path}/go || exec sleep 600"
    task = asyncio.create_task(driver.apply(step(text)))
    pids = tmp_path / "pids"
    await eventually(lambda: asyncio.to_thread(pids.exists))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)
    (tmp_path / "go").touch()
    assert (await driver.apply(replace(step(text), attempted=True))).outputs == {}


async def test_only_the_last_run_of_a_step_is_kept(
    driver: Exec, step: Callable[..., StepWork], settings: Settings
) -> None:
    for number in range(3):
        await driver.apply(later(step("echo '{}' > output/outputs.json"), number))
    assert len(list(settings.executions.rglob("ended.json"))) == 1
    record = next(settings.executions.rglob("ended.json"))
    assert json.loads(record.read_text())["code"] == 0
    os.utime(record, (0, 0))
    await Exec(settings).apply(step("true", 4, name="another"))
    assert not record.exists(), "what ended long ago is swept away"

"""What users write, and what programs do that were not written well: a clear error, and nothing else is harmed."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.exec import Exec
from entresol_provisioning.settings import Settings

LEAVES = f"""#!{sys.executable}
import os, signal, sys, time
sys.setrecursionlimit(10**6)
os.chdir("output")
{{}}
"""


@pytest.fixture
def driver(settings: Settings) -> Exec:
    return Exec(settings.model_copy(update={"exec_file_mib": 64, "exec_memory_mib": 256, "exec_processes": 20}))


@pytest.fixture
def programs(settings: Settings) -> Path:
    settings.programs.mkdir(parents=True)
    return settings.programs


@pytest.fixture
def step(programs: Path, work: Callable[..., StepWork]) -> Callable[..., StepWork]:
    """A step that runs a program with this text; without one, a program that must not be run."""

    def make(text: str = "#!/bin/sh\necho run > /proc/self/cwd/../../ran\n", **attributes: Any) -> StepWork:
        (programs / "given").write_text(text)
        (programs / "given").chmod(0o755)
        return work(with_={"program": "given", **attributes.pop("with_", {})}, **attributes)

    return make


async def why(driver: Exec, asked: StepWork) -> str:
    with pytest.raises(StepFailed) as failed:
        await driver.apply(asked)
    assert failed.value.reason.isprintable()
    assert len(failed.value.reason) < 1000
    return failed.value.reason


NO_NAME = "/with/program: must be a program's name: letters, digits, dots, dashes and slashes"

NO_VARIABLE = "its name must be letters, digits and _, and not begin with ENTRESOL_ or LD_"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"program": "../given"}, NO_NAME),
        ({"program": "/bin/sh"}, NO_NAME),
        ({"program": "a/../given"}, NO_NAME),
        ({"program": "--upload-pack=given"}, NO_NAME),
        ({"program": "given\0"}, NO_NAME),
        ({"program": "given\n"}, NO_NAME),
        ({"program": ".given"}, NO_NAME),
        ({"program": "x" * 10_000}, NO_NAME),
        ({"program": "a/b/c/d/e"}, NO_NAME),
        ({"program": "{{ given }}"}, NO_NAME),
        ({"program": '${file("/etc/passwd")}'}, NO_NAME),
        ({"program": "other"}, "there is no program other; install it in the programs' directory"),
        ({"program": "folder"}, "the program folder is no executable file"),
        ({"program": "plain"}, "the program plain is no executable file"),
        ({"program": "shared"}, "the program shared can be changed by everybody; take away that right (chmod o-w)"),
        ({"program": "link"}, "the program link is a symbolic link, or behind one, which is not followed"),
        ({"program": "chain/sh"}, "the program chain/sh is a symbolic link, or behind one, which is not followed"),
        ({"program": ["given"]}, "/with/program: must be text"),
        ({"arguments": "rm -rf /"}, "/with/arguments: must be a list"),
        ({"arguments": [1]}, "/with/arguments/0: must be text; put it in quotes"),
        ({"arguments": ["a\0b"]}, "/with/arguments/0: must be text without NUL"),
        ({"arguments": ["\ud800"]}, "/with/arguments/0: Input should be a valid string"),
        ({"arguments": ["x" * 200_000]}, "/with/arguments/0: must be text without NUL, at most 100 KiB"),
        ({"arguments": ["é" * 60_000]}, "/with/arguments: one exceeds 100 KiB; put it into input"),
        ({"arguments": ["x"] * 2000}, "/with/arguments: must have at most 1000 items"),
        ({"env": {"LD_PRELOAD": "evil.so"}}, f"/with/env/LD_PRELOAD: {NO_VARIABLE}"),
        ({"env": {"ENTRESOL_DRY_RUN": "1"}}, f"/with/env/ENTRESOL_DRY_RUN: {NO_VARIABLE}"),
        ({"env": {"A=B": "1"}}, f"/with/env/A=B: {NO_VARIABLE}"),
        ({"env": {"A": "a\0b"}}, "/with/env/A: must be text without NUL"),
        ({"env": {"A": 1}}, "/with/env/A: must be text or a map"),
        ({"env": {"A": {"secretRef": "env:A", "or": 1}}}, "/with/env/A/or: unknown field or"),
        ({"env": None}, None),
        ({"env": ["A"]}, "/with/env: must be a map"),
        ({"arguemnts": []}, "/with/arguemnts: unknown field arguemnts; did you mean arguments?"),
        ({"once": "yes"}, "/with/once: must be true or false"),
    ],
)
async def test_what_a_step_must_not_say_is_refused(
    driver: Exec, step: Callable[..., StepWork], programs: Path, given: dict[str, Any], reason: str | None
) -> None:
    (programs / "folder").mkdir()
    for name, mode in (("plain", 0o644), ("shared", 0o757)):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(mode)
    (programs / "link").symlink_to("given")
    (programs / "chain").symlink_to("chain2")
    (programs / "chain2").symlink_to("/bin")
    if reason is None:
        await driver.apply(step("#!/bin/sh\n", with_=given))
    else:
        assert reason in await why(driver, step(with_=given))
        assert not list(programs.parent.rglob("ran"))


@pytest.mark.parametrize(
    "arguments", [["--upload-pack=evil"], ["clone", "--upload-pack=evil/more"], ["-x", "--", "y"], ["-x"]]
)
async def test_a_users_text_never_becomes_an_option(
    driver: Exec, step: Callable[..., StepWork], arguments: list[str]
) -> None:
    asked = step(with_={"arguments": arguments}, inputs={"a": ["--upload-pack=evil"], "b": {"c": "-x"}, "d": "--"})
    assert "/with/arguments: a text from outside begins with -; put it after --" in await why(driver, asked)


LEFT: dict[str, tuple[str, str]] = {
    "garbage": ("open('outputs.json', 'wb').write(bytes(range(256)))", "is not UTF-8 text"),
    "half": ("open('outputs.json', 'w').write('{')", "line 1: a text in double quotes is missing here"),
    "nan": ("open('outputs.json', 'w').write('{\"a\": NaN}')", "line 1: a value is missing here"),
    "twice": ("open('outputs.json', 'w').write('{\"a\": 1, \"a\": 2}')", "line 1: the key 'a' is there twice"),
    "deep": ("open('outputs.json', 'w').write('[' * 100000 + ']' * 100000)", "line 1: it nests deeper than 64"),
    "big": ("open('outputs.json', 'w').write('{\"a\": \"' + 'x' * 50_000_000 + '\"}')", "exceeds 1024 KiB"),
    "list": ("open('outputs.json', 'w').write('[1]')", "holds no JSON object"),
    "link": ("os.symlink('/etc/passwd', 'outputs.json')", "is no plain file"),
    "chain": ("os.symlink('b', 'outputs.json'); os.symlink('/etc/hostname', 'b')", "is no plain file"),
    "folder-link": ("os.rmdir('../output'); os.symlink('/etc', '../output')", "is no plain file"),
    "fifo": ("os.mkfifo('outputs.json')", "is no plain file"),
    "device": ("os.symlink('/dev/zero', 'outputs.json')", "is no plain file"),
    "folder": ("os.mkdir('outputs.json')", "is no plain file"),
    "folder-fifo": ("os.rmdir('../output'); os.mkfifo('../output')", "is no plain file"),
    "surrogate": ("open('outputs.json', 'w').write(r'{\"a\": \"\\ud800\"}')", "half of a surrogate pair"),
}


@pytest.mark.parametrize("left", LEFT)
async def test_what_it_leaves_is_read_with_care(driver: Exec, step: Callable[..., StepWork], left: str) -> None:
    code, reason = LEFT[left]
    said = await why(driver, step(LEAVES.format(code)))
    assert said.startswith("its output/outputs.json ")
    assert reason in said


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ('{"suspend": true}', "suspend: true without a message"),
        ('{"suspend": "x", "retryAfter": "soon"}', "retryAfter: 'soon' is no duration"),
        ('{"suspend": "x", "memory": [1]}', "memory must be an object"),
        (f'{{"suspend": "x", "memory": {{"a": "{"x" * 20_000}"}}}}', "memory exceeds 16 KiB"),
        ("nonsense", "its status.json line 1"),
    ],
)
async def test_a_status_that_makes_no_sense_is_no_success(
    driver: Exec, step: Callable[..., StepWork], status: str, reason: str
) -> None:
    assert reason in await why(driver, step(f"#!/bin/sh\necho '{status}' > status.json\n"))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ('{"adds": -1}', "its plan.json: adds is no number of things"),
        ('{"adds": true}', "its plan.json: adds is no number of things"),
        ('{"summary": "all"}', "its plan.json: summary is no list"),
        ('{"summary": [1]}', "a summary that is no list of lines"),
        ('{"resources": [{"address": "a", "change": "eat"}]}', "/resources/0 needs address, and change"),
        ('{"resources": [{"change": "add"}]}', "/resources/0 needs address, and change"),
    ],
)
async def test_a_plan_that_makes_no_sense_is_no_plan(
    driver: Exec, step: Callable[..., StepWork], plan: str, reason: str
) -> None:
    with pytest.raises(StepFailed, match=reason):
        await driver.plan(step(f"#!/bin/sh\necho '{plan}' > output/plan.json\n"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "for _ in range(200):\n    if os.fork() == 0: os.setsid(); signal.pause()",
            "started more processes than it may",
        ),
        ("x = bytes(10**10)", "MemoryError"),
        ("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))", "File too large"),
        ("for n in range(10000): open(str(n), 'wb').write(bytes(60 << 20))", "wrote more than it may"),
        ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", "was not done in time"),
    ],
    ids=["fork-bomb", "memory", "10-gb-file", "many-files", "never-ends"],
)
async def test_a_program_that_takes_too_much_is_ended(
    driver: Exec, step: Callable[..., StepWork], settings: Settings, code: str, reason: str
) -> None:
    driver._limits = replace(driver._limits, grace_seconds=0.2)
    seconds = 1 if "time" in reason else 60
    asked = step(LEAVES.format(f"{code}\ntime.sleep(99)"), deadline=time.monotonic() + seconds)
    assert reason in await _reason(driver, asked)
    assert not _working_in(settings.executions)


def _working_in(place: Path) -> list[Path]:
    return [one for one in Path("/proc").glob("[0-9]*/cwd") if _where(one).startswith(str(place))]


async def _reason(driver: Exec, asked: StepWork) -> str:
    with pytest.raises(StepFailed) as failed:
        await driver.apply(asked)
    return failed.value.reason


def _where(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


async def test_deep_folders_are_removed_again(driver: Exec, step: Callable[..., StepWork], settings: Settings) -> None:
    deep = "for _ in range(3000): os.mkdir('d'); os.chdir('d')"
    await driver.apply(step(LEAVES.format(deep)))
    again = step("#!/bin/sh\n", run_id="run-2", idempotency_key="run-2/only")
    assert (await driver.apply(again)).outputs == {}
    assert len(list(settings.executions.glob("*/*/*/*/*/apply-*"))) == 1

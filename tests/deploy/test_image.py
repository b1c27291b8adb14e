"""The Dockerfile makes small, unprivileged images out of what the lock pins."""

import json
import re
import subprocess
import sys

import pytest
from entresol_eventing.permissions import SERVICES

from tests.deploy import manifests

TEXT = (manifests.ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
FINAL = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]


def arguments(instruction: str) -> list[str]:
    return [line.removeprefix(instruction).strip() for line in FINAL if line.startswith(f"{instruction} ")]


def test_base_images_are_pinned() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", TEXT, flags=re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    assert all(line.split()[1] == "${PYTHON_IMAGE}" for line in LINES if line.startswith("FROM "))
    assert ":latest" not in TEXT


def test_the_process_is_not_root() -> None:
    (user,) = arguments("USER")
    assert user == "10001:10001"
    assert FINAL.index(f"USER {user}") < FINAL.index(next(line for line in FINAL if line.startswith("CMD")))


def test_it_starts_without_a_shell_so_that_signals_reach_it() -> None:
    (command,) = arguments("CMD")
    assert json.loads(command) == ["entresol-service"]
    assert 'ln -s "entresol-$SERVICE" /opt/venv/bin/entresol-service' in TEXT
    assert not arguments("ENTRYPOINT")


def test_it_says_whether_it_lives() -> None:
    (check,) = arguments("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "http://127.0.0.1:8080/health/live" in command[2]


def test_everything_is_installed_with_hashes_and_without_building() -> None:
    installs = re.findall(r"pip install ([^&\n]+)", "\n".join(LINES))
    assert installs
    for install in installs:
        assert ("--require-hashes" in install and "--only-binary :all:" in install) or "--no-index" in install


def test_no_compiler_is_left() -> None:
    assert not re.search(r"\b(gcc|g\+\+|build-essential|make|python3-dev|cargo)\b", "\n".join(FINAL))


def test_what_is_copied_exists_and_gets_through_the_dockerignore() -> None:
    allowed = [
        line.removeprefix("!")
        for line in (manifests.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for line in LINES:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                for service in SERVICES:
                    path = source.replace("${SERVICE}", service)
                    assert (manifests.ROOT / path).exists(), path
                    assert any(path == one or path.startswith(f"{one}/") for one in allowed), path


def test_links_within_what_is_copied_lead_into_what_is_copied() -> None:
    copied = [source for line in LINES if line.startswith("COPY ") for source in line.split()[1:-1]]
    for folder in (source for source in copied if source.startswith(("libs/", "services/"))):
        for path in (manifests.ROOT / folder.split("$")[0]).rglob("*"):
            if path.is_symlink():
                target = str(path.resolve().relative_to(manifests.ROOT))
                assert any(target == source or target.startswith(f"{source}/") for source in copied), path


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_what_its_service_needs_and_no_development_tool(service: str) -> None:
    script = manifests.COMPOSE / "image/requirements.py"

    def told(what: str) -> list[str]:
        command = [sys.executable, str(script), service, what]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    entries = [line for line in told("--third-party") if line and not line.startswith(" ")]
    names = {line.split("==")[0] for line in entries}
    assert names >= {"nats-py", "sqlmodel", "psycopg", "uvicorn"}
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "schemathesis", "uv", "datamodel-code-generator"}
    assert all(line.endswith("\\") for line in entries)
    own = {path.removeprefix(f"{manifests.ROOT}/") for path in told("--own")}
    assert own >= {"libs/contracts", "libs/eventing", f"services/{service}"}
    assert own <= {"libs/contracts", "libs/eventing", "libs/manifests", f"services/{service}"}

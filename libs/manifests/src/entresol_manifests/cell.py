"""A process in which expressions are evaluated that may take long, or much memory.

The engine can't be interrupted and lets no other thread run meanwhile; a process can be ended. It is started when it is
first needed, and anew after it was ended. Whoever waits for it does not hold the interpreter's lock.

- The kernel ends it after `limit_seconds` of processor time for one expression. Functions of the scope that are called
  back run in the thread that waits, and may take PATIENCE times as much. So a busy machine makes no expression fail.
- If it says nothing for SILENT_SECONDS, for whatever reason, it is ended and another one is asked. By the clock no
  expression takes longer, even if each of many functions waits.
- It has `memory_bytes` of address space.
- It reads the end of the channel when the process that started it is gone, and ends.
"""

import contextlib
import io
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from entresol_manifests.expressions import ExpressionError, Scope, compile_expression

PATIENCE: Final = 8
"""Times the limit: what the functions of the scope may take of processor time."""
SILENT_SECONDS = 30.0
IDLE_SECONDS: Final = 300.0
"""After so long without a question it ends by itself; the next one starts it anew."""
LARGEST_ANSWER: Final = 1024 * 1024
TOO_MUCH_MEMORY: Final = 3
"""The exit status that says so."""
NOT_PLAIN: Final = "the variables hold something that is neither JSON nor a time"


class CellLost(Exception):
    """The process was ended by what it evaluated; the text says why, for the author of the expression."""


class Cell:
    """The process, for any number of threads, which take turns. `close` ends it."""

    def __init__(self, limit_seconds: float, memory_bytes: int) -> None:
        self._limit_seconds = limit_seconds
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._spent: weakref.WeakKeyDictionary[Scope, float] = weakref.WeakKeyDictionary()

    def spent(self, scope: Scope) -> float:
        """Seconds of processor time that expressions took in this scope."""
        return self._spent.get(scope, 0.0)

    def evaluate(self, source: str, scope: Scope, *, condition: bool) -> Any:
        """What the expression's `holds` says if it is a condition, else its value.

        Raises ExpressionError as the expression would, CellLost if the process was lost over it, OSError if it can't be
        started, and whatever else a function of the scope raises.
        """
        if self._process is not None and self._process.owner != os.getpid():
            self._lock, self._process = threading.Lock(), None  # the parent's, which goes on using it
        with self._lock:
            for _ in range(2):
                try:
                    if self._process is None:
                        self._process = _Process(self._limit_seconds, self._memory_bytes)
                    answer = self._process.evaluate(source, scope, condition=condition)
                except _Gone:  # not over this expression: it had been idle, or somebody ended it
                    self._end()
                except BaseException as error:
                    if isinstance(error, CellLost):
                        self._spent[scope] = self.spent(scope) + self._limit_seconds
                    self._end()
                    raise
                else:
                    self._spent[scope] = self.spent(scope) + answer.seconds
                    if answer.error is not None:
                        raise ExpressionError(answer.error, missing=answer.missing)
                    return answer.value
            raise CellLost("the process in which it was evaluated was ended from outside, or stood still, twice")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Gone(Exception):
    """The process had ended, or was ended, for a reason that has nothing to do with the expression."""


class _Answer(NamedTuple):
    value: Any
    error: str | None
    missing: str | None
    seconds: float


class _Process:
    """One process and the channel to it."""

    def __init__(self, limit_seconds: float, memory_bytes: int) -> None:
        self.owner = os.getpid()
        self._limit_seconds = limit_seconds
        self._memory_bytes = memory_bytes
        self._scope: Callable[[], Scope | None] = lambda: None
        self._changes = 0
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "entresol_manifests.cell", str(limit_seconds), str(memory_bytes)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # and no secrets
                    start_new_session=True,  # it is not for a terminal to interrupt
                )
        except BaseException:
            self._channel.close()
            raise
        self.end = weakref.finalize(self, _end, self._process, self._channel, self.owner)
        try:
            self._hear()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.end()
            raise OSError("the process for expressions does not start") from None

    def evaluate(self, source: str, scope: Scope, *, condition: bool) -> _Answer:
        """Raise CellLost, _Gone, or what a function of the scope raises; the process is of no use then."""
        known = self._scope() is scope and self._changes == scope.changes
        new = None if known else (dict(scope.variables), tuple(scope.functions))
        try:
            packed = _pack((new, source, condition))
        except Exception:
            return _Answer(None, NOT_PLAIN, None, 0.0)
        clock, processor = time.monotonic(), time.thread_time()
        kind, *said = self._ask(packed)
        while kind == "call":
            packed = _call(scope.functions[said[0]], said[1])
            if time.thread_time() - processor > PATIENCE * self._limit_seconds:
                raise CellLost(f"takes more than {PATIENCE * self._limit_seconds:g} s in the functions that it calls")
            if time.monotonic() - clock > SILENT_SECONDS:
                raise CellLost(f"waits more than {SILENT_SECONDS:g} s for the functions that it calls")
            kind, *said = self._ask(packed)
        self._scope, self._changes = weakref.ref(scope), scope.changes
        return _Answer(*said)

    def _ask(self, packed: bytes) -> Any:
        try:
            self._channel.settimeout(SILENT_SECONDS)
            self._channel.sendall(packed)
            return self._hear()
        except TimeoutError:
            raise _Gone from None
        except (EOFError, ConnectionError):
            raise self._lost() from None

    def _hear(self) -> Any:
        self._channel.settimeout(SILENT_SECONDS)
        return _message(self._channel.recv)

    def _lost(self) -> Exception:
        """Why the process ended, from its exit status."""
        try:
            status = self._process.wait(timeout=SILENT_SECONDS)
        except subprocess.TimeoutExpired:
            return _Gone()
        if status == -signal.SIGPROF:
            return CellLost(f"takes more than {self._limit_seconds:g} s")
        if status in (-signal.SIGABRT, TOO_MUCH_MEMORY):
            return CellLost(f"takes more memory than {self._memory_bytes // 2**20} MiB")
        if status in (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
            return _Gone()
        return CellLost("makes the expression engine crash")


def _end(process: "subprocess.Popen[bytes]", channel: socket.socket, owner: int) -> None:
    channel.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()
    else:
        process.returncode = 0  # of a process that forked this one: not for us to wait for


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """What a function of the scope says, packed. What it raises that is not about the arguments is raised here."""
    try:
        value = function(*arguments)
    except TypeError as error:
        return _pack(("type", str(error)))
    except ValueError as error:
        return _pack(("unfit", str(error)))
    try:
        return _pack(("value", value))
    except Exception:
        return _pack(("unfit", "gives something that is neither JSON nor a time"))


def _pack(message: Any) -> bytes:
    packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(packed).to_bytes(8, "big") + packed


def _message(read: Callable[[int], bytes]) -> Any:
    """The next message; raise EOFError if there is none, and UnpicklingError if it is not plain."""

    def exactly(size: int) -> bytes:
        parts = io.BytesIO()
        while parts.tell() < size:
            part = read(min(size - parts.tell(), 1 << 20))
            if not part:
                raise EOFError
            parts.write(part)
        return parts.getvalue()

    return _Plain(io.BytesIO(exactly(int.from_bytes(exactly(8), "big")))).load()


class _Plain(pickle.Unpickler):
    """Reads JSON and times, and can't be made to do anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "datetime" and name in ("datetime", "timedelta", "timezone"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError("neither JSON nor a time")


def serve(channel: socket.socket, limit_seconds: float) -> None:
    """Answer until there are no more questions, or none for IDLE_SECONDS."""

    def call_back(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            channel.sendall(_pack(("call", name, arguments)))
            kind, said = _message(channel.recv)
            if kind == "value":
                return said
            raise TypeError(said) if kind == "type" else ValueError(said)

        return call

    def evaluated(source: str, *, condition: bool) -> bytes:
        value, error, missing = None, None, None
        try:
            expression = compile_expression(source)
            value = expression.holds(scope) if condition else expression.evaluate(scope)
        except ExpressionError as failure:
            error, missing = failure.message, failure.missing
        except pickle.UnpicklingError:
            error = NOT_PLAIN
        packed = _pack(("answer", value, error, missing, time.process_time() - begun))
        if len(packed) > LARGEST_ANSWER:
            packed = _pack(("answer", None, "it gives more than 1 MiB", None, time.process_time() - begun))
        return packed

    scope = Scope()
    while True:
        channel.settimeout(IDLE_SECONDS)
        try:
            new, source, condition = _message(channel.recv)
        except (EOFError, OSError):
            return
        except pickle.UnpicklingError:
            scope = Scope()
            channel.sendall(_pack(("answer", None, NOT_PLAIN, None, 0.0)))
            continue
        channel.settimeout(None)
        if new is not None:
            scope = Scope(functions={name: call_back(name) for name in new[1]}, **new[0])
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, limit_seconds)
        packed = evaluated(source, condition=condition)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.sendall(packed)


def main() -> None:
    limit_seconds, memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(OSError, ValueError):  # not every system knows every limit
            resource.setrlimit(what, (most, most))
    with socket.socket(fileno=sys.stdin.fileno()) as channel:
        try:
            channel.sendall(_pack("ready"))
            serve(channel, limit_seconds)
        except MemoryError:
            os._exit(TOO_MUCH_MEMORY)
        except OSError:
            os._exit(0)  # nobody listens any more


if __name__ == "__main__":
    main()

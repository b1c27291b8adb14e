"""Render templates in a child process, because Jinja's sandbox bounds what a template may reach, not how long it runs.

The child lives on between calls. The kernel ends it when one takes too much processor time, so a busy machine fails
none; the next call starts another. Run as a module, this file is the child: it reads requests from its standard input
and answers on its standard output, each four bytes of length and that much JSON.

Values from requests are written into templates as they are, so a line break in one could add lines to a YAML file:
it is refused unless the template passes the value through `tojson` (or vouches for it with `safe`).
"""

import asyncio
import contextlib
import json
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

LARGEST_BYTES = 4 * 1024 * 1024
MEMORY_BYTES = 1024 * 1024 * 1024
SILENT_SECONDS = 60.0
"""After so long without an answer the child is killed, however little it has done."""
_LENGTH = struct.Struct("!I")


class RenderFailed(Exception):
    """Why a template could not be rendered: its name, the line, the reason; never a value."""

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown
        """Whether it names a value that is not there."""


class Renderer:
    """One child process, one rendering at a time. Belongs to the event loop that uses it first."""

    def __init__(self, seconds: float) -> None:
        """`seconds` of processor time for each rendering."""
        self._seconds = seconds
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, files: Mapping[str, str], scope: Mapping[str, Any]) -> dict[str, str]:
        """The files with names and contents rendered. Raises RenderFailed, also when the time is over."""
        body = json.dumps({"files": dict(files), "scope": dict(scope)}, default=str).encode()
        if len(body) > LARGEST_BYTES:
            raise RenderFailed(f"the templates and their inputs exceed {LARGEST_BYTES // 1024} KiB")
        async with self._turn:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    answer = await self._ask(body)
            except TimeoutError:
                await self._kill()
                raise RenderFailed(f"rendering gave no answer within {SILENT_SECONDS:g} s and was stopped") from None
            except (OSError, asyncio.IncompleteReadError):
                await self._kill()
                raise RenderFailed("rendering needed more memory than it may have, or ended unexpectedly") from None
            except BaseException:
                await self._kill()
                raise
        if "error" in answer:
            raise RenderFailed(answer["error"], unknown=answer["unknown"])
        files_out: dict[str, str] = answer["files"]
        return files_out

    async def close(self) -> None:
        await self._kill()

    async def _ask(self, body: bytes) -> dict[str, Any]:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                str(self._seconds),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={"PYTHONHASHSEED": "0"},
            )
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(_LENGTH.pack(len(body)) + body)
            await child.stdin.drain()
            (length,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
            answer: dict[str, Any] = json.loads(await child.stdout.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            if await child.wait() == -signal.SIGPROF:
                raise RenderFailed(f"rendering took longer than {self._seconds:g} s and was stopped") from None
            raise
        return answer

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        # Without this the transport warns when the loop is closed before it.
        transport = getattr(child, "_transport", None)
        await asyncio.shield(child.wait())
        if transport is not None:
            transport.close()


def _one_line(value: Any) -> Any:
    if (
        isinstance(value, str)
        and not isinstance(value, Markup)
        and any(mark in value for mark in "\n\r\u0085\u2028\u2029")
    ):
        raise SecurityError("a value holds a line break; pass it through `tojson`")
    return value


def environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=_one_line,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        loader=DictLoader({}),
    )


def render_all(templates: ImmutableSandboxedEnvironment, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the child answers to one request."""
    rendered: dict[str, str] = {}
    size = 0
    for name, text in asked["files"].items():
        try:
            target = templates.from_string(name).render(asked["scope"])
            content = templates.from_string(text).render(asked["scope"])
        except UndefinedError as error:
            return {"error": f"template {name}: {error.message}", "unknown": True}
        except TemplateSyntaxError as error:
            return {"error": f"template {name} line {error.lineno}: {error.message}", "unknown": False}
        except TemplateNotFound as error:
            return {"error": f"template {name}: names {error.name}, but each template stands alone", "unknown": False}
        except MemoryError:
            return {"error": f"template {name}: needs more memory than it may have", "unknown": False}
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            reason = error.message if isinstance(error, TemplateError) else type(error).__name__
            return {"error": f"template {name}: {reason}", "unknown": False}
        size += len(target) + len(content)
        if target in rendered:
            return {"error": f"two templates are rendered as {target}", "unknown": False}
        if size > LARGEST_BYTES // 4:
            return {"error": f"what is rendered exceeds {LARGEST_BYTES // 4096} KiB", "unknown": False}
        rendered[target] = content
    return {"files": rendered}


def serve(requests: BinaryIO, answers: BinaryIO, seconds: float) -> None:
    """Answer requests until there are no more; one that takes so many seconds of processor time ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    templates = environment()
    while len(header := requests.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(header)
        asked = json.loads(requests.read(length))
        signal.setitimer(signal.ITIMER_PROF, seconds)
        body = json.dumps(render_all(templates, asked)).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(_LENGTH.pack(len(body)) + body)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))

"""What a template gives for some answers: rendered by copier in a process that can be killed, and read with care."""

import asyncio
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich.objects import Blob

from entresol_provisioning.drivers import StepFailed, paths
from entresol_provisioning.drivers.git.trees import Entry
from entresol_provisioning.drivers.processes import Ended, Limits, supervise
from entresol_provisioning.drivers.remains import Remains, discard, printable
from entresol_provisioning.drivers.scaffold import templates
from entresol_provisioning.drivers.scaffold.templates import LARGEST_BYTES, MOST_FILES, File, Template

LARGEST_ANSWERS = 256 * 1024
MOST_KEPT = 64
LARGEST_KEPT = 1024**2
"""Renders that are remembered, and the bytes of the largest: a plan, its application and each look render the same."""
_COPYING = Path(__file__).with_name("copying.py")
_ANSWER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class Render:
    """The files of a new repository."""

    template: str
    revision: str
    files: Mapping[str, File]
    once: frozenset[str]
    """Those that are made, and left alone afterwards."""

    def entries(self) -> dict[str, Entry]:
        """Mode and name of the blob, by path."""
        return {path: (one.mode, Blob.from_string(one.content).id) for path, one in self.files.items()}


class Copier:
    """Renders, a few at the same time.

    What a template gives depends on nothing but its revision, the answers and the folder; one that is trusted to run
    tasks may do anything, so it is rendered each time.
    """

    def __init__(self, scratch: Path, seconds: float, most: int, trusted: frozenset[str]) -> None:
        self._scratch = scratch
        self._trusted = trusted
        self._turns = asyncio.Semaphore(most)
        self._kept: dict[tuple[str, str, str, str], Render] = {}
        self._limits = Limits(
            cpu_seconds=seconds,
            memory_bytes=1024**3,
            file_bytes=LARGEST_BYTES,
            processes=32,
            open_files=1024,
            grace_seconds=0.0,
        )

    async def render(self, template: Template, answers: Mapping[str, Any], folder: str) -> Render:
        """`folder` is what the template sees as the repository's name. Raises StepFailed."""
        checked = _checked(answers)
        revision, sources = await asyncio.to_thread(template.read)
        key = (template.name, revision, checked, folder)
        if (kept := self._kept.get(key)) is not None:
            return kept
        async with self._turns:
            self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
            place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="scaffold-", dir=self._scratch))
            try:
                into = await asyncio.to_thread(self._prepare, place, template.name, sources, checked, folder)
                ended = await self._run(place, trusted=template.name in self._trusted)
                files, once = await asyncio.to_thread(_read, place, template, ended, into)
            finally:
                await asyncio.shield(asyncio.to_thread(discard, place))
        return self._keep(key, Render(template.name, revision, files, once))

    def _keep(self, key: tuple[str, str, str, str], render: Render) -> Render:
        small = sum(len(one.content) for one in render.files.values()) <= LARGEST_KEPT
        if small and render.template not in self._trusted:
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = render
        return render

    def _prepare(self, place: Path, name: str, files: Mapping[str, File], answers: str, folder: str) -> Path:
        work = place / "work"
        (work / "output").mkdir(parents=True)
        templates.write(name, files, work / "templates" / name)
        into = work / "made" / folder
        asked = {
            "template": f"templates/{name}",
            "into": f"made/{folder}",
            "answers": json.loads(answers),
            "trusted": name in self._trusted,
        }
        (work / "request.json").write_text(json.dumps(asked))
        return into

    async def _run(self, place: Path, *, trusted: bool) -> Ended:
        env = {"HOME": str(place / "work"), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        # Without a path copier finds no git. Tasks, which only trusted templates have, need one.
        env["PATH"] = os.environ.get("PATH", "") if trusted else ""
        return await supervise(
            (sys.executable, "-P", str(_COPYING)),
            env=env,
            directory=place / "work",
            said=place,
            ended=place / "ended.json",
            limits=self._limits,
            seconds=2 * self._limits.cpu_seconds,
            facts={},
            dies_with_caller=True,
        )


def _checked(answers: Mapping[str, Any]) -> str:
    for name in answers:
        if not _ANSWER.match(name):
            raise StepFailed(f"/with/answers: {name[:100]!r} is not the name of a question")
    text = json.dumps(dict(answers))
    if len(text) > LARGEST_ANSWERS:
        raise StepFailed(f"/with/answers: exceeds {LARGEST_ANSWERS // 1024} KiB")
    return text


def _read(place: Path, template: Template, ended: Ended, into: Path) -> tuple[dict[str, File], frozenset[str]]:
    name = template.name
    if ended.stopped is not None:
        raise StepFailed(f"the template {name} took more time, memory or disk than it may, and was stopped")
    answer = Remains(place / "work", {}).document("output/answer.json") if ended.code == 0 else None
    if answer is None:
        words = Remains(place, {}).last_words("err").rpartition("\n")[2]
        raise StepFailed(f"the template {name} could not be rendered: {words or 'it needed too much memory'}")
    if "error" in answer:
        raise StepFailed(f"the template {name}: {printable(str(answer['error']))}")
    files: dict[str, File] = {}
    size = 0
    for folder, folders, names in os.walk(into):
        for one in [*names, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]:
            found = Path(folder) / one
            path = paths.relative(str(found.relative_to(into)))
            mode = found.lstat().st_mode
            if not stat.S_ISREG(mode):
                raise StepFailed(f"the template {name}: {path} is no plain file, so it can't be kept")
            content = found.read_bytes()
            size += len(content)
            files[path] = File(stat.S_IFREG | (0o755 if mode & 0o100 else 0o644), content)
            if len(files) > MOST_FILES or size > LARGEST_BYTES:
                raise StepFailed(f"the template {name} gives over {MOST_FILES} files or {LARGEST_BYTES // 1024**2} MiB")
    if not files:
        raise StepFailed(f"the template {name} gives no file")
    return files, frozenset(answer.get("once", ()))

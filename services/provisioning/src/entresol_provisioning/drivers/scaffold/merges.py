"""Bring a newer rendering of a template into a repository that has gone on since the last one.

Three sides, as in every merge: what the template gave last time (base), what it gives now (theirs), and what is in
the repository (ours). Whoever alone has changed a file has his way; a file that its developers removed stays removed.
"""

import os
import stat
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from entresol_provisioning.drivers import StepFailed, paths
from entresol_provisioning.drivers.git.trees import Entry

MOST_NAMED = 10
_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to change in the repository."""

    write: Mapping[str, Entry]
    remove: frozenset[str]
    merge: tuple[str, ...] = ()
    """Files that both have changed, whose texts have to be merged."""
    conflicts: tuple[str, ...] = ()
    """Files in which the repository and the template can't be brought together."""

    @property
    def entries(self) -> dict[str, Entry | None]:
        """What becomes of each path; None: it goes."""
        return {**self.write, **dict.fromkeys(self.remove)}


def compare(
    base: Mapping[str, Entry],
    theirs: Mapping[str, Entry],
    ours: Mapping[str, Entry],
    once: Collection[str],
    *,
    track: bool,
) -> Wanted:
    """`track`: the template has its way in all of its files, so there is nothing to merge."""
    write: dict[str, Entry] = {}
    remove, merge, conflicts = set(), [], []
    for path in sorted({*base, *theirs}):
        was, now, here = base.get(path), theirs.get(path), ours.get(path)
        if now == here or (path in once and (here is not None or was is not None)):
            continue
        if here is not None and not stat.S_ISREG(here[0]) and (track or now != was):
            conflicts.append(path)
        elif track or here == was:
            if now is None:
                remove.add(path)
            else:
                write[path] = now
        elif now == was or here is None:
            continue
        elif was is None or now is None:
            conflicts.append(path)
        else:
            merge.append(path)
    kept = ours.keys() - remove
    folders = {folder for path in kept for folder in paths.folders(path)}
    conflicts += [path for path in write if path in folders or any(one in kept for one in paths.folders(path))]
    return Wanted(write, frozenset(remove), tuple(merge), tuple(conflicts))


def conflict(files: Collection[str]) -> StepFailed:
    named = ", ".join(sorted(files)[:MOST_NAMED]) + (" and others" if len(files) > MOST_NAMED else "")
    remedy = "change them in the repository so that they fit the template, or keep the template's old version"
    return StepFailed(f"the template and the repository have both changed {named}; {remedy}")


def merge_text(base: bytes, theirs: bytes, ours: bytes, seconds: float) -> bytes | None:
    """The three merged line by line by git; None where they overlap, or are no texts."""
    if any(b"\0" in one for one in (base, theirs, ours)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
            (place / name).write_bytes(content)
        env = _GIT | {"PATH": os.environ.get("PATH", ""), "HOME": folder, "GIT_CEILING_DIRECTORIES": str(place.parent)}
        command = ("git", "merge-file", "--quiet", "ours", "base", "theirs")
        try:
            done = subprocess.run(command, env=env, cwd=place, capture_output=True, timeout=seconds, check=False)
        except FileNotFoundError:
            raise StepFailed("the program git is missing here; install it") from None
        except subprocess.TimeoutExpired:
            raise StepFailed(f"git merge-file took longer than {seconds:g} s", retryable=True) from None
        return (place / "ours").read_bytes() if done.returncode == 0 else None

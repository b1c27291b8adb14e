"""Tell which part of requirements.lock a service needs when it runs, so that no development tool gets into its image.

`requirements.py policy --third-party` prints the entries of the lock, hashes included; `--own` prints the
directories of this repository to install beside them. Run it where the whole lock is installed: the dependencies
of each distribution are read from there. Raises KeyError if the lock lacks something that is needed.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def members(root: Path) -> dict[str, Path]:
    """Our own distributions by name."""
    found = [*root.glob("libs/*/pyproject.toml"), *root.glob("services/*/pyproject.toml")]
    return {tomllib.loads(path.read_text("utf-8"))["project"]["name"]: path.parent for path in found}


def wanted_by(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})


def dependencies(name: str, extras: set[str], own: Mapping[str, Path]) -> Iterator[Requirement]:
    if name in own:
        listed = tomllib.loads((own[name] / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    else:
        listed = requires(name) or []
    for requirement in map(Requirement, listed):
        if wanted_by(requirement, extras):
            yield requirement


def closure(distribution: str, own: Mapping[str, Path]) -> set[str]:
    """Names of everything the distribution needs, itself included."""
    seen: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(distribution, set())]
    while waiting:
        name, extras = waiting.pop()
        if name in seen and extras <= seen[name]:
            continue
        seen[name] = seen.get(name, set()) | extras
        waiting += [(canonicalize_name(need.name), need.extras) for need in dependencies(name, seen[name], own)]
    return set(seen)


def lock_entries(lock: Path) -> dict[str, str]:
    """Each entry of the lock as it stands there, with its hashes, by name."""
    text = re.sub(r"^#.*\n", "", lock.read_text("utf-8"), flags=re.MULTILINE)
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    return {canonicalize_name(re.split(r"[=\s\[;]", entry, maxsplit=1)[0]): entry for entry in entries}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("service")
    parser.add_argument("--root", type=Path, default=ROOT)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--third-party", action="store_true")
    which.add_argument("--own", action="store_true")
    options = parser.parse_args()
    own = members(options.root)
    try:
        needed = closure(f"entresol-{options.service}", own)
    except PackageNotFoundError as error:
        print(f"{error.name} is not installed here; install all of requirements.lock first", file=sys.stderr)
        return 1
    if options.own:
        print("\n".join(str(own[name]) for name in sorted(needed & own.keys())))
    else:
        entries = lock_entries(options.root / "requirements.lock")
        print("\n".join(entries[name] for name in sorted(needed - own.keys())))
    return 0


if __name__ == "__main__":
    sys.exit(main())

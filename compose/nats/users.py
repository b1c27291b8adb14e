"""Write the NATS users from `entresol_eventing.permissions`, the one place that says what a user may do.

`users.py` writes users.conf for compose and for Kubernetes; `users.py --check` exits 1 if one of them is out of date.
Passwords are no part of it: the server takes them from its environment.
"""

import argparse
import json
import sys
from pathlib import Path

from entresol_eventing.permissions import SERVICES, permissions

ROOT = Path(__file__).resolve().parents[2]
TARGETS = (ROOT / "compose/nats/users.conf", ROOT / "k8s/base/nats/users.conf")
USERS = (*SERVICES, "ingest", "subscriber", "admin")


def subjects(keyword: str, listed: tuple[str, ...]) -> str:
    lines = "\n".join(f"          {json.dumps(subject)}" for subject in listed)
    return f"        {keyword}: [\n{lines}\n        ]"


def rights(keyword: str, allow: tuple[str, ...], deny: tuple[str, ...] = ()) -> str:
    parts = [subjects("allow", allow), *([subjects("deny", deny)] if deny else [])]
    return f"      {keyword}: {{\n" + "\n".join(parts) + "\n      }"


def user(name: str) -> str:
    may = permissions(name)
    return "\n".join(
        [
            "  {",
            f"    user: {name}",
            f"    password: $NATS_{name.upper()}_PASSWORD",
            "    permissions: {",
            rights("publish", may.publish, may.deny_publish),
            rights("subscribe", may.subscribe),
            "    }",
            "  }",
        ]
    )


def generated() -> str:
    users = "\n".join(map(user, USERS))
    return (
        f"# Written by compose/nats/users.py from entresol_eventing.permissions. Do not edit.\nusers: [\n{users}\n]\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if anything is out of date")
    check = parser.parse_args().check
    text = generated()
    stale = [path for path in TARGETS if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if check:
            print(f"{path} is not what the permissions say; run `{sys.argv[0]}`", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

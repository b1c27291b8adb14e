"""How a command can end, and what it says when it ends badly.

The codes are part of the interface: scripts branch on them, so a code never changes its meaning.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """Exit codes of every command."""

    OK = 0
    ENDED_BADLY = 1
    INVALID = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    TIMED_OUT = 6


CODES_HELP = (
    "[bold]Exit codes[/bold]  0 ok · 1 the request ended badly (failed, denied, …) · 2 wrong usage or invalid input · "
    "3 not found · 4 not allowed · 5 server unreachable · 6 timed out waiting"
)

_CODE_BY_STATUS: Mapping[int, Code] = {
    401: Code.NOT_ALLOWED,
    403: Code.NOT_ALLOWED,
    404: Code.NOT_FOUND,
    429: Code.UNREACHABLE,
}


class Failure(Exception):
    """A command cannot go on; the text is for its user: what was wrong, where, and what to do about it."""

    def __init__(self, message: str, code: Code, *, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hints = tuple(hints)

    def document(self) -> dict[str, Any]:
        """What `--output json` writes to stderr."""
        return {"error": self.message, "exit_code": int(self.code), "hints": list(self.hints)}


class Refused(Failure):
    """A door said no; holds its problem details (RFC 9457), and when by its own clock, if it told."""

    def __init__(self, status: int, problem: Mapping[str, Any], at: float | None = None) -> None:
        self.status = status
        self.at = at
        self.title = str(problem.get("title") or f"HTTP {status}")
        self.detail = str(problem.get("detail") or "")
        self.violations: list[tuple[str, str]] = [
            (str(violation.get("pointer", "")), str(violation.get("detail", "")))
            for violation in problem.get("violations") or []
            if isinstance(violation, Mapping)
        ]
        code = _CODE_BY_STATUS.get(status, Code.UNREACHABLE if status >= 500 else Code.INVALID)
        message = self.title if not self.detail or self.detail == self.title else f"{self.title}: {self.detail}"
        super().__init__(message, code, hints=_hints(status) + _remedies(self.violations))

    def document(self) -> dict[str, Any]:
        violations = [{"pointer": pointer, "detail": detail} for pointer, detail in self.violations]
        return {**super().document(), "status": self.status, "violations": violations}


def place(pointer: str) -> str:
    """A JSON pointer of a request's body as the user wrote it: `/inputs/size` is the input `-i size=…`.

    >>> place("/inputs/database/size")
    '-i database={"size": …}'
    """
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.strip("/").split("/") if part]
    match parts:
        case []:
            return ""
        case ["inputs"]:
            return "inputs"
        case ["inputs", name]:
            return f"-i {name}=…"
        case ["inputs", name, *inner]:
            return f"-i {name}=" + "".join(f'{{"{key}": ' for key in inner) + "…" + "}" * len(inner)
        case ["scope", option]:
            return f"--{option}"
        case ["project" | "environment" | "lifetime" | "version" | "action" | "reason" as option, *_]:
            return f"--{option}"
        case ["exempt" | "for" | "until" | "ticket" | "rule" | "to" as option, *_]:
            return f"--{option}"
        case ["break_glass"]:
            return "--break-glass"
        case ["class" | "orphan" | "step" | "stage" as option]:
            return f"--{option}"
        case ["snapshot", *_]:
            return "--to"
        case ["answer", name, *_]:
            return f"--answer {name}=…"
        case ["waives"]:
            return "KIND/NAME"
        case ["offering" | "name" as argument]:
            return argument.upper()
        case _:
            return pointer


def _hints(status: int) -> tuple[str, ...]:
    match status:
        case 401:
            return ("Give a token by --token or ENTRESOL_TOKEN; `entresol token create` makes one.",)
        case 403:
            return ("The token's role does not allow this; `entresol token create --role …` makes another.",)
        case 429 | 503:
            return ("The server sheds load or is starting; try again in a moment.",)
        case _:
            return ()


def _remedies(violations: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What to do about a value: how to write as text what was taken for a number, where to see what is offered."""
    for pointer, detail in violations:
        if pointer == "/offering":
            return ("`entresol offering list` shows what there is.",)
        if pointer.startswith("/inputs/") and detail.endswith('not of type "string"'):
            name = pointer.removeprefix("/inputs/").replace("/", ".")
            return (f"A number is text in quotes: -i '{name}=\"1.2\"'",)
    return ()

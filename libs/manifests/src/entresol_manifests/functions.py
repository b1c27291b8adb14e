"""The functions that expressions may call: CEL's own, and the string functions that the engine lacks.

All but `join` are methods of a text: `inputs.name.lowerAscii()`, `event.data.ref.replace("refs/heads/", "")`.
Their results are bounded, so that a short expression can't build a huge text. Functions of CATALOG are there only
where the one who evaluates gives them.
"""

import string
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST_RESULT: Final = 64 * 1024

NATIVE: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "has", "all", "exists", "exists_one", "map", "filter"}
    | {"string", "int", "uint", "double", "bytes", "timestamp", "duration", "type", "dyn", "min", "max"}
    | {"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
"""What the engine brings along, macros included."""

CATALOG: Final = frozenset({"entity", "knows"})
"""Methods of `catalog`: `catalog.entity(blueprint, identifier)` and whether `catalog.knows(blueprint, identifier)`."""


_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_UPPER: Final = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("works on text only")
    return value


def _bounded(text: str) -> str:
    if len(text) > LONGEST_RESULT:
        raise ValueError(f"makes a text of more than {LONGEST_RESULT // 1024} Ki characters")
    return text


def _lower(text: object) -> str:
    return _text(text).translate(_LOWER)


def _upper(text: object) -> str:
    return _text(text).translate(_UPPER)


def _trim(text: object) -> str:
    return _text(text).strip()


def _replace(text: object, old: object, new: object) -> str:
    whole, old, new = _text(text), _text(old), _text(new)
    if len(whole) + whole.count(old) * len(new) > 4 * LONGEST_RESULT:
        raise ValueError(f"makes a text of more than {LONGEST_RESULT // 1024} Ki characters")
    return _bounded(whole.replace(old, new))


def _split(text: object, separator: object) -> list[str]:
    if not _text(separator):
        raise ValueError("needs a separator that is not empty")
    return _text(text).split(_text(separator))


def _join(items: object, separator: object = "") -> str:
    if not isinstance(items, list):
        raise TypeError("works on a list of texts only")
    return _bounded(_text(separator).join(_text(item) for item in items))


def _substring(text: object, start: object, end: object = None) -> str:
    whole = _text(text)
    end = len(whole) if end is None else end
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end <= len(whole):
        raise ValueError("needs 0 <= start <= end <= size")
    return whole[start:end]


def _last_index_of(text: object, part: object) -> int:
    return _text(text).rfind(_text(part))


def _index_of(text: object, part: object) -> int:
    return _text(text).find(_text(part))


class _Faults(threading.local):
    """Why one of our functions failed during the evaluation that this thread is in."""

    reason: str | None = None
    failure: BaseException | None = None


_faults = _Faults()


def forget_fault() -> None:
    """Call before an evaluation."""
    _faults.reason = None
    _faults.failure = None


def fault() -> str | None:
    """Why one of our functions failed since `forget_fault`, in words; None if none did.

    What a given function raised because of something else than its arguments is raised again.
    """
    if (failure := _faults.failure) is not None:
        _faults.failure = None
        raise failure
    return _faults.reason


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember the first failure instead of raising it: the engine writes what is raised to standard error."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (TypeError, ValueError) as error:
            reason = str(error)
            if _faults.reason is None:
                _faults.reason = f"`{name}` {'has other arguments' if 'argument' in reason else reason}"
            return None

    return call


def given(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the one who evaluates gives, such that what it raises goes past the engine.

    TypeError and ValueError say what is wrong with the arguments, in words; all else is not the expression's fault.
    """

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (TypeError, ValueError) as error:
            if _faults.reason is None:
                has_others = "positional argument" in str(error)
                _faults.reason = f"`{name}` has other arguments" if has_others else f"`{name}`: {error}"
        except BaseException as error:
            if _faults.failure is None:
                _faults.failure = error
        return None

    return call


_OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "lowerAscii": _lower,
    "upperAscii": _upper,
    "trim": _trim,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "substring": _substring,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
}

OWN: Final = {name: _guarded(name, function) for name, function in _OWN.items()}

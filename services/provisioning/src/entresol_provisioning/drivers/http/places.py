"""Where requests go: URLs of one API that no input can lead elsewhere, and headers that hold one line.

A path is made of parts that are checked decoded and encoded anew; it can't climb, begin with `//`, or carry a query.
What the API itself names as a place has to have the API's own scheme, host and port: the credential goes along.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.http.spec import ORIGIN, OURS, TOKEN

LONGEST_URL = 8192
LONGEST_PART = 1024
_QUERY = re.compile(r"[!-~]*\Z")
_ESCAPED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*\Z")
_SAFE = "!$&'()*+,;=:@~"
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Base:
    """The URL of an API."""

    origin: str
    """Scheme, host and port."""
    path: str
    """Encoded; empty or with a slash before each part."""

    def url(self, place: Any, query: Mapping[str, Any] | None = None) -> str:
        """The URL of a path, a list of parts, or what the API has named; raise StepFailed if it leads elsewhere."""
        if isinstance(place, list):
            if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in place):
                raise StepFailed("the parts of a path must be texts or whole numbers")
            url = f"{self.origin}{self.path}/{'/'.join(_part(str(one)) for one in place)}"
        elif isinstance(place, str):
            url = f"{self.origin}{self.path}{_path(place)}"
        else:
            raise StepFailed("a place must be a path, a list of its parts, or a URL of the same API")
        return _with_query(url, query or {})

    def named(self, place: Any, query: Mapping[str, Any]) -> str:
        """The URL that an expression has given; a text is a URL of the same API, or what comes after its host."""
        if not isinstance(place, str):
            return self.url(place, query)
        rest = place
        if not place.startswith("/"):
            origin, rest = _origin(place)
            if origin != self.origin:
                raise StepFailed("the API names a place that is not its own; nothing is sent there")
        path, mark, given = rest.partition("?")
        if not path.startswith("/") or path.startswith("//") or not _QUERY.match(given) or "#" in given:
            raise StepFailed(f"{printable(place)!r} is not a place in the API")
        return _with_query(f"{self.origin}{_path(path)}{mark}{given}", query)


def checked_base(url: str) -> Base:
    """The API's URL; raise StepFailed if it has more than scheme, host, port and path."""
    origin, path = _origin(url)
    return Base(origin, _path(path.rstrip("/")) if path.strip("/") else "")


def is_header(name: str) -> bool:
    return bool(re.fullmatch(TOKEN, name)) and name.lower() not in OURS - {"authorization"}


def without_query(url: str) -> str:
    return url.partition("?")[0]


def printable(text: str, longest: int = 100) -> str:
    """The text on one line, without what could change a terminal or a log."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 4 * longest])
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _origin(url: str) -> tuple[str, str]:
    """Scheme, host and port, and what comes after them."""
    found = re.fullmatch(ORIGIN, url)
    if found is None or len(url) > LONGEST_URL or int(found[3] or 0) > 65535:
        what = (
            "holds a user or password; use secretRef" if "@" in url else "is no URL of an API, such as https://host/v1"
        )
        raise StepFailed(f"{printable(url.rpartition('@')[2])!r} {what}; hosts are written in ASCII (xn--…)")
    scheme, host, port, rest = found.groups()
    shown = "" if port is None or int(port) == _PORTS[scheme] else f":{int(port)}"
    return f"{scheme}://{host.lower()}{shown}", rest


def _path(text: str) -> str:
    """The path, beginning with a slash; one at its end stays."""
    if "?" in text or "#" in text:
        raise StepFailed(f"the path {printable(text)!r} must not hold ? or #; use query, or a list of parts")
    if not _ESCAPED.match(text):
        raise StepFailed(f"the path {printable(text)!r} holds a % that is no escape")
    parts = text.removeprefix("/").split("/")
    trailing = len(parts) > 1 and parts[-1] == ""
    encoded = [_part(unquote(one, errors="replace")) for one in (parts[:-1] if trailing else parts)]
    return "/" + "/".join(encoded) + ("/" if trailing else "")


def _part(text: str) -> str:
    climbs = any(one in ("", ".", "..") for one in text.split("/"))
    if climbs or "\\" in text or len(text) > LONGEST_PART or not text.isprintable() or "\ufffd" in text:
        raise StepFailed(f"{printable(text)!r} can't be a part of a path")
    return quote(text, safe=_SAFE)


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    if query:
        each = ((name, one) for name, value in query.items() for one in (value if isinstance(value, list) else [value]))
        url += ("&" if "?" in url else "?") + urlencode([(name, _plain(one)) for name, one in each])
    if len(url) > LONGEST_URL:
        raise StepFailed(f"a URL is longer than {LONGEST_URL} characters")
    return url


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""What a destination must hold beyond its schema: it is one place, and its parts are of that place."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from entresol_manifests.findings import Finding

PLACES: Final = ("repository", "cluster", "api")
OF_A_REPOSITORY: Final = ("branch", "path", "create", "secretRef")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def check_destination(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of a destination that fits its schema."""
    given = [place for place in PLACES if place in spec]
    if len(given) != 1:
        told = f"has {' and '.join(given)}" if given else "has none"
        yield Finding("/spec", f"{told}; a destination is exactly one of {', '.join(PLACES)}")
    if "repository" in spec:
        yield from _repository(spec)
    elif given:
        for key in OF_A_REPOSITORY:
            if key in spec:
                hint = "; it belongs beneath api" if key == "secretRef" and "api" in spec else ""
                yield Finding(f"/spec/{key}", f"is only for a repository{hint}")
    if "api" in spec:
        yield from _api(spec["api"])


def _repository(spec: Mapping[str, Any]) -> Iterator[Finding]:
    for key in ("repository", "branch"):
        if spec.get(key, "").startswith("-"):
            yield Finding(f"/spec/{key}", "must not begin with a hyphen")
    path = spec.get("path", "")
    if path.startswith("/") or ".." in path.split("/"):
        yield Finding("/spec/path", "must lie within the repository")
    if spec.get("create") and ("://" in spec["repository"] or spec["repository"].startswith("/")):
        yield Finding("/spec/create", "only a repository beneath the service's own root can be made")


def _api(api: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        url = urlsplit(api["url"])
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or not api["url"].isprintable() or " " in api["url"]:
        yield Finding("/spec/api/url", "must be a URL that begins with https:// or http://")
    elif url.username is not None or url.password is not None:
        yield Finding("/spec/api/url", "must not hold a user or password; name a secret in secretRef")
    elif url.query or url.fragment:
        yield Finding("/spec/api/url", "must end with its path: what requests ask for is added to it")
    scheme = api.get("scheme")
    if scheme is not None and "secretRef" not in api:
        yield Finding("/spec/api/scheme", "says how a secret is sent, but there is no secretRef")
    if scheme == "header" and "header" not in api:
        yield Finding("/spec/api/header", "is missing: the scheme header needs its name")
    elif "header" in api and scheme != "header":
        yield Finding("/spec/api/header", "is only for the scheme header")
    elif "header" in api and not _HEADER.fullmatch(api["header"]):
        yield Finding("/spec/api/header", "is no name of an HTTP header")

"""Which URLs of repositories git may be given."""

import re
from urllib.parse import urlsplit

from entresol_provisioning.drivers import StepFailed

_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_~/][^\s:]*\Z")
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:\]-]*\Z")


def checked_url(url: str, *, local: bool) -> str:
    """The URL if git may be given it; raise StepFailed otherwise. `local`: whether this machine's own may be named."""
    if not url.isprintable() or " " in url or url.startswith("-"):
        raise StepFailed("the repository's URL holds characters that it must not")
    if url.startswith("/") or url.startswith("file://"):
        if not local:
            raise StepFailed("repositories of this machine are not allowed; set allow_local_repositories to allow them")
        if ".." in url.split("/"):
            raise StepFailed("the repository's path must not hold ..")
        return url
    if _SCP.match(url):
        return url
    try:
        parts = urlsplit(url)
        host, password, user = parts.hostname or "", parts.password, parts.username
    except ValueError:
        raise StepFailed("the repository's URL can't be read") from None
    if parts.scheme not in ("https", "ssh", "git") or not _HOST.match(host):
        raise StepFailed("the repository must be an https, ssh or git URL, or the name of one that is kept here")
    if password is not None or (user is not None and (parts.scheme != "ssh" or user.startswith("-"))):
        raise StepFailed("the repository's URL holds credentials; give them as secretRef")
    return url


def is_url(repository: str) -> bool:
    """Whether it is anything but the name of a repository beneath the root."""
    return "://" in repository or repository.startswith(("/", "-")) or ":" in repository or "@" in repository

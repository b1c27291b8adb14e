"""How a remote repository is reached: whom git trusts, by what login, and what it is told that only people can mend.

A login is read when it is needed, and never gets into arguments, which everybody on the machine can read, nor into what
is told of a failure, whatever the server says.
"""

import base64
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from entresol_manifests.secrets import SecretMissing, resolve

from entresol_provisioning.drivers import StepFailed

_UNTRUSTED = "nobody whom this service trusts vouches for the server; name their certificates by SSL_CERT_FILE"
_LOGIN = "the server wants another login; check secretRef of the destination"
_RULES = "the server's rules don't let the step do that; change them, or propose the change with via: branch"
_LASTING = {
    "hook declined": _RULES,
    "protected branch": _RULES,
    "prohibited by Gerrit": _RULES,
    "could not read Username": _LOGIN,
    "Authentication failed": _LOGIN,
    "UNPROTECTED PRIVATE KEY": "the key of secretRef may be read by others; let its owner alone read it",
    "Permission denied (": "the server wants another key; check secretRef of the destination",
    "ost key verification failed": "the server's key is not known; add it to the file that GIT_KNOWN_HOSTS names",
    "certificate verification failed": _UNTRUSTED,
    "certificate problem": _UNTRUSTED,
    "returned error: 30": "the server answers that it is elsewhere now; give the destination that URL",
}
"""What does not go better by itself, by what git says of it, and what to do."""
_SAID_ALWAYS = ("Please make sure you have the correct access rights", "and the repository exists.")
"""By git, after the reason."""
_PASSED_ON = (
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
)
_AUTHORITIES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
"""Where this service finds whom to trust, and what git calls it: git itself heeds only its own names."""


@dataclass(frozen=True, slots=True)
class Access:
    """The way to one repository."""

    url: str
    secret_ref: str | None
    known_hosts: Path | None
    """Keys of hosts that are reached by ssh; None: where ssh looks for them."""

    def environment(self) -> dict[str, str]:
        """What git is started with; raise StepFailed if the login can't be had."""
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {name: os.environ[ours] for ours, name in _AUTHORITIES.items() if os.environ.get(ours)}
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ALLOW_PROTOCOL": "https:ssh:git:file",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes",
            "LC_ALL": "C",
        }
        if self.known_hosts is not None:
            env["GIT_SSH_COMMAND"] += f" -o UserKnownHostsFile={shlex.quote(str(self.known_hosts))}"
        if self.secret_ref is None:
            return env
        if self.url.startswith("https://"):
            # By the environment, because the arguments of a process can be read by everybody on the machine.
            env["GIT_CONFIG_COUNT"] = "1"
            env["GIT_CONFIG_KEY_0"] = "http.extraHeader"
            env["GIT_CONFIG_VALUE_0"] = f"Authorization: Basic {_basic(self._secret())}"
        elif self.secret_ref.startswith("file:"):
            self._secret()
            key = shlex.quote(self.secret_ref.removeprefix("file:"))
            env["GIT_SSH_COMMAND"] += f" -o IdentitiesOnly=yes -i {key}"
        else:
            raise StepFailed("a destination that is reached by ssh needs its key as file:/PATH")
        return env

    def _secret(self) -> str:
        assert self.secret_ref is not None
        try:
            return resolve(self.secret_ref)
        except SecretMissing as error:
            raise StepFailed(str(error)) from None

    def explain(self, said: str) -> tuple[str, bool]:
        """The end of what git said, without the login and fit to be shown; and whether only people can mend it."""
        lines = [line for line in said.splitlines() if line.strip() and line not in _SAID_ALWAYS][-3:]
        told = "; ".join(lines)
        if self.secret_ref is not None and self.url.startswith("https://"):
            secret = self._secret()
            for part in (_basic(secret), secret, secret.partition(":")[2]):
                told = told.replace(part, "…") if part else told
        told = "".join(one if one.isprintable() else "?" for one in told)[:500]
        remedy = next((what for sign, what in _LASTING.items() if sign in said), None)
        return (told, False) if remedy is None else (f"{remedy} ({told})", True)


def _basic(secret: str) -> str:
    """The credentials of basic authentication; a token alone goes with any name."""
    login = secret if ":" in secret else f"entresol:{secret}"
    return base64.b64encode(login.encode()).decode()

"""What the demonstration stands on: a platform, people with tokens, a receiver, secrets, the catalog brought over."""

import base64
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entresol.commands.manifests import checked
from entresol.demo import payloads
from entresol.demo.child import Child, running
from entresol.demo.payloads import Payloads
from entresol.demo.receiver import Receiver, receiving
from entresol.doors.client import Client

_OVERLAY = Path(__file__).parent / "overlay.yaml"


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything the chains need."""

    child: Child
    payloads: Payloads
    receiver: Receiver
    admin: Client
    ada: Client
    """A developer."""
    grace: Client
    """Of the platform team: her answers count in production."""
    ci: Client
    """May publish events, and nothing else."""
    github_secret: str
    imported: tuple[dict[str, Any], ...]
    """The entities that were brought over."""
    ready_seconds: float

    @property
    def system(self) -> str:
        """A system of the imported catalog, for the new service to be part of."""
        return next(str(one["metadata"]["name"]) for one in self.imported if one["spec"]["blueprint"] == "System")

    @property
    def repositories(self) -> Path:
        return self.child.data / "repositories"


@contextmanager
def prepared(data: Path) -> Iterator[Ground]:
    """A platform on the directory with the starter offerings, the overlay and the catalog; ended at the end."""
    with ExitStack() as stack:
        found = payloads.find()
        hidden = data / "demo-secrets"
        hidden.mkdir(mode=0o700, parents=True)
        receiver_secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        github_secret = secrets.token_urlsafe(32)
        (hidden / "receiver").write_text(receiver_secret)
        (hidden / "github").write_text(github_secret)
        receiver = stack.enter_context(receiving(receiver_secret))
        began = time.monotonic()
        child = stack.enter_context(running(data))
        ready_seconds = time.monotonic() - began
        admin = stack.enter_context(Client(child.url, child.token))
        overlay = data / "overlay.yaml"
        overlay.write_text(_OVERLAY.read_text().replace("@receiver@", receiver.url).replace("@secrets@", str(hidden)))
        catalog = [dict(manifest.document) for manifest in checked(list(found.catalog))]
        admin.apply(catalog)
        admin.apply([dict(manifest.document) for manifest in checked([overlay])])

        def person(actor: str, role: str, *groups: str) -> Client:
            body = {"actor": actor, "role": role, "groups": list(groups), "projects": ["shop"]}
            token = admin.write("POST", "/v1/tokens", body)["token"]
            return stack.enter_context(Client(child.url, token))

        yield Ground(
            child=child,
            payloads=found,
            receiver=receiver,
            admin=admin,
            ada=person("user:ada", "developer", "cart-team"),
            grace=person("user:grace", "developer", "platform"),
            ci=person("ci:github/shop", "publisher"),
            github_secret=github_secret,
            imported=tuple(one for one in catalog if one["kind"] == "Entity"),
            ready_seconds=ready_seconds,
        )

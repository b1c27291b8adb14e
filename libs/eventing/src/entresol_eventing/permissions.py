"""What each NATS user may do: a service publishes its own subjects, reads by its own consumer, and nothing else."""

from dataclasses import dataclass
from typing import Final

SERVICES: Final = ("intake", "policy", "provisioning", "catalog", "notification")
EVENTS: Final = "EVENTS"
INGEST: Final = "INGEST"
INGEST_CONSUMER: Final = "intake-ingest"
REBUILT: Final = "catalog"
"""The service whose state is nothing but a projection of the log, and which reads all of it."""
REBUILDABLE: Final = (REBUILT, "policy")
"""Services of which what they know of others can be rebuilt, for which they read the whole log."""


@dataclass(frozen=True, slots=True)
class Permissions:
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny_publish: tuple[str, ...] = ()


def inbox_prefix(user: str) -> str:
    """Each user has inboxes of its own, so that nobody can listen to another's answers."""
    return f"_INBOX_{user}"


def replay_consumer(service: str) -> str:
    """The reader by which a service's projection is rebuilt from the log, beside the one by which it lives."""
    return f"{service}-rebuild"


def _consumer(stream: str, name: str) -> tuple[str, ...]:
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.{name}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{name}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{name}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.{name}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
        f"$JS.ACK.{stream}.{name}.>",
    )


def permissions(user: str) -> Permissions:
    """Return the rights of a user: a service, `ingest` (publishes from outside), `subscriber` (reads), `admin`.

    A user `ingest-<source>` may publish beneath `entresol.ingest.<source>` only. Raises ValueError for any other name.
    """
    inbox = (f"{inbox_prefix(user)}.>",)
    if user in SERVICES:
        own = (f"entresol.{user}.>", *_consumer(EVENTS, user))
        if user in REBUILDABLE:
            own += _consumer(EVENTS, replay_consumer(user))
        return Permissions((*own, *_consumer(INGEST, INGEST_CONSUMER)) if user == "intake" else own, inbox)
    if user == "ingest":
        return Permissions(("entresol.ingest.>",), inbox)
    if user.startswith("ingest-"):
        return Permissions((f"entresol.ingest.{user.removeprefix('ingest-')}.>",), inbox)
    if user == "subscriber":
        return Permissions(
            publish=(
                f"$JS.API.STREAM.INFO.{EVENTS}",
                f"$JS.API.CONSUMER.*.{EVENTS}.>",
                f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.>",
                f"$JS.ACK.{EVENTS}.>",
            ),
            subscribe=inbox,
            deny_publish=tuple(
                subject
                for service in SERVICES
                for subject in (
                    f"$JS.API.CONSUMER.*.{EVENTS}.{service}",
                    f"$JS.API.CONSUMER.*.{EVENTS}.{service}.>",
                    f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{service}",
                    f"$JS.ACK.{EVENTS}.{service}.>",
                )
            ),
        )
    if user == "admin":
        return Permissions((">",), (">",))
    raise ValueError(f"no such NATS user: {user}")

"""The streams of the bus, and how they come to be. Only this bootstrap administers them; services can't."""

from nats.aio.client import Client
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from entresol_eventing.permissions import EVENTS, INGEST, SERVICES

DAY_SECONDS = 86_400
MAX_MESSAGE_BYTES = 1024 * 1024


def configurations(*, replicas: int = 1, retention_days: int = 30, max_bytes: int = -1) -> list[StreamConfig]:
    """What the streams are to look like: limits retention, so that several readers can have every event."""
    shared = {
        "retention": RetentionPolicy.LIMITS,
        "storage": StorageType.FILE,
        "num_replicas": replicas,
        "max_age": retention_days * DAY_SECONDS,
        "max_bytes": max_bytes,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "duplicate_window": 120,
        "deny_delete": True,
    }
    return [
        StreamConfig(
            name=EVENTS,
            description="Every event of the platform, in one order",
            subjects=[f"entresol.{service}.>" for service in SERVICES],
            allow_atomic=True,
            allow_batched=True,
            **shared,  # type: ignore[arg-type]
        ),
        StreamConfig(
            name=INGEST,
            description="What others publish, before intake has looked at it",
            subjects=["entresol.ingest.>"],
            **shared,  # type: ignore[arg-type]
        ),
    ]


async def bootstrap(connection: Client, *, replicas: int = 1, retention_days: int = 30, max_bytes: int = -1) -> None:
    """Make the streams, or bring them to this configuration. Safe to repeat; needs an administrator's connection."""
    streams = connection.jetstream(timeout=30)
    for config in configurations(replicas=replicas, retention_days=retention_days, max_bytes=max_bytes):
        try:
            info = await streams.stream_info(config.name or "")
        except NotFoundError:
            await streams.add_stream(config)
        else:
            await streams.update_stream(config.evolve(metadata=info.config.metadata))

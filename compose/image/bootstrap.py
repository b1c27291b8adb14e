"""Make the streams of the bus, or bring them to their configuration; run once, before the services start.

Reads ENTRESOL_STREAMS_* of the environment: the address of the bus, the administrator's user and password, replicas.
No service may administer streams, so nothing else needs these credentials.
"""

import asyncio

from entresol_eventing.log import connect
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.streams import bootstrap
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(RuntimeSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_STREAMS_")

    replicas: int = Field(default=1, ge=1, le=5, description="Copies of each stream: 3 in a cluster of three.")
    max_bytes: int = Field(
        default=-1, ge=-1, description="Size at which old events go, below the disk's; -1: no limit."
    )


async def main() -> None:
    settings = Settings()
    connection = await connect(settings, "admin", "bootstrap")
    try:
        await bootstrap(
            connection,
            replicas=settings.replicas,
            retention_days=settings.retention_days,
            max_bytes=settings.max_bytes,
        )
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())

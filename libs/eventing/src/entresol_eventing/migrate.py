"""Bring a service's database to its current shape: the runtime's tables first, then the service's own.

Each has an Alembic history of its own in the same database, told apart by the version table.
"""

import threading
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import MetaData

from entresol_eventing.store import Database, Unusable, usable

_ONE_AT_A_TIME = threading.Lock()
"""Alembic's environment is one for the whole process, and five services may start in it at once."""

RUNTIME_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database, migrations: Path) -> None:
    """Apply what is missing; safe to repeat. Raises Unusable, having changed nothing."""
    for folder, version_table in ((RUNTIME_MIGRATIONS, "eventing_version"), (migrations, "alembic_version")):
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        try:
            with _ONE_AT_A_TIME, usable(database), database.writer.connect() as connection:
                config.attributes |= {"connection": connection, "version_table": version_table}
                command.upgrade(config, "head")
        except CommandError as error:
            raise Unusable(f"a newer version has written {database.url.database}: {error}") from error


def run(metadata: MetaData) -> None:
    """The body of each `migrations/env.py`: run on the connection that `upgrade` gives."""
    attributes: dict[Any, Any] = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        target_metadata=metadata,
        version_table=attributes["version_table"],
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    attributes["connection"].commit()

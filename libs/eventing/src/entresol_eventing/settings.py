"""What every service can be told from outside. The only reader of the environment, with the service's own prefix."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class RuntimeSettings(BaseSettings):
    """Settings that each service has; a service adds its own and its prefix `ENTRESOL_<SERVICE>_`."""

    data: Path = Field(default=Path("data"), description="Directory for everything the service keeps in files.")
    database_url: str = Field(
        default="", description="SQLAlchemy URL, SQLite or PostgreSQL. Empty: an SQLite file in the data directory."
    )
    nats_url: str = Field(default="nats://127.0.0.1:4222", description="The bus; several servers with commas between.")
    nats_user: str = Field(default="", description="NATS user; empty: the service's name.")
    nats_password: SecretStr | None = Field(default=None, description="Its password, if it has one.")
    nats_seed: SecretStr | None = Field(default=None, description="Or its nkey seed.")
    host: str = Field(default="127.0.0.1", description="Address for HTTP: health, metrics, and the door if it has one.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port for HTTP; 0 takes a free one.")
    batch_size: int = Field(default=200, ge=1, le=1000, description="Messages handled in one transaction at the most.")
    max_attempts: int = Field(default=8, ge=1, description="Attempts at a message before it becomes a dead letter.")
    retention_days: int = Field(default=30, ge=1, description="How long the inbox and the outbox are kept.")
    outbox_limit: int = Field(
        default=1_000_000, ge=1, description="Unpublished events at which the doors answer 503 until the bus is back."
    )
    grace_seconds: float = Field(default=10.0, gt=0, description="How long a stop may take.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(default="json", pattern="^(json|text)$", description="json or text.")
    failpoint: str = Field(default="", description="For tests of faults: where to crash, fail or freeze.")
    otel_endpoint: str = Field(default="", description="OTLP/HTTP endpoint for traces. Empty: no traces.")

    def database_for(self, service: str) -> str:
        return self.database_url or f"sqlite:///{(self.data / f'{service}.db').absolute()}"

    @property
    def nats_servers(self) -> list[str]:
        return [one.strip() for one in self.nats_url.split(",") if one.strip()]

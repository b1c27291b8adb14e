"""What intake can be told from outside."""

from pathlib import Path

from entresol_eventing.links import LinkSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(LinkSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_INTAKE_")

    admin_token_file: Path | None = Field(
        default=None, description="File with the first admin's token; it is made valid at start."
    )
    catalog_url: str = Field(
        default="/catalog", description="Where clients find the read door; answers link to requests beneath it."
    )
    idempotency_hours: int = Field(default=48, ge=24, description="How long an Idempotency-Key is remembered.")
    received_days: int = Field(
        default=31, ge=1, description="How long outside events are remembered, to fold their copies."
    )
    hooks_per_second: float = Field(
        default=2000, gt=0, description="Webhook deliveries taken per second in the long run; above it 503."
    )
    hooks_burst: float = Field(default=4000, ge=1, description="Deliveries that may come at once on top of that.")

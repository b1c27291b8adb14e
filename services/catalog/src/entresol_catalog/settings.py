"""What the catalog can be told from outside. The only reader of the environment, with the prefix ENTRESOL_CATALOG_."""

from entresol_eventing.settings import RuntimeSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(RuntimeSettings):
    model_config = SettingsConfigDict(env_prefix="ENTRESOL_CATALOG_")

    submitted_seconds: float = Field(default=60, gt=0, description="Policy should have answered a request by then.")
    allowed_seconds: float = Field(
        default=300, gt=0, description="Provisioning should have planned or started by then."
    )
    running_seconds: float = Field(default=3600, gt=0, description="A run should have made progress by then.")
    approval_seconds: float = Field(default=60, gt=0, description="After its end, an approval should have expired.")
    held_seconds: float = Field(default=60, gt=0, description="After the end of what holds it, it should go on.")
    watch_seconds: float = Field(default=5, gt=0, description="How often requests that stall are looked for.")
    heartbeat_seconds: float = Field(default=15, gt=0, description="How often a silent stream says that it is alive.")

    @property
    def patience_seconds(self) -> dict[str, float]:
        """By state: how long a request may stay as it is."""
        return {
            "submitted": self.submitted_seconds,
            "planning": self.allowed_seconds,
            "waiting-for-approval": self.approval_seconds,
            "held": self.held_seconds,
            "allowed": self.allowed_seconds,
            "planned": self.allowed_seconds,
            "running": self.running_seconds,
        }

"""Policy's settings. The only reader of its environment."""

from entresol_eventing.settings import RuntimeSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(RuntimeSettings):
    """Read from `ENTRESOL_POLICY_…`."""

    model_config = SettingsConfigDict(env_prefix="ENTRESOL_POLICY_")

    keep_days: int = Field(
        default=90,
        ge=61,
        description="How long requests that were not decided at once are kept after their last change, to say why an"
        " answer does not count. A run may wait for 60 days, and have its plan looked at after that.",
    )

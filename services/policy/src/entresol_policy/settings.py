"""Policy's settings: nothing beyond what each service has."""

from entresol_eventing.settings import RuntimeSettings
from pydantic_settings import SettingsConfigDict


class Settings(RuntimeSettings):
    """Read from `ENTRESOL_POLICY_…`."""

    model_config = SettingsConfigDict(env_prefix="ENTRESOL_POLICY_")

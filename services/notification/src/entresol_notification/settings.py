"""Notification's settings. The only reader of its environment."""

from entresol_eventing.links import LinkSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(LinkSettings):
    """Read from `ENTRESOL_NOTIFICATION_…`."""

    model_config = SettingsConfigDict(env_prefix="ENTRESOL_NOTIFICATION_")

    attempts: int = Field(default=8, ge=1, description="Attempts at a delivery before it is given up.")
    first_retry_seconds: float = Field(default=2.0, gt=0, description="Wait after the first attempt; then doubling.")
    longest_retry_seconds: float = Field(default=600.0, gt=0, description="No wait is longer, whoever asks for it.")
    deadline_seconds: float = Field(default=10.0, gt=0, description="How long one attempt may take.")
    concurrency: int = Field(default=32, ge=1, description="Attempts at the same time; one for each channel.")
    keep_days: int = Field(default=30, ge=1, description="How long ended deliveries and their attempts are kept.")

    allow_loopback: bool = Field(default=False, description="Receivers on this machine, also by plain http.")
    allow_http: bool = Field(default=False, description="Receivers by plain http anywhere.")
    allow_private_networks: bool = Field(default=False, description="Receivers in private networks.")

    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where people reach the platform, such as https://entresol.example.com; intake is beneath it at"
        " /intake. Empty: no links for answering approvals.",
    )

    smtp_host: str = Field(default="", description="Mail server. Empty: channels of kind email fail.")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port; 465 means TLS from the start.")
    smtp_user: str = Field(default="", description="User, if it wants one.")
    smtp_password_ref: str = Field(default="", description="env:NAME or file:/PATH of the password.")
    smtp_from: str = Field(default="", description="Sender, where a channel has none of its own.")
    smtp_starttls: bool = Field(default=True, description="Insist on STARTTLS.")

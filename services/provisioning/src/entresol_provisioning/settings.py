"""What provisioning can be told from outside; the only reader of its environment (`ENTRESOL_PROVISIONING_…`)."""

from pathlib import Path

from entresol_eventing.settings import RuntimeSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Settings(RuntimeSettings):
    """The runtime's settings and those of the drivers."""

    model_config = SettingsConfigDict(env_prefix="ENTRESOL_PROVISIONING_")

    concurrency: int = Field(
        default=128, ge=1, le=10_000, description="Steps of one driver that run at the same time at the most."
    )
    step_timeout_seconds: float = Field(
        default=1800.0, gt=0, description="How long an attempt at a step may take, where the step does not say."
    )
    retries: int = Field(
        default=2, ge=0, le=20, description="Further attempts at a step after a passing failure, where it does not say."
    )
    retry_seconds: float = Field(default=1.0, gt=0, description="Wait before the first retry; doubled each time.")
    retry_longest_seconds: float = Field(default=300.0, gt=0, description="Longest wait between two attempts.")
    observe_concurrency: int = Field(default=64, ge=1, description="Resources compared with the world at once.")
    observe_seconds: float = Field(default=120.0, gt=0, description="How long comparing one step may take.")
    outputs_bytes: int = Field(default=48 * 1024, ge=1024, description="Largest outputs of one step, as JSON.")

    repositories_root: Path | None = Field(
        default=None,
        description="Where repositories named without a URL lie. Empty: repositories/ in the data directory.",
    )
    allow_local_repositories: bool = Field(
        default=False, description="Whether destinations may name absolute paths and file:// URLs of this machine."
    )
    render_seconds: float = Field(default=5.0, gt=0, description="Processor time for rendering one step's templates.")
    git_seconds: float = Field(default=120.0, gt=0, description="How long one command of git may take.")
    git_known_hosts: Path | None = Field(
        default=None, description="Keys of hosts that are reached by ssh. Empty: where ssh itself looks for them."
    )
    committer: str = Field(
        default="Entresol <entresol@localhost>", pattern=r"^[^<>\n]+ <[^<>\s]+>$", description="Name in commits."
    )

    workspaces_root: Path | None = Field(
        default=None, description="Where terraform's workspaces lie. Empty: workspaces/ in the data directory."
    )
    terraform: str = Field(default="", description="Path of tofu or terraform. Empty: whichever is found on PATH.")
    terraform_concurrency: int = Field(default=4, ge=1, description="Runs of terraform at the same time at the most.")

    kubernetes_seconds: float = Field(default=30.0, gt=0, description="How long one call of a Kubernetes API may take.")
    kubernetes_patience_seconds: float = Field(
        default=300.0, gt=0, description="How long pods that can't start, as without their image, are waited for."
    )
    kubeconfig_exec: bool = Field(default=False, description="Whether kubeconfigs may name programs that log in.")
    kubeconfig_files: bool = Field(default=False, description="Whether kubeconfigs may name files of this machine.")
    kubernetes_insecure: bool = Field(
        default=False, description="Whether clusters may be used whose certificate nobody checks, or that have none."
    )
    http_allow_loopback: bool = Field(default=False, description="APIs on this machine, also by plain http.")
    http_allow_plain: bool = Field(default=False, description="APIs by plain http anywhere.")
    http_allow_private_networks: bool = Field(default=False, description="APIs in private networks.")
    http_seconds: float = Field(default=30.0, gt=0, description="How long one request to an API may take.")
    http_answer_bytes: int = Field(default=1024 * 1024, ge=1024, description="Largest answer of an API that is read.")
    http_resolvers: int = Field(default=16, ge=1, description="Names of APIs that are resolved at the same time.")
    programs_root: Path | None = Field(
        default=None, description="Where programs for exec steps are installed. Empty: programs/ in the data directory."
    )
    executions_root: Path | None = Field(
        default=None, description="Where those programs work. Empty: executions/ in the data directory."
    )
    executions_days: float = Field(default=30.0, gt=0, description="How long what they leave there is kept.")
    exec_concurrency: int = Field(default=16, ge=1, description="Programs of exec steps at the same time at the most.")
    exec_cpu_seconds: float = Field(default=600.0, gt=0, description="CPU time that such a program may use.")
    exec_memory_mib: int = Field(
        default=2048, ge=16, description="Memory that it may use, and address space of each process."
    )
    exec_file_mib: int = Field(
        default=256, ge=1, description="Largest file that it may write; all may have four times as much."
    )
    exec_processes: int = Field(default=64, ge=1, description="Processes that it may have at the same time.")

    templates_root: Path | None = Field(
        default=None, description="Where templates of new repositories lie. Empty: templates/ in the data directory."
    )
    trusted_templates: frozenset[str] = Field(
        default=frozenset(), description="Templates whose tasks and Jinja extensions, which are programs, may run."
    )
    scaffold_seconds: float = Field(default=30.0, gt=0, description="CPU time that rendering one of them may take.")
    scaffold_concurrency: int = Field(default=4, ge=1, description="Templates rendered at the same time at the most.")

    @property
    def repositories(self) -> Path:
        return (self.repositories_root or self.data / "repositories").absolute()

    @property
    def workspaces(self) -> Path:
        return (self.workspaces_root or self.data / "workspaces").absolute()

    @property
    def calls(self) -> Path:
        """For which resources calls to APIs were made and not recorded."""
        return (self.data / "calls").absolute()

    @property
    def mirrors(self) -> Path:
        """Copies of remote repositories; they can be deleted at any time."""
        return (self.data / "mirrors").absolute()

    @property
    def programs(self) -> Path:
        return (self.programs_root or self.data / "programs").absolute()

    @property
    def executions(self) -> Path:
        return (self.executions_root or self.data / "executions").absolute()

    @property
    def templates(self) -> Path:
        return (self.templates_root or self.data / "templates").absolute()

"""The driver that renders templates into a git repository.

`driver` is the driver, `targets` where a step writes, `commits` the commit of a step, `proposals` the change that waits
on a branch of its own. What it needs of a repository is in `drivers.git`.
"""

from entresol_provisioning.drivers.gitops.driver import GitOps

__all__ = ["GitOps"]

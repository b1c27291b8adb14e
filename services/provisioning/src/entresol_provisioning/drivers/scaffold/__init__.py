"""The driver that makes a new repository from a copier template, and brings newer versions of the template into it.

`driver` is the driver, `targets` what a step may say; `templates` finds a template, `renders` has it rendered by
`copying` in a process of its own; `histories` knows what is in the repository, `merges` brings both together.
"""

from entresol_provisioning.drivers.scaffold.driver import Scaffold

__all__ = ["Scaffold"]

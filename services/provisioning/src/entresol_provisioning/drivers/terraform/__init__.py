"""The driver that applies terraform modules, or those of OpenTofu.

`driver` is the driver; `changes` reads from a plan what is to be approved, `sightings` what it tells about the world.
"""

from entresol_provisioning.drivers.terraform.driver import Terraform

__all__ = ["Terraform"]

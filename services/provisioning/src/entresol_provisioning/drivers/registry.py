"""Which drivers there are: the built-in ones, and those that installed packages bring along."""

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points

from entresol_provisioning.drivers import Driver
from entresol_provisioning.drivers.apart import apart
from entresol_provisioning.drivers.contracts import announcement
from entresol_provisioning.drivers.exec import Exec
from entresol_provisioning.drivers.gitops import GitOps
from entresol_provisioning.drivers.http import Http
from entresol_provisioning.drivers.kubernetes import Kubernetes
from entresol_provisioning.drivers.noop import Noop
from entresol_provisioning.drivers.paths import is_name
from entresol_provisioning.drivers.scaffold import Scaffold
from entresol_provisioning.drivers.terraform import Terraform
from entresol_provisioning.settings import Settings

GROUP = "entresol.drivers"
log = logging.getLogger(__name__)


def assemble(settings: Settings) -> Mapping[str, Driver]:
    """Drivers by name. A built-in name can't be taken; a driver that can't be loaded is left out and logged."""
    built_in: list[Driver] = [
        Noop(),
        GitOps(settings),
        Terraform(settings),
        Http(settings),
        Exec(settings),
        Scaffold(settings),
        Kubernetes(settings),
    ]
    drivers = {driver.name: driver for driver in built_in}
    for found in entry_points(group=GROUP):
        try:
            driver = apart(found.load()(settings))
            if not is_name(driver.name):
                raise ValueError(f"{driver.name!r} is not a name: lower-case letters, digits and hyphens")
            if driver.name in drivers:
                raise ValueError(f"the name {driver.name} is taken")
            announcement(driver)
            drivers[driver.name] = driver
        except (Exception, SystemExit) as error:
            log.error("a driver could not be loaded", extra={"driver": found.name, "reason": repr(error)})
    return drivers

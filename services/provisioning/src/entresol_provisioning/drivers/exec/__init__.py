"""The driver that runs installed programs as steps.

`driver` is the driver, `orders` what a program is told, `executions` the directories in which it works and what is
known there of earlier attempts, `answers` what it has left. Its processes are in `drivers.processes`.
"""

from entresol_provisioning.drivers.exec.driver import Exec

__all__ = ["Exec"]

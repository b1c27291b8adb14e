"""The driver that calls an API.

`driver` is the driver, `spec` what a step may say; `planning` compares, `carrying` acts and `waiting` waits, each in a
`session` with the API (`api`, `places`, `answers`, `values`). `ledger` keeps what was sent, `expressions` evaluates.
"""

from entresol_provisioning.drivers.http.driver import Http

__all__ = ["Http"]

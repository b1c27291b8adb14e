"""The driver that keeps objects in a Kubernetes cluster, by server-side apply.

`driver` is the driver, `wishes` what a step may say, `objects` what it wants. `looking` finds what is there and
`differences` compares; `removal` takes away, `waiting` waits, by what `health` says; `marks` tells whose an object is.
`api` speaks to the cluster (`kubeconfig`, `logins`: how to get in; `refusals`: what it answers).
"""

from entresol_provisioning.drivers.kubernetes.driver import Kubernetes

__all__ = ["Kubernetes"]

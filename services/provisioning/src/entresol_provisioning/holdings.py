"""Which step has put what into the world, where others could take it for theirs: files in repositories, things of APIs.

Each is one step's alone. Who comes second is told so, and nobody takes away what another step still holds. What is
written down here outlives any history: branches are squashed, moved and begun anew.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from entresol_eventing.statements import Statement
from sqlalchemy import Connection, bindparam, delete, insert, select

from entresol_provisioning.tables import holding


class Holder(NamedTuple):
    """A step of a resource."""

    resource_id: str
    step: str


_HOLDER = Statement(select(holding.c.resource_id, holding.c.step).where(holding.c.address == bindparam("address")))
_FREE = Statement(delete(holding).where(holding.c.address == bindparam("address")))
_HOLD = Statement(insert(holding))
_OF_STEP = (holding.c.resource_id == bindparam("resource_id"), holding.c.step == bindparam("step"))
_FORGET = Statement(delete(holding).where(*_OF_STEP))
_FORGET_ALL = Statement(delete(holding).where(holding.c.resource_id == bindparam("resource_id")))


def file(repository: str, branch: str, path: str) -> str:
    """The address of a file; a repository is the same with and without `.git`."""
    return f"{repository.removesuffix('.git')}#{branch}:{path}"


def addresses(driver: str, outputs: Mapping[str, Any]) -> set[str]:
    """What a step with these outputs holds."""
    if driver == "http":
        return {f"http:{outputs['holding']}"} if isinstance(outputs.get("holding"), str) else set()
    if driver != "gitops" or not isinstance(files := outputs.get("files"), list):
        return set()
    return {file(str(outputs.get("repository")), str(outputs.get("branch")), str(path)) for path in files}


def keep(connection: Connection, holder: Holder, held: Collection[str]) -> None:
    """The step holds these from now on, and nothing else; but what another resource has, stays that one's."""
    forget(connection, *holder)
    for address in sorted(held):
        found = _HOLDER.first(connection, address=address)
        if found is not None and found[0] == holder.resource_id:
            _FREE.change(connection, address=address)
        if found is None or found[0] == holder.resource_id:
            _HOLD.change(connection, address=address, resource_id=holder.resource_id, step=holder.step)


def forget(connection: Connection, resource_id: str, step: str | None = None) -> None:
    """Nothing is held any more by the step, or by any of the resource."""
    if step is None:
        _FORGET_ALL.change(connection, resource_id=resource_id)
    else:
        _FORGET.change(connection, resource_id=resource_id, step=step)


def others(connection: Connection, holder: Holder, asked: Collection[str]) -> dict[str, str]:
    """Of these, what other steps hold, and their resources."""
    found = {address: _HOLDER.first(connection, address=address) for address in asked}
    return {address: one[0] for address, one in found.items() if one is not None and Holder(*one) != holder}

"""Whether the database or the unit of work has failed; only a database that is away is worth another attempt."""

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from entresol_eventing.failpoints import Injected
from entresol_eventing.fencing import Fenced, Taken

# BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL: https://sqlite.org/rescode.html
_SQLITE_PASSING = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})
_POSTGRESQL_PASSING = frozenset({"25006", "25P03", "57P05"})
"""Read-only since a failover, and the two time-outs of idle sessions: not classed as operational."""


def is_unavailable(error: BaseException) -> bool:
    """Whether the database, not the unit, is what failed: only then does it help to try the same again."""
    if isinstance(error, Taken | Fenced | Injected):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _SQLITE_PASSING
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    if sqlstate.startswith("54"):  # what a statement says exceeds a limit, such as a key too long for an index
        return False
    return (
        isinstance(error, OperationalError | InterfaceError)
        or error.connection_invalidated
        or sqlstate in _POSTGRESQL_PASSING
    )

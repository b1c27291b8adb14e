"""Bearer tokens: issued here, known everywhere by their hash. The token itself is shown once and kept nowhere."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeVar, cast

from entresol_contracts.events import TokenIssued, TokenRevoked
from entresol_eventing.access import Principal
from entresol_eventing.envelope import now
from entresol_eventing.reactions import Emit
from sqlalchemy import select, update
from sqlmodel import Session

from entresol_intake.store import add, tokens

R = TypeVar("R")
Read = Callable[[Callable[[Session], Principal | None]], Awaitable[Principal | None]]
Role = Literal["admin", "platform", "developer", "publisher", "viewer"]

BOOTSTRAP: Final = "bootstrap"
MAX_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class Registry:
    """Finds who a token speaks for. Remembers it in memory until `clear`; unknown tokens are not remembered."""

    _generation: int = 0
    _known: dict[str, Principal] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything: a token was issued or revoked. What was read before is not kept after."""
        self._generation += 1
        self._known = {}

    async def find(self, token_hash: str, read: Read) -> Principal | None:
        """The principal of a token that is neither revoked nor expired."""
        principal = self._known.get(token_hash)
        if principal is None:
            generation = self._generation
            principal = await read(lambda session: _principal(token_hash, session))
            if principal is None:
                return None
            if generation == self._generation and len(self._known) < MAX_REMEMBERED:
                self._known[token_hash] = principal
        if principal.expires_at is not None and principal.expires_at <= now():
            return None
        return principal


def _principal(token_hash: str, session: Session) -> Principal | None:
    query = select(tokens).where(tokens.c.hash == token_hash, tokens.c.revoked_at.is_(None))
    row = session.connection().execute(query).first()
    if row is None:
        return None
    return Principal(row.token_id, row.actor, tuple(row.groups), row.role, tuple(row.projects), row.expires_at)


def issue(principal: Principal, token_hash: str, at: datetime, session: Session) -> Generator[Emit, None, None]:
    """Make a token known."""
    groups, projects = list(principal.groups), list(principal.projects)
    row = {
        "token_id": principal.token_id,
        "hash": token_hash,
        "actor": principal.actor,
        "groups": groups,
        "role": principal.role,
        "projects": projects,
        "issued_at": at,
        "expires_at": principal.expires_at,
        "revoked_at": None,
    }
    add(session, tokens, row)
    yield Emit(
        TokenIssued(
            token_id=principal.token_id,
            hash=token_hash,
            actor=principal.actor,
            groups=groups,
            role=cast(Role, principal.role),
            projects=projects,
            expires_at=principal.expires_at,
        ),
        subject=principal.token_id,
    )


def revoke(token_id: str, by: str, reason: str | None, at: datetime, session: Session) -> Generator[Emit, None, bool]:
    """Stop accepting a token; return False if there is none. A second time says nothing."""
    row = session.connection().execute(select(tokens.c.revoked_at).where(tokens.c.token_id == token_id)).first()
    if row is None:
        return False
    if row.revoked_at is None:
        session.connection().execute(update(tokens).where(tokens.c.token_id == token_id).values(revoked_at=at))
        yield Emit(TokenRevoked(token_id=token_id, by=by, reason=reason), subject=token_id)
    return True


def bootstrap(token_hash: str, at: datetime, session: Session) -> Generator[Emit, None, None]:
    """See that the token of the admin token file is an admin's. Another token in the file replaces the one before.

    A bootstrap token that was revoked stays so: only a new one in the file lets its owner in again.
    """
    query = select(tokens.c.token_id, tokens.c.hash, tokens.c.revoked_at).where(
        tokens.c.token_id.startswith(BOOTSTRAP, autoescape=True)
    )
    before: Sequence[tuple[str, str, datetime | None]] = [
        (row[0], row[1], row[2]) for row in session.connection().execute(query)
    ]
    if any(each[1] == token_hash for each in before):
        return
    for token_id, _, revoked_at in before:
        if revoked_at is None:
            yield from revoke(token_id, "system:intake", "replaced by another admin token", at, session)
    token_id = f"{BOOTSTRAP}-{token_hash[:12]}" if before else BOOTSTRAP
    yield from issue(Principal(token_id, "user:admin", (), "admin", ("*",)), token_hash, at, session)

"""Facts about manifests, tokens, dead letters and notifications."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.listings import DeadLetter, Manifest, Notification, Token
from entresol_catalog.handlers.board import Board, Fact
from entresol_catalog.store.reading import type_name


def apply(board: Board, fact: Fact) -> None:
    data: facts.ManifestApplied = fact.event.data
    manifest = Manifest(data.kind, data.name, data.version, data.digest, fact.at, data.manifest)
    board.manifests.add((data.kind, data.name, data.version or ""), manifest, fact.position)
    if data.kind == "Scorecard":
        board.applied[data.name] = fact


def remove(board: Board, fact: Fact) -> None:
    data: facts.ManifestRemoved = fact.event.data
    key = (data.kind, data.name, data.version or "")
    manifest = board.manifests.get(*key)
    if manifest is not None:
        manifest.removed = True
        board.manifests.keep(*key)
        if data.kind == "Scorecard":
            board.applied[data.name] = fact


def issue(board: Board, fact: Fact) -> None:
    """A token that was revoked stays revoked, whatever comes late."""
    data: facts.TokenIssued = fact.event.data
    if board.tokens.get(data.token_id) is None:
        token = Token(
            id=data.token_id,
            actor=data.actor,
            groups=data.groups,
            role=data.role,
            projects=data.projects,
            issued_at=fact.at,
            expires_at=data.expires_at,
            hash=data.hash,
        )
        board.tokens.add((token.id,), token, fact.position)


def revoke(board: Board, fact: Fact) -> None:
    """A revocation that overtook its token is kept as one, so that the token is never valid."""
    data: facts.TokenRevoked = fact.event.data
    token = board.tokens.get(data.token_id)
    if token is None:
        nobody = datetime.min.replace(tzinfo=UTC)
        token = Token(data.token_id, fact.event.actor, [], "viewer", [], fact.at, nobody, "")
    if token.revoked_at is None:
        token.revoked_at = fact.at
        board.tokens.add((token.id,), token, fact.position)


def quarantine(board: Board, fact: Fact) -> None:
    data: facts.MessageQuarantined = fact.event.data
    letter = _letter(board, fact)
    letter.state, letter.body, letter.retry_at = "waiting", data.body, None


def park(board: Board, fact: Fact) -> None:
    data: facts.MessageParked = fact.event.data
    letter = _letter(board, fact)
    letter.state, letter.retry_at = "retrying", data.retry_at


def _letter(board: Board, fact: Fact) -> DeadLetter:
    """The letter as the fact describes it; known since it was told of first, unless that has ended."""
    data: facts.MessageQuarantined | facts.MessageParked = fact.event.data
    known = board.dead_letters.get(data.service, data.message_id)
    letter = DeadLetter(
        id=data.message_id,
        service=data.service,
        reason=data.reason,
        attempts=data.attempts,
        type=data.event_type or _type_at(data.log_subject),
        partitionkey=data.event_partitionkey,
        log_subject=data.log_subject,
        size_bytes=data.size_bytes,
        digest=data.digest,
        body=known.body if known is not None else None,
        since=known.since if known is not None and known.ended_at is None else fact.at,
        behind=data.behind or 0,
        event_id=data.event_id,
        correlationid=fact.event.correlationid if fact.event.causationid else None,
    )
    return board.dead_letters.add((letter.service, letter.id), letter, fact.position)


def _type_at(log_subject: str) -> str | None:
    """The type of what can't be read, as its place on the log claims it."""
    tokens = log_subject.split(".")
    if len(tokens) < 5 or tokens[:2] == ["entresol", "ingest"]:
        return None
    return type_name(".".join(tokens[2:4]))


def redrive(board: Board, fact: Fact) -> None:
    data: facts.MessageRedriven = fact.event.data
    _end(board, fact, "redriven", data.by, None)


def discard(board: Board, fact: Fact) -> None:
    data: facts.MessageDiscarded = fact.event.data
    _end(board, fact, "discarded", data.by, data.reason)


def release(board: Board, fact: Fact) -> None:
    _end(board, fact, "released", None, None)


def _end(
    board: Board, fact: Fact, state: Literal["redriven", "discarded", "released"], by: str | None, because: str | None
) -> None:
    data: facts.MessageRedriven | facts.MessageDiscarded | facts.MessageReleased = fact.event.data
    letter = board.dead_letters.get(data.service, data.message_id)
    if letter is not None:
        letter.state, letter.ended_by, letter.ended_at, letter.ended_because = state, by, fact.at, because
        letter.retry_at = None
        board.dead_letters.keep(letter.service, letter.id)


def deliver(board: Board, fact: Fact) -> None:
    """A delivery that failed may be delivered after all; not the other way round."""
    data: facts.NotificationDelivered | facts.NotificationFailed = fact.event.data
    failed = isinstance(data, facts.NotificationFailed)
    if failed and board.notifications.get(data.delivery_id) is not None:
        return
    request = board.requests.get(fact.event.correlationid)
    notification = Notification(
        id=data.delivery_id,
        state="failed" if failed else "delivered",
        channel=data.channel,
        route=data.route,
        event_id=data.event_id,
        event_type=data.event_type,
        attempts=data.attempts,
        answer=data.reason if isinstance(data, facts.NotificationFailed) else data.answer,
        at=fact.at,
        project=None if request is None else request.project,
    )
    board.notifications.add((notification.id,), notification, fact.position)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.ManifestApplied: apply,
    facts.ManifestRemoved: remove,
    facts.TokenIssued: issue,
    facts.TokenRevoked: revoke,
    facts.MessageQuarantined: quarantine,
    facts.MessageParked: park,
    facts.MessageReleased: release,
    facts.MessageRedriven: redrive,
    facts.MessageDiscarded: discard,
    facts.NotificationDelivered: deliver,
    facts.NotificationFailed: deliver,
}

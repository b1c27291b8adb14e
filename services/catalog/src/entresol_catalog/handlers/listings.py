"""Facts about manifests, tokens, dead letters and notifications."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.listings import DeadLetter, Manifest, Notification, Token
from entresol_catalog.handlers.board import Board, Fact


def apply(board: Board, fact: Fact) -> None:
    data: facts.ManifestApplied = fact.event.data
    manifest = Manifest(data.kind, data.name, data.version, data.digest, fact.at, data.manifest)
    board.manifests.add((data.kind, data.name, data.version or ""), manifest, fact.position)


def remove(board: Board, fact: Fact) -> None:
    data: facts.ManifestRemoved = fact.event.data
    key = (data.kind, data.name, data.version or "")
    manifest = board.manifests.get(*key)
    if manifest is not None:
        manifest.removed = True
        board.manifests.keep(*key)


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
    letter = DeadLetter(
        id=data.message_id,
        service=data.service,
        reason=data.reason,
        attempts=data.attempts,
        type=data.event_type,
        partitionkey=data.event_partitionkey,
        log_subject=data.log_subject,
        size_bytes=data.size_bytes,
        digest=data.digest,
        body=data.body,
        since=fact.at,
    )
    board.dead_letters.add((letter.service, letter.id), letter, fact.position)


def redrive(board: Board, fact: Fact) -> None:
    data: facts.MessageRedriven = fact.event.data
    letter = board.dead_letters.get(data.service, data.message_id)
    if letter is not None:
        letter.state, letter.ended_by = "redriven", data.by
        board.dead_letters.keep(letter.service, letter.id)


def discard(board: Board, fact: Fact) -> None:
    data: facts.MessageDiscarded = fact.event.data
    letter = board.dead_letters.get(data.service, data.message_id)
    if letter is not None:
        letter.state, letter.ended_by = "discarded", data.by
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
    facts.MessageRedriven: redrive,
    facts.MessageDiscarded: discard,
    facts.NotificationDelivered: deliver,
    facts.NotificationFailed: deliver,
}

"""The link by which the one person who reads a channel answers an approval from where they read of it.

- It is made when a notice is sent and kept nowhere: whoever holds it answers as that person.
- Policy still decides whether the answer counts. Only the person who asked gets no link, for that would be no answer.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from entresol_contracts.manifests import AnswersAs, EmailChannel, LogChannel, SlackChannel, WebhookChannel
from entresol_eventing.links import Link, read_keys

from entresol_notification.channels import Answering
from entresol_notification.domain.sentences import one_line

Spec: TypeAlias = LogChannel | WebhookChannel | SlackChannel | EmailChannel

log = logging.getLogger(__name__)

ASKING: Final = frozenset(f"dev.entresol.approval.{fact}.v1" for fact in ("requested", "reminded", "escalated"))
REVIEWABLE: Final = timedelta(days=30)
"""How long after it was due a review may still be answered by link; reviews themselves do not end."""


@dataclass
class Links:
    """Makes links, or says once why it can't. Belongs to one event loop."""

    public_url: str
    key_file: Path | None
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.public_url = self.public_url.rstrip("/")

    def reader_of(self, spec: Spec | None) -> AnswersAs | None:
        """The one person who reads the channel. Mail to several is read by others too, so nobody answers by it."""
        if not isinstance(spec, WebhookChannel | SlackChannel | EmailChannel):
            return None
        if spec.answersAs is not None and isinstance(spec, EmailChannel) and len(spec.to) > 1:
            self._tell("a channel with answersAs sends mail to several addresses: it gets no links")
            return None
        return spec.answersAs

    def answering(self, event_type: str, event: str, reader: AnswersAs | None, at: datetime) -> Answering | None:
        """How the reader answers what the event asks; None if it asks nothing of them, or there can be no link."""
        if reader is None or event_type not in ASKING:
            return None
        if self.key_file is None or not self.public_url:
            self._tell("a channel has answersAs, but public_url and link_key_file are not both set: it gets no links")
            return None
        link = link_of(json.loads(event)["data"], reader)
        if link is None or link.expires_at <= at:
            return None
        try:
            # Read each time, so that a key can be replaced while the service runs.
            token = read_keys(self.key_file).mint(link)
        except (OSError, ValueError) as error:
            self._tell(f"a channel gets no link for answering: {error}")
            return None
        return Answering(one_line(reader.actor), f"{self.public_url}/intake/answers/{token}")

    def _tell(self, text: str) -> None:
        if text not in self._told:
            log.warning(text)
            self._told.add(text)


def link_of(asked: Mapping[str, Any], reader: AnswersAs) -> Link | None:
    """What the reader may answer until when; None for whoever asked."""
    if asked.get("requested_by") == reader.actor:
        return None
    ends_at = datetime.fromisoformat(asked["expires_at"]).astimezone(UTC)
    if asked.get("review"):
        ends_at += REVIEWABLE
    return Link(asked["approval_id"], reader.actor, tuple(reader.groups or ()), ends_at)

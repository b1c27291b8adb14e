"""POST the event itself, signed as Standard Webhooks says if the channel has a secret.

What asks the channel's reader for an answer has one field more than the log: `answer_url` in its data.
"""

import json
import time

from entresol_eventing.envelope import CONTENT_TYPE
from entresol_manifests.secrets import resolve

from entresol_notification.channels import Notice, Undelivered
from entresol_notification.domain.signatures import UnusableSecret, sign
from entresol_notification.egress import Egress


class WebhookChannel:
    def __init__(self, egress: Egress, url: str, secret_ref: str | None) -> None:
        self._egress = egress
        self._url = url
        self._secret_ref = secret_ref

    async def deliver(self, notice: Notice) -> str:
        body, timestamp = body_of(notice), int(time.time())
        headers = {
            "content-type": CONTENT_TYPE,
            "webhook-id": notice.delivery_id,
            "webhook-timestamp": str(timestamp),
        }
        if self._secret_ref is not None:
            try:
                headers["webhook-signature"] = sign(resolve(self._secret_ref), notice.delivery_id, timestamp, body)
            except UnusableSecret as error:
                raise Undelivered(str(error)) from None
        answer = await self._egress.post(self._url, body, headers)
        return str(answer.status)


def body_of(notice: Notice) -> bytes:
    """The event as it is on the log; with `data.answer_url` if its reader may answer."""
    if notice.answering is None:
        return notice.event.encode()
    event = json.loads(notice.event)
    event["data"]["answer_url"] = notice.answering.url
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()

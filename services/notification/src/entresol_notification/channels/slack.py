"""Post a line to a Slack incoming webhook. Its URL is the secret, so it is a reference and is never repeated.

Escaping `&`, `<` and `>` is all that Slack asks for: without `<` there is no `<!channel>`, no mention and no link
whose text hides its target.
"""

import json
import re

from entresol_manifests.secrets import resolve

from entresol_notification.channels import Notice, Undelivered
from entresol_notification.egress import Egress

_ERROR_CODE = re.compile(r"[a-z_]{1,40}\Z")


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class SlackChannel:
    def __init__(self, egress: Egress, url_ref: str) -> None:
        self._egress = egress
        self._url_ref = url_ref

    async def deliver(self, notice: Notice) -> str:
        text = notice.message if notice.answering is None else f"{notice.message}\n{notice.answering.line}"
        body = json.dumps({"text": escape(text), "unfurl_links": False, "unfurl_media": False})
        try:
            answer = await self._egress.post(
                resolve(self._url_ref), body.encode(), {"content-type": "application/json"}
            )
        except Undelivered as error:
            if _ERROR_CODE.match(error.text):
                error.reason = f"{error.reason} ({error.text})"
            raise
        return str(answer.status)

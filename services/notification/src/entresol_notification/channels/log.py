"""Write the notice into the service's own log; it is stored as a delivery like any other."""

import logging

from entresol_notification.channels import Notice

log = logging.getLogger(__name__)


class LogChannel:
    async def deliver(self, notice: Notice) -> str:
        log.info(
            "notice: %s", notice.message, extra={"delivery_id": notice.delivery_id, "event_type": notice.event_type}
        )
        return "logged"

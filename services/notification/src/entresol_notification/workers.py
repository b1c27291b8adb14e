"""Take deliveries to their receivers.

- Each channel has a queue of its own, which one task works off in order: a receiver that is slow, broken or gone
  delays its own notices and nobody else's.
- All tasks together make at most `concurrency` attempts at a time, and no attempt takes longer than its deadline.
- At least once: a crash between the receiver's answer and its record repeats the attempt, under the same delivery id.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from entresol_contracts.events import NotificationDelivered, NotificationFailed
from entresol_contracts.manifests import AnswersAs
from entresol_contracts.manifests import Channel as ChannelManifest
from entresol_contracts.manifests import EmailChannel as EmailSpec
from entresol_contracts.manifests import SlackChannel as SlackSpec
from entresol_contracts.manifests import WebhookChannel as WebhookSpec
from entresol_eventing.commits import Wake
from entresol_eventing.egress import Permitted
from entresol_eventing.envelope import now
from entresol_eventing.failpoints import failpoint
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.service import Service
from entresol_eventing.units import backoff
from entresol_eventing.writer import Unavailable
from entresol_manifests.secrets import SecretMissing
from pydantic import ValidationError
from sqlmodel import Session

from entresol_notification import store
from entresol_notification.answering import Links, Spec
from entresol_notification.channels import Channel, Notice, Undelivered
from entresol_notification.channels.email import EmailChannel, MailServer
from entresol_notification.channels.log import LogChannel
from entresol_notification.channels.slack import SlackChannel
from entresol_notification.channels.webhook import WebhookChannel
from entresol_notification.domain import SYSTEM
from entresol_notification.egress import Egress, egress
from entresol_notification.settings import Settings

log = logging.getLogger(__name__)

PAGE = 100
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 0.02
"""Pause between two looks at the queues, so that a busy log costs no more than 50 looks a second."""
PRUNE_EVERY_SECONDS = 3600.0
PRUNE_ROWS = 1000


class Courier:
    """The worker of the service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._links = Links(settings.public_url, settings.link_key_file)
        self._longest_wait = timedelta(seconds=settings.longest_retry_seconds)

    async def work(self, service: Service) -> None:
        """Work off the queues until cancelled; an attempt that is cut short is repeated after the next start."""
        settings = self._settings
        permitted = Permitted(settings.allow_loopback, settings.allow_http, settings.allow_private_networks)
        way = egress(permitted, settings.deadline_seconds, settings.concurrency)
        async with way as way_out, service.commits.subscribe() as wake:
            await self._hand_out(service, way_out, wake)

    async def _hand_out(self, service: Service, way_out: Egress, wake: Wake) -> None:
        slots = asyncio.Semaphore(self._settings.concurrency)
        busy: dict[str, asyncio.Task[None]] = {}

        def ended(channel: str, _: "asyncio.Task[None]") -> None:
            del busy[channel]
            wake.set()  # what came in while the task was ending would wait for the next commit

        try:
            while True:
                pause = LOOK_SECONDS
                queues = await service.read(store.queues)
                moment = now()
                for channel, due_at in queues.items():
                    if channel in busy:
                        continue
                    if moment < due_at <= moment + self._longest_wait:
                        pause = min(pause, (due_at - moment).total_seconds())
                        continue
                    busy[channel] = asyncio.create_task(self._work_off(service, channel, way_out, slots))
                    busy[channel].add_done_callback(partial(ended, channel))
                await asyncio.sleep(SETTLE_SECONDS)
                await wake.wait(pause)
        finally:
            tasks = list(busy.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def measure(self, service: Service) -> None:
        """Tell Prometheus what waits to be delivered, and for how long it should have been tried already."""
        metrics = service.telemetry.metrics
        while True:
            count, first = await service.read(store.backlog)
            overdue = max(0.0, (now() - first).total_seconds()) if first is not None else 0.0
            metrics.waiting.labels(service.name, "delivery").set(count)
            metrics.waiting_oldest.labels(service.name, "delivery").set(overdue)
            await asyncio.sleep(LOOK_SECONDS)

    async def prune(self, service: Service) -> None:
        """Forget what ended long ago, a thousand at a time."""
        while True:
            before = now() - timedelta(days=self._settings.keep_days)

            def forget(session: Session, before: datetime = before) -> Generator[Outcome, None, int]:
                yield from ()
                return store.prune(session, before, PRUNE_ROWS)

            with contextlib.suppress(Unavailable):
                while await service.transact(forget) == PRUNE_ROWS:
                    pass
            await asyncio.sleep(PRUNE_EVERY_SECONDS)

    async def _work_off(self, service: Service, name: str, way_out: Egress, slots: asyncio.Semaphore) -> None:
        try:
            while True:
                manifest, page = await service.read(
                    lambda session: store.page(session, name, now(), PAGE, self._longest_wait)
                )
                if not page:
                    return
                spec = spec_of(manifest)
                channel = open_channel(spec, self._settings, way_out) if spec is not None else None
                reader = self._links.reader_of(spec)
                # Recording does not hold up the next attempt, so that many share a commit; the next page waits for
                # all of them, because it is read from what they wrote.
                async with asyncio.TaskGroup() as recording:
                    for waiting in page:
                        async with slots:
                            result = await self._attempt(channel, reader, waiting)
                        unit = record(waiting, result)
                        recording.create_task(service.transact(unit, actor=SYSTEM, cause=waiting.cause))
        except* Unavailable:
            await asyncio.sleep(1.0)
        except* Exception as error:
            log.error(
                "a channel's queue stands still for a moment",
                extra={"channel": name, "errors": [type(one).__name__ for one in error.exceptions]},
            )
            await asyncio.sleep(1.0)

    async def _attempt(self, channel: Channel | None, reader: AnswersAs | None, waiting: store.Waiting) -> store.Result:
        began_at, began = now(), asyncio.get_running_loop().time()
        failure: Undelivered | None = None
        answer = ""
        try:
            if channel is None:
                raise Undelivered(f"there is no usable channel {waiting.channel}; apply one")
            answering = self._links.answering(waiting.event_type, waiting.event, reader, began_at)
            notice = Notice(waiting.id, waiting.event_type, waiting.event, waiting.message, answering)
            async with asyncio.timeout(self._settings.deadline_seconds):
                failpoint("effect.before")
                answer = await channel.deliver(notice)
                failpoint("effect.after")
        except Undelivered as error:
            failure = error
        except SecretMissing as error:
            failure = Undelivered(str(error))
        except TimeoutError:
            failure = Undelivered(f"the receiver did not answer within {self._settings.deadline_seconds:g} s")
        except Exception as error:
            failure = Undelivered(f"the channel failed ({type(error).__name__})")
        milliseconds = round((asyncio.get_running_loop().time() - began) * 1000)
        if failure is None:
            return store.Result("delivered", began_at, milliseconds, answer, now())
        number = waiting.attempts + 1
        if failure.final or number >= self._settings.attempts:
            return store.Result("failed", began_at, milliseconds, failure.reason, now())
        return store.Result("ready", began_at, milliseconds, failure.reason, now() + self._pause(number, failure))

    def _pause(self, number: int, failure: Undelivered) -> timedelta:
        longest = self._settings.longest_retry_seconds
        own = backoff(number, random.random(), first_seconds=self._settings.first_retry_seconds, most_seconds=longest)
        return timedelta(seconds=min(longest, max(own, failure.retry_after_seconds or 0.0)))


def record(waiting: store.Waiting, result: store.Result) -> Any:
    """A unit that writes the attempt down and, if it was the last, says how the delivery ended."""
    ids: Mapping[str, Any] = {
        "delivery_id": waiting.id,
        "channel": waiting.channel,
        "route": waiting.route,
        "event_id": waiting.event_id,
        "event_type": waiting.event_type,
        "attempts": waiting.attempts + 1,
    }

    def unit(session: Session) -> Generator[Outcome, None, None]:
        written = store.record(session, waiting, result)
        if written and result.state == "delivered":
            yield Emit(NotificationDelivered(**ids, answer=result.answer), subject=waiting.id)
        elif written and result.state == "failed":
            yield Emit(NotificationFailed(**ids, reason=result.answer), subject=waiting.id)

    return unit


def spec_of(manifest: Mapping[str, Any] | None) -> Spec | None:
    """What a channel's manifest says; None if there is none or it can't be read."""
    try:
        return ChannelManifest.model_validate(manifest).spec
    except ValidationError:
        return None


def open_channel(spec: Spec, settings: Settings, way_out: Egress) -> Channel:
    """The channel that the manifest describes."""
    if isinstance(spec, WebhookSpec):
        return WebhookChannel(way_out, spec.url, spec.secretRef)
    if isinstance(spec, SlackSpec):
        return SlackChannel(way_out, spec.urlRef)
    if isinstance(spec, EmailSpec):
        server = MailServer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            user=settings.smtp_user,
            password_ref=settings.smtp_password_ref,
            sender=settings.smtp_from,
            starttls=settings.smtp_starttls,
            timeout_seconds=settings.deadline_seconds,
        )
        return EmailChannel(server, spec.to, spec.from_)
    return LogChannel()

"""What every channel promises, held against each of them, and what is particular to one."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from entresol_eventing.egress import Permitted
from entresol_manifests.secrets import SecretMissing
from entresol_notification.channels import Channel, Notice, Undelivered
from entresol_notification.channels.email import EmailChannel, MailServer
from entresol_notification.channels.log import LogChannel
from entresol_notification.channels.slack import SlackChannel
from entresol_notification.channels.webhook import WebhookChannel
from entresol_notification.egress import Egress, egress

SECRET = "whsec_" + base64.b64encode(b"canary-secret-of-this-channel!!!").decode()
NOTICE = Notice(
    "0199a1b2-0000-7000-8000-0000000000cc", "dev.entresol.request.denied.v1", '{"id":"e1"}', "it was denied"
)
LOOPBACK = Permitted(loopback=True)


def way_out(permitted: Permitted = LOOPBACK, deadline_seconds: float = 1.0) -> AbstractAsyncContextManager[Egress]:
    return egress(permitted, deadline_seconds, 4)


def mail_server(port: int, **changed: Any) -> MailServer:
    plain: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "user": "",
        "password_ref": "",
        "sender": "entresol@example.com",
        "starttls": False,
        "timeout_seconds": 1.0,
    }
    return MailServer(**plain | changed)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


Open: Any = Callable[[str], Awaitable[Channel]]


@pytest.fixture(params=["webhook", "slack", "email", "log"])
async def open_channel(
    request: pytest.FixtureRequest, receiver: Any, mail_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Opens the channel of each kind, to a receiver that is `good` or `unreachable`."""
    kind = request.param
    async with way_out() as out:

        async def opened(behaviour: str) -> Channel:
            url = (await receiver("good")).url if behaviour == "good" else "http://127.0.0.1:1/top-secret-path"
            if kind == "webhook":
                return WebhookChannel(out, url, "env:HOOK_SECRET")
            if kind == "slack":
                monkeypatch.setenv("SLACK_URL", url)
                return SlackChannel(out, "env:SLACK_URL")
            if kind == "email":
                return EmailChannel(mail_server(mail_port if behaviour == "good" else 1), ["sre@example.com"], None)
            if behaviour != "good":
                pytest.skip("the log is always there")
            return LogChannel()

        yield opened


class TestEveryChannel:
    async def test_a_good_receiver_takes_it_as_often_as_it_comes(self, open_channel: Open) -> None:
        channel = await open_channel("good")
        for _ in range(2):
            assert await channel.deliver(NOTICE)

    async def test_many_at_a_time(self, open_channel: Open) -> None:
        channel = await open_channel("good")
        assert all(await asyncio.gather(*(channel.deliver(NOTICE) for _ in range(5))))

    async def test_an_unreachable_receiver_is_told_without_its_secret(
        self, open_channel: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with pytest.raises(Undelivered) as failed:
            await (await open_channel("unreachable")).deliver(NOTICE)
        for text in (str(failed.value), failed.value.reason, caplog.text):
            assert "top-secret-path" not in text
            assert "canary" not in text
            assert SECRET not in text
        assert not failed.value.final

    async def test_hostile_words_do_no_harm(self, open_channel: Open, caplog: pytest.LogCaptureFixture) -> None:
        hostile = Notice(
            NOTICE.delivery_id, NOTICE.event_type, "{}", "<!channel> & “ünïcode” 🦄 ${x} %s {0} " + "x" * 1900
        )
        caplog.set_level(logging.INFO)
        assert await (await open_channel("good")).deliver(hostile)


class TestWebhook:
    async def test_the_event_arrives_signed(self, receiver: Any) -> None:
        hook = await receiver("good")
        async with way_out() as out:
            assert await WebhookChannel(out, hook.url, "env:HOOK_SECRET").deliver(NOTICE) == "200"
        (got,) = hook.received
        assert got.body == NOTICE.event.encode()
        assert got.path == "/hook/top-secret-path"
        assert got.headers["content-type"] == "application/cloudevents+json"
        assert got.headers["host"] == f"127.0.0.1:{hook.port}"
        assert got.headers["webhook-id"] == NOTICE.delivery_id
        assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        signed = f"{NOTICE.delivery_id}.{got.headers['webhook-timestamp']}.".encode() + got.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert got.headers["webhook-signature"] == f"v1,{expected}"

    async def test_without_a_secret_there_is_no_signature(self, receiver: Any) -> None:
        hook = await receiver("empty")
        async with way_out() as out:
            assert await WebhookChannel(out, hook.url, None).deliver(NOTICE) == "204"
        assert "webhook-signature" not in hook.received[0].headers

    async def test_a_missing_or_unusable_secret_sends_nothing(
        self, receiver: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hook = await receiver("good")
        monkeypatch.setenv("BAD_SECRET", "not base64 canary")
        async with way_out() as out:
            with pytest.raises(SecretMissing):
                await WebhookChannel(out, hook.url, "env:NO_SUCH_SECRET").deliver(NOTICE)
            with pytest.raises(Undelivered) as failed:
                await WebhookChannel(out, hook.url, "env:BAD_SECRET").deliver(NOTICE)
        assert "canary" not in failed.value.reason
        assert hook.received == []

    @pytest.mark.parametrize(
        ("behaviour", "reason", "final"),
        [
            ("refusing", "answered 400", False),
            ("broken", "answered 500", False),
            ("gone", "answered 410", True),
            ("busy", "answered 429", False),
            ("redirecting", "a redirect, which is not followed", False),
            ("slow", "in time", False),
            ("dropping", "dropped the connection", False),
            ("garbage", "did not speak HTTP", False),
            ("endless-headers", "did not speak HTTP", False),
        ],
    )
    async def test_bad_receivers(self, receiver: Any, behaviour: str, reason: str, final: bool) -> None:
        hook = await receiver(behaviour)
        async with way_out(deadline_seconds=0.3) as out:
            with pytest.raises(Undelivered) as failed:
                await WebhookChannel(out, hook.url, None).deliver(NOTICE)
        assert reason in failed.value.reason
        assert failed.value.final == final
        assert "secret" not in failed.value.reason
        assert hook.connections == 1, "neither followed nor repeated"

    @pytest.mark.parametrize("behaviour", ["endless-body", "broken-body"])
    async def test_the_status_decides_however_the_body_goes_on(self, receiver: Any, behaviour: str) -> None:
        hook = await receiver(behaviour)
        async with way_out() as out:
            assert await WebhookChannel(out, hook.url, None).deliver(NOTICE) == "200"

    async def test_a_wish_to_be_left_alone_is_kept(self, receiver: Any) -> None:
        hook = await receiver("busy")
        async with way_out() as out:
            with pytest.raises(Undelivered) as failed:
                await WebhookChannel(out, hook.url, None).deliver(NOTICE)
        assert failed.value.retry_after_seconds == 3600


class TestEgress:
    @pytest.mark.parametrize(
        ("permitted", "host", "reason"),
        [
            (Permitted(), "127.0.0.1", "loopback"),
            (Permitted(http=True), "localhost", "loopback"),
            (Permitted(http=True, private=True), "127.1", "loopback"),
            (Permitted(http=True, private=True), "2130706433", "loopback"),
            (Permitted(http=True, private=True), "0x7f.1", "loopback"),
            (Permitted(http=True, private=True), "[::1]", "loopback"),
            (Permitted(http=True, private=True), "[::ffff:127.0.0.1]", "loopback"),
            (Permitted(True, True, True), "169.254.169.254", "metadata"),
            (Permitted(True, True, True), "[64:ff9b::a9fe:a9fe]", "metadata"),
            (Permitted(True, True, False), "10.1.2.3", "private"),
            (Permitted(True, True, True), "no-such-host.invalid", "resolved"),
            (Permitted(True, False, True), "10.1.2.3", "https"),
            (Permitted(True, True, True), "user:canary@127.0.0.1", "without a password"),
        ],
    )
    async def test_where_nothing_is_sent(self, receiver: Any, permitted: Permitted, host: str, reason: str) -> None:
        hook = await receiver("good")
        async with way_out(permitted) as out:
            with pytest.raises(Undelivered) as failed:
                await out.post(f"http://{host}:{hook.port}/", b"", {})
        assert reason in failed.value.reason
        assert "canary" not in failed.value.reason
        assert hook.connections == 0

    @pytest.mark.parametrize(
        "url", ["", "ftp://example.com/", "file:///etc/passwd", "http://", "http://[", "https://a b/"]
    )
    async def test_what_is_no_receiver(self, url: str) -> None:
        async with way_out(Permitted(True, True, True)) as out:
            with pytest.raises(Undelivered):
                await out.post(url, b"", {})

    async def test_a_proxy_of_the_environment_is_not_used(self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        hook, proxy = await receiver("good"), await receiver("good")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with way_out() as out:
            await out.post(hook.url, b"", {})
        assert (hook.connections, proxy.connections) == (1, 0)

    async def test_the_name_is_asked_once_and_the_connection_goes_to_the_checked_address(
        self, receiver: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A name server that answers differently the second time changes nothing."""
        hook = await receiver("good")
        answers = iter([["127.0.0.1"], ["169.254.169.254"]])

        def resolve(host: str, port: int, **_: Any) -> list[Any]:
            assert host == "rebinding.test"
            return [(2, 1, 6, "", (address, port)) for address in next(answers)]

        monkeypatch.setattr("entresol_eventing.egress.socket.getaddrinfo", resolve)
        async with way_out() as out:
            answer = await out.post(f"http://rebinding.test:{hook.port}/x", b"", {})
        assert answer.status == 200
        assert hook.received[0].headers["host"] == f"rebinding.test:{hook.port}"

    async def test_one_bad_address_refuses_them_all(self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = await receiver("good")
        found = [(2, 1, 6, "", (address, hook.port)) for address in ("127.0.0.1", "169.254.169.254")]
        monkeypatch.setattr("entresol_eventing.egress.socket.getaddrinfo", lambda *_, **__: found)
        async with way_out() as out:
            with pytest.raises(Undelivered, match="metadata"):
                await out.post(hook.url, b"", {})
        assert hook.connections == 0


class TestSlack:
    async def test_nothing_in_the_text_is_a_command(self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        slack = await receiver("good")
        monkeypatch.setenv("SLACK_URL", slack.url)
        notice = Notice("d", "t", "{}", "<!channel> <@U1> <http://evil|good> a&b")
        async with way_out() as out:
            await SlackChannel(out, "env:SLACK_URL").deliver(notice)
        text = json.loads(slack.received[0].body)["text"]
        assert text == "&lt;!channel&gt; &lt;@U1&gt; &lt;http://evil|good&gt; a&amp;b"

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            ("slack-error", "the receiver answered 404 (channel_is_archived)"),
            ("refusing", "the receiver answered 400"),
            ("dropping", "the receiver dropped the connection or did not speak HTTP"),
        ],
    )
    async def test_its_url_is_never_told(
        self,
        receiver: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        behaviour: str,
        reason: str,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        slack = await receiver(behaviour)
        monkeypatch.setenv("SLACK_URL", slack.url)
        async with way_out() as out:
            with pytest.raises(Undelivered) as failed:
                await SlackChannel(out, "env:SLACK_URL").deliver(NOTICE)
        assert failed.value.reason == reason
        assert "top-secret-path" not in caplog.text + str(failed.value)


class TestEmail:
    async def test_a_mail_arrives(self, mailbox: Any, mail_port: int) -> None:
        channel = EmailChannel(mail_server(mail_port), ["sre@example.com", "ops@example.com"], None)
        assert await channel.deliver(NOTICE) == "accepted by the mail server for 2 of 2"
        (envelope,) = mailbox.mails
        assert envelope.rcpt_tos == ["sre@example.com", "ops@example.com"]
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert mail["subject"] == "[entresol] it was denied"
        assert mail["from"] == "Entresol <entresol@example.com>"
        assert mail["message-id"] == f"<{NOTICE.delivery_id}@entresol>"
        assert mail["auto-submitted"] == "auto-generated"
        assert "it was denied" in mail.get_content()

    @pytest.mark.parametrize("hostile", ["a\r\nBcc: eve@example.com", "a\nBcc: eve@example.com\n\nbody", "a\rX: y"])
    async def test_no_event_adds_a_header(self, mailbox: Any, mail_port: int, hostile: str) -> None:
        notice = Notice("d1", "t", "{}", hostile)
        await EmailChannel(mail_server(mail_port), ["sre@example.com"], None).deliver(notice)
        (envelope,) = mailbox.mails
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert {"bcc", "x"}.isdisjoint(name.lower() for name in mail)
        assert envelope.rcpt_tos == ["sre@example.com"]

    @pytest.mark.parametrize("address", ["a@b\r\nBcc: c@d", "a,b@example.com", "no address", "a@b>, <c@d"])
    async def test_what_is_no_address(self, mailbox: Any, mail_port: int, address: str) -> None:
        with pytest.raises(Undelivered) as failed:
            await EmailChannel(mail_server(mail_port), [address], None).deliver(NOTICE)
        assert failed.value.final
        assert mailbox.mails == []

    @pytest.mark.parametrize(("code", "final"), [("451 later", False), ("550 no such user", True)])
    async def test_refused_recipients(self, mailbox: Any, mail_port: int, code: str, final: bool) -> None:
        mailbox.refuse["sre@example.com"] = code
        with pytest.raises(Undelivered) as failed:
            await EmailChannel(mail_server(mail_port), ["sre@example.com"], None).deliver(NOTICE)
        assert failed.value.final == final
        both = EmailChannel(mail_server(mail_port), ["sre@example.com", "ops@example.com"], None)
        assert await both.deliver(NOTICE) == "accepted by the mail server for 1 of 2"

    async def test_starttls_is_insisted_on(self, mailbox: Any, mail_port: int) -> None:
        with pytest.raises(Undelivered):
            await EmailChannel(mail_server(mail_port, starttls=True), ["sre@example.com"], None).deliver(NOTICE)
        assert mailbox.mails == []

    async def test_a_refused_login_does_not_tell_the_password(
        self, mail_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAIL_PASSWORD", "canary-password")
        server = mail_server(mail_port, user="entresol", password_ref="env:MAIL_PASSWORD")
        with pytest.raises(Undelivered) as failed:
            await EmailChannel(server, ["sre@example.com"], None).deliver(NOTICE)
        assert "canary" not in str(failed.value)

    async def test_a_silent_server_has_a_deadline(self, receiver: Any) -> None:
        silent = await receiver("slow")
        with pytest.raises(Undelivered):
            await EmailChannel(mail_server(silent.port, timeout_seconds=0.2), ["sre@example.com"], None).deliver(NOTICE)

    async def test_without_a_server_it_says_what_to_set(self) -> None:
        with pytest.raises(Undelivered, match="smtp_host") as failed:
            await EmailChannel(mail_server(25, host=""), ["sre@example.com"], None).deliver(NOTICE)
        assert failed.value.final


async def test_the_log_has_one_structured_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert await LogChannel().deliver(NOTICE) == "logged"
    (record,) = [one for one in caplog.records if one.name == "entresol_notification.channels.log"]
    assert record.getMessage() == "notice: it was denied"
    assert vars(record)["delivery_id"] == NOTICE.delivery_id

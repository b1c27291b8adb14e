"""Send a mail by the platform's own SMTP server.

The message is one line already, and the standard library refuses line breaks in headers: two locks on one door,
because a line break that got through would let an event choose the recipients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib
from entresol_manifests.secrets import resolve

from entresol_notification.channels import Notice, Undelivered
from entresol_notification.domain.sentences import fact_of, one_line

LONGEST_SUBJECT = 200
IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True, slots=True)
class MailServer:
    host: str
    port: int
    user: str
    password_ref: str
    sender: str
    starttls: bool
    timeout_seconds: float


class EmailChannel:
    def __init__(self, server: MailServer, to: Sequence[str], sender: str | None) -> None:
        self._server = server
        self._to = to
        self._sender = sender or server.sender

    async def deliver(self, notice: Notice) -> str:
        server = self._server
        if not server.host or not self._sender:
            raise Undelivered("no mail server is set; set smtp_host and smtp_from of this service", final=True)
        try:
            mail = compose(notice, self._to, self._sender)
        except ValueError:
            raise Undelivered("an address of the channel is not a mail address", final=True) from None
        implicit = server.port == IMPLICIT_TLS_PORT
        try:
            refused, _ = await aiosmtplib.send(
                mail,
                recipients=list(self._to),
                hostname=server.host,
                port=server.port,
                username=server.user or None,
                password=resolve(server.password_ref) if server.password_ref else None,
                use_tls=implicit,
                start_tls=server.starttls and not implicit,
                timeout=server.timeout_seconds,
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            raise Undelivered(f"the mail server refused the login ({error.code})") from None
        except aiosmtplib.SMTPResponseException as error:
            raise Undelivered(f"the mail server answered {error.code}", final=500 <= error.code < 600) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            final = all(500 <= one.code < 600 for one in error.recipients)
            raise Undelivered("the mail server refused every recipient", final=final) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Undelivered(f"the mail server can't be reached or used ({type(error).__name__})") from None
        return f"accepted by the mail server for {len(self._to) - len(refused)} of {len(self._to)}"


def compose(notice: Notice, to: Sequence[str], sender: str) -> EmailMessage:
    """The mail. Raise ValueError for what is no address."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = one_line(f"[entresol] {notice.message}", LONGEST_SUBJECT)
    mail["From"] = Address("Entresol", addr_spec=sender)
    mail["To"] = tuple(Address(addr_spec=one) for one in to)
    mail["Message-ID"] = f"<{notice.delivery_id}@entresol>"
    mail["Auto-Submitted"] = "auto-generated"
    answer = f"{notice.answering.line}\n\n" if notice.answering is not None else ""
    mail.set_content(
        f"{notice.message}\n\n{answer}Event: {fact_of(notice.event_type)}\nDelivery: {notice.delivery_id}\n"
    )
    return mail

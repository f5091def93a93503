"""Mail over the operator's own server, one message a recipient, in threads by project and window."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from lib.alerts.channels.answer import DEADLINE_SECONDS, Answer
from lib.alerts.messages import Message
from lib.secret import Secret

_PORTS = {"smtps": 465, "smtp": 587}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_GONE = (550, 551, 553)
"""No such mailbox."""
NOT_SET_UP = "No mail server is set up (QODEX_SMTP_URL, QODEX_MAIL_FROM)."


class Mailer:
    """Sends mail as the settings say; without them each message fails with a sentence that says so."""

    def __init__(
        self,
        server: Secret | None,
        sender: str | None,
        certificates: ssl.SSLContext | None = None,
        *,
        seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._server, self._sender, self._seconds = server, sender, seconds
        self._certificates = certificates or _of_this_machine()

    @property
    def is_set_up(self) -> bool:
        """Whether mail can be sent at all."""
        return self._server is not None and self._sender is not None

    def send(self, to: str, message: Message) -> Answer:
        """Send one message to one address; raises nothing."""
        if self._server is None or self._sender is None:
            return Answer(ok=False, said=NOT_SET_UP)
        return _within(
            self._seconds,
            _Delivery(self._server, self._certificates, self._seconds),
            to,
            self._mail(to, message),
        )

    def _mail(self, to: str, message: Message) -> EmailMessage:
        sender = str(self._sender)
        domain = sender.partition("@")[2]
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = (
            f"Qodex <{sender}>",
            to,
            f"[Qodex] {_one_line(message.title)}",
        )
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = f"<{message.message_id}@{domain}>"
        mail["References"] = f"<{_thread(message)}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["List-Unsubscribe"] = f"<{message.link.partition('?')[0].rpartition('/')[0]}/alerts>"
        facts = "".join(f"{name}: {value}\n" for name, value in message.facts)
        mail.set_content(
            f"{message.text}\n\n{facts}{facts and chr(10)}{message.link_title}: {message.link}\n"
        )
        return mail


class _Delivery:
    """One conversation with the mail server, which can be cut from outside."""

    def __init__(self, server: Secret, certificates: ssl.SSLContext, seconds: float) -> None:
        self._server, self._certificates, self._seconds = server, certificates, seconds
        self._connection: smtplib.SMTP | None = None

    def run(self, to: str, mail: EmailMessage) -> Answer:
        try:
            with self._connect() as connection:
                refused = connection.send_message(mail, to_addrs=[to])
            return Answer(ok=not refused, said="accepted by the mail server")
        except smtplib.SMTPRecipientsRefused as problem:
            code = next(iter(problem.recipients.values()))[0]
            return Answer(ok=False, said=f"{code}: the recipient was refused.", gone=code in _GONE)
        except smtplib.SMTPAuthenticationError as problem:
            return Answer(
                ok=False, said=f"{problem.smtp_code}: the mail server refused the name and password."
            )
        except smtplib.SMTPResponseException as problem:
            return Answer(ok=False, said=f"{problem.smtp_code}: the mail server refused the message.")
        except (smtplib.SMTPException, OSError, ValueError) as problem:
            return Answer(
                ok=False, said=f"No answer of the mail server that helps ({type(problem).__name__})."
            )

    def cut(self) -> None:
        """End it now."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # closing it would wake nobody who reads from it

    def _connect(self) -> smtplib.SMTP:
        parts = urlsplit(self._server.reveal())
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if parts.scheme == "smtps":
            self._connection = smtplib.SMTP_SSL(host, port, timeout=self._seconds, context=self._certificates)
        else:
            self._connection = smtplib.SMTP(host, port, timeout=self._seconds)
            # Only a server of this machine is spoken to in the clear.
            self._connection.ehlo()
            if host not in _LOCAL or self._connection.has_extn("starttls"):
                self._connection.starttls(context=self._certificates)
        if parts.username:
            self._connection.login(unquote(parts.username), unquote(parts.password or ""))
        return self._connection


def _within(seconds: float, delivery: _Delivery, to: str, mail: EmailMessage) -> Answer:
    """Give the conversation so long: a server that drips could go on for hours."""
    found: list[Answer] = []
    work: Callable[[], None] = lambda: found.append(delivery.run(to, mail))  # noqa: E731
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    delivery.cut()
    return Answer(ok=False, said=f"No answer of the mail server within {seconds:g} s.")


def _of_this_machine() -> ssl.SSLContext:
    # Not ssl.create_default_context: it writes session keys to where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _thread(message: Message) -> str:
    """The thread that mail programs show it in: one a project and window, else one a project and kind."""
    window = message.data.get("window") or message.kind
    return f"{message.project or 'platform'}.{window}".replace(" ", "-")

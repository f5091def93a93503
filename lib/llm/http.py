"""The way to the provider: transports that nothing but ``Settings`` can influence, and logs without keys.

Runs and key checks go through these same transports, so that a check validates what will run.
"""

from __future__ import annotations

import logging
import re
import ssl
import traceback
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

import httpx2

from lib.environment import certificates
from lib.llm.deadline import limit_streams
from lib.llm.pool_lock import make_interruptible
from lib.providers import known
from lib.secret import Secret, redact
from lib.settings import Settings

# A worker may have hundreds of calls in flight; idle connections are few and short-lived, because
# proxies drop them without saying so.
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=15)


def inner_transport(settings: Settings, base_url: str) -> httpx2.HTTPTransport:
    """Return the transport for synchronous calls to ``base_url``. It follows no redirects, retries nothing, reads no environment.

    Raises:
        SettingsError: the certificate authority that the settings name is not readable any more.
    """
    transport = httpx2.HTTPTransport(
        verify=_certificates(settings), trust_env=False, limits=_LIMITS, proxy=_proxy(settings, base_url)
    )
    make_interruptible(transport._pool)  # noqa: SLF001 - its lock has no other door
    limit_streams(transport)
    return transport


def async_inner_transport(settings: Settings, base_url: str) -> httpx2.AsyncHTTPTransport:
    """Return the transport for asynchronous calls to ``base_url``. It belongs to the event loop of its first request."""
    return httpx2.AsyncHTTPTransport(
        verify=_certificates(settings), trust_env=False, limits=_LIMITS, proxy=_proxy(settings, base_url)
    )


def _certificates(settings: Settings) -> ssl.SSLContext:
    if settings.ca_file is None:
        return _system_certificates()
    return certificates.read(settings.ca_file)


@cache
def _system_certificates() -> ssl.SSLContext:
    """Read once in a process: it takes longer than everything else in making a transport."""
    return httpx2.create_ssl_context(trust_env=False)


def _proxy(settings: Settings, base_url: str) -> httpx2.Proxy | None:
    # Plain http is for loopback only: through a proxy it would carry the key in the clear.
    if not settings.https_proxy or urlsplit(base_url).scheme != "https":
        return None
    return httpx2.Proxy(settings.https_proxy)


# --- logs -----------------------------------------------------------------------------------------

_WIRE_LOGGERS = ("httpx2", "httpcore2")  # and those of the providers' SDKs
# httpcore2 writes down all headers of an answer, its reason and what it could not read, and an upstream may repeat any
# piece of a key in them: of what was received the status stays, or the kind of the failure.
_RECEIVED = re.compile(
    r"(receive_response\w*\.(?:complete|failed) (?:return_value=\(b'HTTP/[\d.]+', \d+|exception=\w+)?).*",
    re.DOTALL,
)


def install_log_redaction(*secrets: Secret, everywhere: bool = False) -> None:
    """Take keys out of every log record of the HTTP stack, at any level. Calling it again is harmless.

    It works on records as they are made, because a filter of a logger does not see its children's
    records, and the SDK makes its loggers when it first needs them.

    Args:
        *secrets: keys that do not look like one (``sk-…`` is recognised by itself).
        everywhere: also for all other loggers of this process; for a server, not for a library.
    """
    current = logging.getLogRecordFactory()
    if not isinstance(current, _Redaction):
        current = _Redaction(current)
        logging.setLogRecordFactory(current)
    current.secrets += [secret for secret in secrets if secret not in current.secrets]
    current.everywhere = current.everywhere or everywhere


class _Redaction:
    """A log record factory that puts redacted records into the hands of every handler."""

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner
        self.secrets: list[Secret] = []
        self.everywhere = False

    def __call__(self, *args: object, **options: object) -> logging.LogRecord:
        record = self.inner(*args, **options)
        package = record.name.partition(".")[0]
        if self.everywhere or package in _WIRE_LOGGERS or package in known.packages:
            self._redact(record)
        return record

    def _redact(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - a record that cannot be formatted is for its handler to report
            return
        clean = _RECEIVED.sub(r"\1, …)", redact(said, *self.secrets))
        if clean != said:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1]:
            self._redact_traceback(record, record.exc_info[1])

    def _redact_traceback(self, record: logging.LogRecord, problem: BaseException) -> None:
        said = "".join(traceback.format_exception(problem)).rstrip()
        clean = redact(said, *self.secrets)
        if clean != said:
            record.exc_info, record.exc_text = None, clean

"""The signed links to exports: who asked, in which session and browser, for what, and for how long they hold.

A link gives no rights. It says what was asked for; whether its owner may have it is looked up at each use.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from lib.clock import HOUR, MINUTE, Micros, to_micros
from lib.errors import Forbidden
from lib.reports.models import UsageFilter
from lib.settings import Settings
from lib.usage.periods import day_of, zone_named

COOKIE = "qodex_browser"
"""Names this browser; scripts cannot read it, and a link works with it only."""

FOLDER = "/export"
HOLDS: Micros = 12 * HOUR
_SKEW: Micros = 2 * MINUTE
_BROWSER = re.compile(r"[A-Za-z0-9_-]{32}")
_LOCAL_SECRET = secrets.token_hex(32)  # in the local mode links end with the process

FILES: dict[str, str] = {"csv": "usage.csv", "daily-csv": "usage.daily.csv", "parquet": "usage.parquet"}
_ENDINGS = {"csv": "events.csv", "daily-csv": "days.csv", "parquet": "events.parquet"}


class LinkRefused(Forbidden):
    """The link does not lead to a file; ``owner`` is whom it was made for, where that is certain."""

    def __init__(self, why: str, owner: str = "unknown") -> None:
        super().__init__(f"{why} Open the Usage page again and use the link there.")
        self.owner = owner


@dataclass(frozen=True)
class Link:
    """What a link says: its owner by name, the sign-in it was made in (None in the local mode), and the export."""

    owner: str
    wanted: UsageFilter
    format: str
    session: str | None = None
    signed_in_at: Micros | None = None
    sample: bool = False
    """It is about the sample deployment."""
    labels: bool = False
    """With a column for each label of the projects."""


class Signer:
    """Makes and reads the tokens of links, with a key that is derived from the installation's cookie secret."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.cookie_secret.reveal() if settings.cookie_secret else _LOCAL_SECRET
        self._serializer = URLSafeTimedSerializer(
            secret,
            salt="qodex export link",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def address(self, link: Link, browser: str) -> str:
        """Where the file is, for that browser only: a path with a query."""
        return address_of(link, self.token(link, browser))

    def token(self, link: Link, browser: str) -> str:
        """What the address of the file ends with."""
        return str(self._serializer.dumps(asdict(link) | {"browser": _fingerprint(browser)}))

    def read(self, token: str, browser: str | None, format: str, now: Micros) -> Link:  # noqa: A002
        """The link that was signed.

        Raises:
            LinkRefused: not signed here, too old, or made for another browser or format.
        """
        if not _is_canonical(token):
            raise LinkRefused("This is no link of this server.")
        try:
            content, signed_at = self._serializer.loads(token, return_timestamp=True)
            found, bound, age = _link(content), str(content["browser"]), now - to_micros(signed_at)
        except (BadData, TypeError, KeyError, ValueError):
            raise LinkRefused("This is no link of this server.") from None
        # Several servers may share the secret, and their clocks may disagree a little.
        if not -_SKEW <= age <= HOLDS:
            raise LinkRefused(f"This link has expired: it holds {HOLDS // HOUR} hours.", found.owner)
        if not browser or not hmac.compare_digest(bound, _fingerprint(browser)):
            raise LinkRefused("This link belongs to another browser.", found.owner)
        if found.format != format:
            raise LinkRefused("This link is for another file.", found.owner)
        return found


def address_of(link: Link, token: str) -> str:
    """Where the file of a signed link is; with ``&meta=1`` behind it, its ``.meta.json``."""
    return f"{FOLDER}/{FILES[link.format]}?t={quote(token)}"


def new_browser() -> str:
    """A name for a browser that cannot be guessed."""
    return secrets.token_urlsafe(24)


def clean_browser(value: object) -> str | None:
    """The cookie's value, if it can be one of ours."""
    return value if isinstance(value, str) and _BROWSER.fullmatch(value) else None


def browser_of(cookies: str) -> str | None:
    """The name of the browser in a ``Cookie`` header."""
    pairs = (part.strip().partition("=") for part in cookies.split(";"))
    found = (clean_browser(value) for name, _, value in pairs if name == COOKIE)
    return next(filter(None, found), None)


def file_name(asked: UsageFilter, projects: int | str, format: str, *, sample: bool = False) -> str:  # noqa: A002
    """What the file holds, in plain ASCII: ``qodex-usage_checkout-api_2026-11-01_2026-11-30_UTC_events.csv``.

    Args:
        asked: the filter as it was asked for.
        projects: the one project's short name, or how many there are.
        format: ``csv``, ``daily-csv`` or ``parquet``.
        sample: it is the sample deployment's.
    """
    zone = zone_named(asked.zone)
    where = projects if isinstance(projects, str) else f"{projects if asked.projects else 'all'}-projects"
    since = day_of(asked.since, zone).isoformat() if asked.since is not None else "beginning"
    until = day_of(asked.until - 1, zone).isoformat() if asked.until is not None else "now"
    others = (
        asked.providers,
        asked.models,
        asked.kinds,
        asked.statuses,
        asked.labels,
        asked.users,
        asked.keys,
    )
    narrowed = [*asked.sources, *(["filtered"] if any(others) else [])]
    parts = [
        "qodex-sample-usage" if sample else "qodex-usage",
        where,
        *narrowed,
        since,
        until,
        asked.zone,
        _ENDINGS[format],
    ]
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part)[:80] for part in parts)


def _is_canonical(token: str) -> bool:
    """Whether there is no other way to write it: of base64's last character some bits mean nothing."""
    try:
        return all(
            base64_encode(base64_decode(part)).decode() == part for part in token.lstrip(".").split(".")
        )
    except BadData:
        return False


def _fingerprint(browser: str) -> str:
    return hashlib.sha256(browser.encode()).hexdigest()[:32]


def _link(content: Any) -> Link:
    fields: dict[str, Any] = {name: value for name, value in content.items() if name != "browser"}
    wanted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["wanted"].items()
    }
    return Link(**fields | {"wanted": UsageFilter(**wanted)})

"""Who is let in, and for how long: what an identity provider's token must say, and the sessions it begins.

A token is looked at anew for every rerun and route. The identity provider's word is good for ``exp`` only when
we see the token first; from then on the session lives in our table until it is too old or the person signs out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import record_rarely
from lib.access.roles import Actor, Origin
from lib.clock import HOUR, MINUTE, SECOND, Micros
from lib.db import Database
from lib.db.tables import sessions
from lib.emails import clean_email, fold
from lib.errors import BadInput, DatabaseConflict, SessionEnded, SignInRefused
from lib.settings import Settings

CLOCK_SKEW: Micros = 2 * MINUTE
"""How far the identity provider's clock may be ahead of ours."""

LONGEST_SESSION: Micros = 720 * HOUR
REFUSALS_PER_HOUR = 5
"""How many refused sign-ins of one person get a row in the audit log."""

_SIGNED_OUT = "You signed out. Sign in again to go on."
_UNIQUE = ("sid", "jti", "nonce")


@dataclass(frozen=True)
class Rules:
    """What this installation asks of a token.

    Args:
        issuer: the identity provider, as it names itself.
        client_id: whom a token must be made for.
        domains: e-mail domains that may sign in; none means any.
        hours: the longest session.
        trust_email: whether addresses are taken as verified where the token does not say.
    """

    issuer: str
    client_id: str
    domains: tuple[str, ...]
    hours: int
    trust_email: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The sign-in rules that the environment sets."""
        return cls(
            issuer=settings.oidc_issuer or "",
            client_id=settings.oidc_client_id or "",
            domains=tuple(settings.email_domains),
            hours=settings.session_hours,
            trust_email=settings.trust_email,
        )


@dataclass(frozen=True)
class Token:
    """The claims of an ID token that matter here. Its signature was checked by who read it."""

    id: str
    issuer: str
    audiences: tuple[str, ...]
    email: str
    verified: bool | None
    """None: the token does not say."""
    issued_at: Micros
    expires_at: Micros


def read_token(claims: Mapping[str, object]) -> Token:
    """Read the claims of an ID token. Raises SignInRefused where one that is needed is missing."""
    audience = claims.get("aud")
    told = claims.get("email_verified")
    return Token(
        id=_hash(claims),
        issuer=str(claims.get("iss") or ""),
        audiences=tuple(map(str, audience)) if isinstance(audience, list | tuple) else (str(audience),),
        email=_email(claims),
        verified=None if told is None else told is True,
        issued_at=_moment(claims, "iat"),
        expires_at=_moment(claims, "exp"),
    )


def _email(claims: Mapping[str, object]) -> str:
    email = str(claims.get("email") or "")
    if not email:
        raise SignInRefused("Your identity provider does not tell your e-mail address.")
    try:
        return clean_email(email)
    except BadInput:
        raise SignInRefused("Your e-mail address is not one that is taken here: plain ASCII only.") from None


def require_acceptable(token: Token, rules: Rules) -> None:
    """Raise SignInRefused unless the token comes from our provider, is for us, and names a person we let in."""
    if token.issuer.rstrip("/") != rules.issuer.rstrip("/") or rules.client_id not in token.audiences:
        raise SignInRefused("This sign-in was made for another application.")
    _require_verified(token, rules)
    _require_domain(token.email, rules)


def _require_verified(token: Token, rules: Rules) -> None:
    if token.verified is None and not rules.trust_email:
        raise SignInRefused(
            "Your identity provider does not say whether your e-mail address is verified. If it never does (Microsoft "
            "Entra ID), an operator can set QODEX_OIDC_TRUST_EMAIL=yes together with QODEX_EMAIL_DOMAINS."
        )
    if token.verified is False:
        raise SignInRefused("Your e-mail address is not verified by your identity provider.")


def _require_domain(email: str, rules: Rules) -> None:
    if rules.domains and email.rpartition("@")[2] not in rules.domains:
        raise SignInRefused("Your e-mail address is not of a domain that may sign in here.")


def require_fresh(token: Token, now: Micros) -> None:
    """At first sight: raise SignInRefused for a token that has expired, or that is not of this time."""
    if token.expires_at <= now or token.issued_at > now + CLOCK_SKEW:
        raise SignInRefused("This sign-in has expired, or the clocks disagree.")


def require_young(token: Token, rules: Rules, now: Micros) -> None:
    """Raise SessionEnded once the session is older than allowed."""
    _require_young(token.issued_at, rules, now)


def _require_young(issued_at: Micros, rules: Rules, now: Micros) -> None:
    if now - issued_at > rules.hours * HOUR:
        raise SessionEnded(f"Your session is over: it lasts {rules.hours} hours at most. Sign in again.")


class Sessions:
    """Begin, look at and end sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def admit(self, claims: Mapping[str, object], rules: Rules, origin: Origin = Origin.BROWSER) -> str:
        """The e-mail of the person with these claims, if they are to be let in now.

        Raises:
            SignInRefused: the token does not say what it must. The audit log has it, rate-limited.
            SessionEnded: too old, or signed out.
        """
        try:
            token = read_token(claims)
            require_acceptable(token, rules)
            with self._database.read() as connection:
                now = self._database.now(connection)
                seen = _find(connection, token.id)
            require_young(token, rules, now)
            if seen is None:
                require_fresh(token, now)
                seen = self._begin(token, origin)
        except SignInRefused as refusal:
            self._note(claims, origin, refusal)
            raise
        if seen.ended_at is not None:
            raise SessionEnded(_SIGNED_OUT)
        return token.email

    def require_open(
        self, session_id: str | None, email: str, issued_at: Micros | None, rules: Rules
    ) -> None:
        """For a signed link, which comes without its owner's token: whether the session it names goes on.

        Raises:
            SessionEnded: too old, signed out, or not known here.
            SignInRefused: the e-mail's domain may not sign in (any more).
        """
        _require_domain(email, rules)
        with self._database.read() as connection:
            now = self._database.now(connection)
            seen = _find(connection, session_id or "")
        if seen is None or issued_at is None:
            raise SessionEnded("There is no such session. Sign in again.")
        _require_young(issued_at, rules, now)
        if seen.ended_at is not None:
            raise SessionEnded(_SIGNED_OUT)

    def end(self, claims: Mapping[str, object], origin: Origin = Origin.BROWSER) -> None:
        """Sign out: a person with the same token is out from now on, in every tab."""
        token = read_token(claims)
        with self._database.write() as connection:
            now = self._database.now(connection)
            mine = (sessions.c.id == token.id) & sessions.c.ended_at.is_(None)
            if connection.execute(update(sessions).where(mine).values(ended_at=now)).rowcount:
                audit.record(connection, now, Actor(token.email, origin), Tag.SIGNED_OUT)

    def _begin(self, token: Token, origin: Origin) -> _Session:
        """Of two tabs that bring the same new token, one makes the row and the other finds it."""
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                connection.execute(delete(sessions).where(sessions.c.started_at < now - _KEPT))
                row = {"id": token.id, "email": token.email, "started_at": now}
                connection.execute(insert(sessions), row)
                audit.record(connection, now, Actor(token.email, origin), Tag.SIGNED_IN)
        except DatabaseConflict:
            with self._database.read() as connection:
                return _find(connection, token.id) or _Session(None)
        return _Session(None)

    def _note(self, claims: Mapping[str, object], origin: Origin, refusal: SignInRefused) -> None:
        name = fold(str(claims.get("email") or "unknown"))[:320]
        record_rarely(
            self._database,
            # A look-alike letter must not put another person's name beside the refusal.
            Actor(
                name.encode("ascii", "backslashreplace").decode() if name.isprintable() else "unknown", origin
            ),
            Tag.SIGN_IN_REFUSED,
            after={"reason": refusal.sentence},
            per_hour=REFUSALS_PER_HOUR,
        )


@dataclass(frozen=True)
class _Session:
    ended_at: Micros | None


_ONE = select(sessions.c.ended_at)
_KEPT = LONGEST_SESSION + HOUR


def _find(connection: Connection, session_id: str) -> _Session | None:
    row = connection.execute(_ONE.where(sessions.c.id == session_id)).first()
    return _Session(row.ended_at) if row else None


def _hash(claims: Mapping[str, object]) -> str:
    """One sign-in: the same for all tabs that share its cookie, another after the next sign-in."""
    named = [str(claims.get(name) or "") for name in ("iss", "sub", "iat", *_UNIQUE)]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _moment(claims: Mapping[str, object], name: str) -> Micros:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _FAR:
        raise SignInRefused("Your identity provider's answer does not say how long it holds.")
    return int(value * SECOND)


_FAR = 1e11

"""Authorises export links: only for the person, the browser and the session that a link was made for."""

from __future__ import annotations

from lib.access.denied_attempts import denials_logged
from lib.access.roles import Actor, Origin, local_administrator
from lib.access.sessions import Rules, Sessions
from lib.errors import SessionEnded, SignInRefused
from lib.platform import Platform
from lib.web.downloads.links import Link, LinkRefused, Signer

_TRIED = "export usage by a link"


def authorize(platform: Platform, token: str, browser: str | None, kind: str) -> tuple[Link, Actor]:
    """Check an export link and return it with its owner, who has the roles of this moment.

    Raises:
        LinkRefused: forged, expired, of another browser or file, or its session is over.
    """
    with platform.database.read() as connection:
        now = platform.database.now(connection)
    try:
        link = Signer(platform.settings).read(token, browser, kind, now)
    except LinkRefused as refusal:
        with denials_logged(platform.database, Actor(refusal.owner, Origin.ROUTE), _TRIED):
            raise
    return link, _owner(platform, link)


def _owner(platform: Platform, link: Link) -> Actor:
    settings = platform.settings
    if settings.oidc_issuer is None:
        return local_administrator(Origin.ROUTE, link.owner)
    with denials_logged(platform.database, Actor(link.owner, Origin.ROUTE), _TRIED):
        try:
            Sessions(platform.database).require_open(
                link.session, link.owner, link.signed_in_at, Rules.of(settings)
            )
        except (SessionEnded, SignInRefused) as ended:
            raise LinkRefused(f"This link's session is over: {ended.sentence}", link.owner) from ended
    return platform.members.actor(link.owner, Origin.ROUTE, settings.admins)

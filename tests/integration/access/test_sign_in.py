"""Whom an identity provider's word lets in, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Barrier, Thread
from typing import Any

import pytest

from lib.access.auditlog import AuditFilter, AuditLog
from lib.access.roles import Origin, local_administrator
from lib.access.sessions import CLOCK_SKEW, LONGEST_SESSION, REFUSALS_PER_HOUR, Rules, Sessions
from lib.clock import HOUR, MINUTE, SECOND, Micros
from lib.db import Database
from lib.errors import SessionEnded, SignInRefused

NOON = 1_770_000_000 * SECOND
RULES = Rules(issuer="https://login.example", client_id="qodex", domains=("example.com",), hours=12)
CLAIMS: dict[str, Any] = {
    "iss": "https://login.example",
    "aud": "qodex",
    "sub": "u-1",
    "nonce": "n-1",
    "email": "Ada@Example.com",
    "email_verified": True,
    "iat": NOON // SECOND,
    "exp": NOON // SECOND + 300,
}
ADMIN = local_administrator(Origin.BROWSER)


@dataclass
class Desk:
    """The sessions of one database, at a time that the test sets."""

    sessions: Sessions
    database: Database
    now: Micros = NOON

    def admit(self, rules: Rules = RULES, **claims: object) -> str:
        return self.sessions.admit(CLAIMS | claims, rules)

    def log(self, *actions: str) -> list[tuple[str, str, str | None]]:
        rows, _ = AuditLog(self.database).list(AuditFilter(actions=actions, limit=10_000), actor=ADMIN)
        return [(row.action, row.actor, row.after) for row in rows]


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    database = Database(database_url, clock=lambda: desk.now)
    desk = Desk(Sessions(database), database)
    yield desk
    database.close()


def test_a_good_token_names_a_person_in_small_letters_and_is_logged_once(desk: Desk):
    assert [desk.admit(), desk.admit()] == ["ada@example.com"] * 2
    assert desk.log() == [("signin:accepted", "ada@example.com", None)]


REFUSED: dict[str, dict[str, object]] = {
    "another provider": {"iss": "https://evil.example"},
    "a provider whose name begins like ours": {"iss": "https://login.example.evil.example"},
    "no provider": {"iss": None},
    "another application": {"aud": "wiki"},
    "other applications": {"aud": ["wiki", "qodex-staging"]},
    "no application": {"aud": None},
    "not verified": {"email_verified": False},
    "verified in words": {"email_verified": "true"},
    "verified by a number": {"email_verified": 1},
    "not said whether verified": {"email_verified": None},
    "no e-mail": {"email": None},
    "no real e-mail": {"email": "ada"},
    "a look-alike letter": {"email": "ada@example.com".replace("a", "\u0430", 1)},
    "the Kelvin sign for a k": {"email": "\u212aim@example.com"},
    "the Kelvin sign in the domain": {"email": "kim@example.com".replace("m", "\u212a")},
    "white space that is not ASCII": {"email": "ada@example.com\u00a0"},
    "two e-mails": {"email": "ada@example.com,root@example.com"},
    "e-mail with a line end": {"email": "ada@example.com\nroot@example.com"},
    "another domain": {"email": "ada@elsewhere.example"},
    "a subdomain": {"email": "ada@sub.example.com"},
    "a domain that ends like ours": {"email": "ada@notexample.com"},
    "our domain before the at": {"email": "example.com@elsewhere.example"},
    "expired": {"exp": NOON // SECOND},
    "no expiry": {"exp": None},
    "expiry in words": {"exp": "tomorrow"},
    "expiry without end": {"exp": float("inf")},
    "no number for an expiry": {"exp": float("nan")},
    "expiry true": {"exp": True},
    "no time of issue": {"iat": None},
    "issued in the future": {"iat": (NOON + CLOCK_SKEW) // SECOND + 1},
}


KELVIN = "\u212a"
ENTRA = Rules("https://login.example", "qodex", ("example.com", "kiosk.example"), 12, trust_email=True)


def test_a_letter_that_folds_to_another_makes_nobody_somebody_else(desk: Desk):
    rules = Rules("https://login.example", "qodex", ("kiosk.example",), 12)
    assert desk.admit(rules, email="Kim@KIOSK.example") == "kim@kiosk.example"
    for email in (f"{KELVIN}im@kiosk.example", f"kim@{KELVIN}iosk.example"):
        with pytest.raises(SignInRefused, match="plain ASCII only"):
            desk.admit(rules, email=email, nonce=email)
    refused = [actor for action, actor, _ in desk.log() if action == "signin:refused"]
    assert sorted(refused) == ["\\u212aim@kiosk.example", "kim@\\u212aiosk.example"]


def test_an_issuer_that_says_nothing_of_verification_is_trusted_where_the_operator_says_so(desk: Desk):
    with pytest.raises(SignInRefused, match="an operator can set QODEX_OIDC_TRUST_EMAIL=yes together with"):
        desk.admit(email_verified=None)
    assert desk.admit(ENTRA, email_verified=None) == "ada@example.com"


def test_what_a_trusted_issuer_does_say_is_heeded(desk: Desk):
    for told in (False, "true", "false", 1, 0, ""):
        with pytest.raises(SignInRefused, match="is not verified by your identity provider"):
            desk.admit(ENTRA, email_verified=told)


def test_a_trusted_issuer_speaks_for_the_named_domains_only(desk: Desk):
    with pytest.raises(SignInRefused, match="not of a domain"):
        desk.admit(ENTRA, email="ada@elsewhere.example", email_verified=None)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_does_not_say_what_it_must_is_refused_and_logged(desk: Desk, name: str):
    with pytest.raises(SignInRefused):
        desk.admit(**REFUSED[name])
    [(action, _, after)] = desk.log()
    assert action == "signin:refused"
    assert after


@pytest.mark.parametrize(
    "claims",
    [{"aud": ["wiki", "qodex"]}, {"iss": "https://login.example/"}, {"iat": (NOON + CLOCK_SKEW) // SECOND}],
    ids=["among others", "with a slash", "a clock that is ahead"],
)
def test_what_differs_in_form_only_is_accepted(desk: Desk, claims: dict[str, object]):
    assert desk.admit(**claims) == "ada@example.com"


def test_without_allowed_domains_any_verified_address_is_let_in(desk: Desk):
    assert desk.admit(replace(RULES, domains=()), email="eve@elsewhere.example") == "eve@elsewhere.example"


def test_the_tokens_expiry_counts_at_first_sight_only_and_then_the_sessions_age(desk: Desk):
    desk.admit()
    desk.now = NOON + 12 * HOUR
    assert desk.admit() == "ada@example.com"
    desk.now += 1
    with pytest.raises(SessionEnded, match="12 hours at most"):
        desk.admit()


def test_a_token_seen_first_after_its_expiry_begins_no_session(desk: Desk):
    desk.now = NOON + 301 * SECOND
    with pytest.raises(SignInRefused, match="expired"):
        desk.admit()
    assert [action for action, _, _ in desk.log()] == ["signin:refused"]


def test_a_shorter_session_counts_at_once(desk: Desk):
    desk.admit()
    desk.now = NOON + 2 * HOUR
    with pytest.raises(SessionEnded):
        desk.admit(replace(RULES, hours=1))


def test_a_domain_that_is_allowed_no_more_is_out_at_the_next_click(desk: Desk):
    desk.admit()
    with pytest.raises(SignInRefused):
        desk.admit(replace(RULES, domains=("example.org",)))


def test_signing_out_ends_the_session_for_everybody_who_brings_the_same_token(desk: Desk):
    desk.admit()
    desk.sessions.end(CLAIMS)
    for _ in range(2):
        with pytest.raises(SessionEnded, match="signed out"):
            desk.admit()
    desk.sessions.end(CLAIMS)
    assert desk.log() == [
        ("signin:ended", "ada@example.com", None),
        ("signin:accepted", "ada@example.com", None),
    ]


@pytest.mark.parametrize("other", [{"nonce": "n-2"}, {"sid": "s"}, {"jti": "j"}, {"iat": NOON // SECOND - 1}])
def test_the_next_sign_in_is_a_session_of_its_own(desk: Desk, other: dict[str, object]):
    desk.admit()
    desk.sessions.end(CLAIMS)
    assert desk.admit(**other) == "ada@example.com"


def test_two_people_never_share_a_session(desk: Desk):
    desk.admit()
    assert desk.admit(sub="u-2", email="bo@example.com") == "bo@example.com"
    desk.sessions.end(CLAIMS | {"sub": "u-2", "email": "bo@example.com"})
    assert desk.admit() == "ada@example.com"


def test_old_rows_go_and_still_nobody_comes_in_with_an_old_token(desk: Desk):
    forever = replace(RULES, hours=LONGEST_SESSION // HOUR)
    endless = {"exp": (NOON + 2 * LONGEST_SESSION) // SECOND}
    desk.admit(forever, **endless)
    desk.sessions.end(CLAIMS)
    desk.now = NOON + LONGEST_SESSION + HOUR + MINUTE
    desk.admit(sub="u-2", iat=desk.now // SECOND, exp=desk.now // SECOND + 300)
    with desk.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sessions").scalar() == 1
    with pytest.raises(SessionEnded):
        desk.admit(forever, **endless)


def test_nobody_fills_the_audit_log_with_refused_sign_ins(desk: Desk):
    def try_often() -> None:
        for _ in range(3 * REFUSALS_PER_HOUR):
            with pytest.raises(SignInRefused):
                desk.admit(email_verified=False)

    try_often()
    assert len(desk.log("signin:refused")) == REFUSALS_PER_HOUR
    with pytest.raises(SignInRefused):
        desk.admit(email="bo@example.com", email_verified=False)
    assert len(desk.log("signin:refused")) == REFUSALS_PER_HOUR + 1
    desk.now += HOUR + 1
    try_often()
    assert len(desk.log("signin:refused")) == 2 * REFUSALS_PER_HOUR + 1


def test_of_tabs_that_bring_a_new_token_at_once_all_are_let_in(desk: Desk):
    begin, admitted = Barrier(4), []

    def tab() -> None:
        begin.wait()
        admitted.append(desk.admit())

    _together(tab, 4)
    assert admitted == ["ada@example.com"] * 4
    assert len(desk.log("signin:accepted")) == 1


def _together(what: Callable[[], None], times: int) -> None:
    threads = [Thread(target=what) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

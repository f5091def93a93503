"""A planted key goes through everything, right and wrong; afterwards it is looked for everywhere (promise 3).

What is looked for is any eight characters of it in a row: in every table and file of the database, in the log
at DEBUG, in what was raised with all that hangs on it, in what was returned, and in an export.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import pickle
import re
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, inspect, text

from lib.access.roles import Actor, Origin, Role
from lib.alerts.alerts import Alerts
from lib.errors import KeyMalformed, KeyRejected, KeyUnchecked, QodexError
from lib.exchange.export import export_usage
from lib.reports.models import UsageFilter
from lib.secret import Secret
from lib.vault.rate_limit import PER_PERSON
from tests.calls import by_statements
from tests.receivers import receiving
from tests.upstream import CLAUDE_KEY, GEMINI_KEY, GOOD_KEY
from tests.upstream_behaviours import BEHAVIOURS

if TYPE_CHECKING:
    from lib.platform import Platform
    from tests.upstream import ScriptedUpstream

PLANTED = "sk-test-Zq7PlantedXw9Kd2-7777"
PIECES = re.compile("|".join(PLANTED[at : at + 8] for at in range(len("sk-test-") - 3, len(PLANTED) - 7)))

PLANTED_OF = {
    "openai": PLANTED,
    "anthropic": PLANTED.replace("sk-test-", "sk-ant-"),
    "google": PLANTED.replace("sk-test-", "AQ.Ab-test-"),
}
GOOD_OF = {"openai": GOOD_KEY, "anthropic": CLAUDE_KEY, "google": GEMINI_KEY}
of_each_provider = pytest.mark.parametrize("provider", PLANTED_OF)
PASTED = {
    "trailing space": f"{PLANTED} ",
    "line break": f"{PLANTED}\n",
    "Windows line break": f"\r\n{PLANTED}\r\n",
    "quotes": f'"{PLANTED}"',
    "Bearer": f"Bearer {PLANTED}",
    "a line of a shell script": f"export OPENAI_API_KEY='{PLANTED}'",
}
REFUSED = {
    "zero-width space": f"{PLANTED[:12]}\u200b{PLANTED[12:]}",
    "zero-width end": f"{PLANTED}\u2060",
    "byte order mark": f"\ufeff{PLANTED}",
    "look-alike letter": PLANTED.replace("a", "\u0430"),
    "space inside": f"{PLANTED[:12]} {PLANTED[12:]}",
    "line break inside": f"{PLANTED[:12]}\n{PLANTED[12:]}",
    "NUL": f"{PLANTED}\0",
    "two keys": f"{PLANTED}\n{PLANTED}",
    "Basic": f"Basic {PLANTED}",
    "ten megabytes": PLANTED * 350_000,
}


@pytest.fixture
def planted(
    platform: Platform, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> Iterator[Platform]:
    """A front door with a project, a provider that knows the planted key, and every logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    loud = [
        logging.getLogger(name)
        for name in (
            "openai",
            "anthropic",
            "google_genai",
            "httpx2",
            "httpcore2",
            "sqlalchemy.engine",
            "asyncio",
        )
    ]
    for logger in loud:
        logger.setLevel(logging.DEBUG)
    made = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)  # as in a process that has just started
    upstream.keys.update(dict.fromkeys(PLANTED_OF.values(), "good"))
    platform.projects.add("checkout", actor=platform.actor)
    yield platform
    logging.setLogRecordFactory(made)
    for logger in loud:
        logger.setLevel(logging.NOTSET)


def leaked(where: str) -> set[str]:
    return set(PIECES.findall(where))


def everywhere(platform: Platform) -> Iterator[tuple[str, str]]:
    """All that is stored, and all that a page or a script could be given."""
    with platform.database.read() as connection:
        for table in inspect(connection).get_table_names():
            for row in connection.execute(text(f'SELECT * FROM "{table}"')):
                yield table, repr(tuple(row))
    if platform.settings.is_sqlite:
        path = Path(platform.settings.database_url.removeprefix("sqlite:///"))
        for file in path.parent.glob(f"{path.name}*"):
            yield file.name, file.read_bytes().decode("latin-1")
    for state in platform.keys.describe_each("checkout"):
        yield "state", repr(state) + repr(platform.keys.describe_all(provider=state.provider))
        if state.version:
            yield "resolved", repr(platform.keys.resolve("checkout", provider=state.provider))
    yield "settings", repr(platform.settings) + repr(vars(platform))
    for name in ("csv", "daily-csv"):
        out = io.BytesIO()
        export_usage(platform.database, UsageFilter(), out, format=name, actor=platform.actor)
        yield name, out.getvalue().decode()


def raised(problem: BaseException) -> str:
    """Everything that an error reporter could make of it; frames of this file excepted, which hold the key."""
    told = [str(problem), repr(problem), repr(vars(problem))]
    trace = traceback.TracebackException.from_exception(problem, capture_locals=True)
    while trace is not None:
        told += [str(frame.locals) + str(frame.line) for frame in trace.stack if frame.filename != __file__]
        trace = trace.__cause__ or trace.__context__
    if isinstance(problem, QodexError):
        told.append(pickle.dumps(problem).decode("latin-1"))
    return "".join(told)


def nothing_leaked(platform: Platform, caplog: pytest.LogCaptureFixture, *problems: BaseException) -> None:
    assert [(name, leaked(content)) for name, content in everywhere(platform) if leaked(content)] == []
    assert leaked(caplog.text) == set()
    assert [leaked(str(vars(record))) for record in caplog.records if leaked(str(vars(record)))] == []
    assert [leaked(raised(problem)) for problem in problems if leaked(raised(problem))] == []


# --- pasted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("how", PASTED)
def test_a_key_that_was_pasted_with_dirt_around_it_is_saved_without(planted, upstream, caplog, how):
    assert planted.keys.save("checkout", PASTED[how]).last4 == "7777"
    assert planted.keys.resolve("checkout").secret.reveal() == PLANTED
    assert {seen.key for seen in upstream.requests} == {PLANTED}
    nothing_leaked(planted, caplog)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("how", REFUSED)
def test_a_key_with_dirt_inside_is_refused_before_anything_is_sent(planted, upstream, caplog, how):
    with pytest.raises(KeyMalformed) as refusal:
        planted.keys.save("checkout", REFUSED[how])
    assert upstream.requests == []
    assert leaked(raised(refusal.value)) == set()
    with pytest.raises(QodexError):
        planted.keys.resolve("checkout")  # no key was saved, and this platform has none
    assert leaked(caplog.text) == set()


# --- refused, or not answered ----------------------------------------------------------------------


@of_each_provider
@pytest.mark.parametrize(
    "told", ["revoked", "echo", "no_scopes", "server_error", "echo_500", "captive_portal", "drop", "redirect"]
)
def test_a_key_that_is_not_accepted_is_nowhere_and_the_old_one_serves_on(
    planted, upstream, caplog, told, provider
):
    planted.keys.save("checkout", GOOD_OF[provider], provider=provider)
    upstream.keys[PLANTED_OF[provider]] = told_by(provider, told)
    with pytest.raises((KeyRejected, KeyUnchecked)) as refusal:
        planted.keys.save("checkout", PLANTED_OF[provider], provider=provider)
    assert planted.keys.resolve("checkout", provider=provider).secret.reveal() == GOOD_OF[provider]
    nothing_leaked(planted, caplog, refusal.value)


def database_down(planted: Platform) -> None:
    """Every connection that is asked for from now on fails."""
    planted.database.close()

    @event.listens_for(planted.database.engine, "do_connect")
    def _refuse(*_: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")


def many_checks(planted: Platform) -> None:
    """The person has tried too many keys."""
    for _ in range(PER_PERSON):
        with pytest.raises(KeyRejected):
            planted.keys.save("checkout", "sk-test-unknown-key-0002")


NOT_SAVED: dict[str, tuple[dict[str, Any], Callable[[Platform], None] | None]] = {
    "an unknown project": ({"slug": "no-such-project"}, None),
    "an impossible project": ({"slug": "not a slug\0"}, None),
    "no role": ({"actor": Actor("eve@example.com", Origin.BROWSER)}, None),
    "no right": ({"actor": "analyst"}, None),
    "another provider": ({"provider": "anthropic"}, None),
    "no provider": ({"provider": "nobody"}, None),
    "another version": ({"expected_version": 7}, None),
    "too many checks": ({}, many_checks),
    "no database": ({}, database_down),
}


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("why", NOT_SAVED)
def test_whatever_keeps_a_key_from_being_saved_no_frame_shows_it(planted, caplog, why):
    """Error reporters tell the variables of each frame."""
    told, before = NOT_SAVED[why]
    asked: dict[str, Any] = {"slug": "checkout"} | told
    if asked.get("actor") == "analyst":
        project = planted.projects.get("checkout", actor=planted.actor)
        asked["actor"] = Actor("ana@example.com", Origin.BROWSER, projects={project.id: Role.ANALYST})
    if before:
        before(planted)
    with pytest.raises(QodexError) as refusal:
        planted.keys.save(asked.pop("slug"), PLANTED, **asked)
    assert leaked(raised(refusal.value)) == set()
    assert leaked(caplog.text) == set()


# --- in use ----------------------------------------------------------------------------------------

ANSWERS = [
    "good",
    "revoked",
    "echo",
    "forbidden",
    "rate_limited",
    "out_of_money",
    "server_error",
    "echo_500",
    "huge_html",
    "drop",
    "hang",
]


@of_each_provider
def test_calls_that_go_right_and_wrong_leave_no_more_than_the_last_four(planted, upstream, caplog, provider):
    planted.keys.save("checkout", PLANTED_OF[provider], provider=provider)
    problems = [_call(planted, upstream, told, provider) for told in ANSWERS]
    assert [
        type(problem).__name__ for problem in problems if problem is None or isinstance(problem, QodexError)
    ] == ["NoneType"]
    nothing_leaked(planted, caplog, *[problem for problem in problems if problem])
    with planted.database.read() as connection:
        calls = connection.execute(text("SELECT key_last4, source FROM usage_events")).all()
    assert set(calls) == {("7777", "byok")}
    assert len(calls) == len(ANSWERS)


# A connection in the middle of which it came is given up, and closed by the collector: here, and in no other test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_our_own_bug_in_the_middle_of_a_call_shows_nothing(planted, upstream, caplog, monkeypatch):
    planted.keys.save("checkout", PLANTED)

    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("our own bug")

    problems = []
    by_trip = ("lib.ledger.one_trip.OpenAttempt", "lib.ledger.one_trip.settled_event")
    for place in ("lib.ledger.ledger._open_row", "lib.ledger.ledger.write_event", *by_trip):
        with monkeypatch.context() as patch:
            patch.setattr(place, bug)
            if place not in by_trip:
                by_statements(patch)
            problems.append(_call(planted, upstream, "echo_good"))
    nothing_leaked(planted, caplog)
    assert [leaked(f"{problem!s}{problem!r}") for problem in problems] == [set()] * 4
    assert problems[0] is not None
    problems.clear()
    gc.collect()


def told_by(provider: str, how: str) -> str:
    """The name of a behaviour in the provider's own words, where it has some."""
    refusals = {"anthropic": "workspace_access", "google": "no_right_to_run"}
    named = refusals.get(provider, how) if how in {"no_scopes", "forbidden"} else how
    own = f"{provider}.{named}"
    return own if own in BEHAVIOURS else how


_ASKS: dict[str, Callable[[Any, float], Any]] = {
    "openai": lambda client, wait: client.with_options(max_retries=0, timeout=wait).responses.create(
        model="gpt-5", input="Hi"
    ),
    "anthropic": lambda client, wait: client.with_options(max_retries=0, timeout=wait).messages.create(
        model="claude-opus-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    ),
    "google": lambda client, wait: client.models.generate_content(
        model="gemini-3.5-flash", contents="Hi", config={"http_options": {"timeout": int(wait * 1000)}}
    ),
}


def _call(
    platform: Platform, upstream: ScriptedUpstream, told: str, provider: str = "openai"
) -> BaseException | None:
    upstream.keys[PLANTED_OF[provider]] = told_by(provider, told)
    with platform.run("checkout") as run:
        try:
            _ASKS[provider](run.client(provider), 0.5 if told == "hang" else 30)
        except Exception as problem:  # noqa: BLE001 - it is looked through
            return problem
    return None


@of_each_provider
def test_checking_replacing_and_removing_leave_no_more_than_the_last_four(
    planted, upstream, caplog, provider
):
    key = PLANTED_OF[provider]
    planted.keys.save("checkout", key, provider=provider)
    planted.keys.check("checkout", provider=provider)
    upstream.keys[key] = told_by(provider, "echo")
    assert planted.keys.check("checkout", provider=provider).status == "failing"
    nothing_leaked(planted, caplog)
    upstream.keys[key] = "good"
    planted.keys.save("checkout", key, provider=provider)
    planted.keys.remove("checkout", provider=provider)
    nothing_leaked(planted, caplog)


# --- alerts ----------------------------------------------------------------------------------------


@of_each_provider
def test_alerts_of_a_key_that_fails_say_no_more_than_the_last_four(planted, upstream, caplog, provider):
    planted.keys.save("checkout", PLANTED_OF[provider], provider=provider)
    named = planted.settings.model_copy(update={"notify_private_hosts": ["127.0.0.1"]})
    alerts = Alerts(planted.database, planted.keyring, named)
    with receiving() as receiver:
        alerts.channels.add("checkout", "webhook", Secret(receiver.url), actor=planted.actor)
        for told in ("echo", "good", "out_of_money"):
            _call(planted, upstream, told, provider)
        assert alerts.sender.once() == (3, 0)
    assert [json.loads(post.body)["type"] for post in receiver.posts] == [
        "key.failing",
        "key.recovered",
        "key.failing",
    ]
    assert [leaked(post.body + str(post.headers)) for post in receiver.posts] == [set()] * 3
    nothing_leaked(planted, caplog)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("kind", ["slack", "webhook", "chat"])
def test_an_address_that_is_a_secret_is_nowhere(planted, caplog, kind):
    scheme = "jsons" if kind == "chat" else "https"
    address = Secret(f"{scheme}://hooks.invalid/services/{PLANTED}")
    channel, _ = planted.alerts.channels.add("checkout", kind, address, actor=planted.actor)
    answer = planted.alerts.history.send_test("checkout", channel.id, actor=planted.actor)
    told = planted.alerts.history.recent("checkout", actor=planted.actor)
    assert not answer.ok
    assert leaked(repr(channel) + repr(answer) + repr(told)) == set()
    nothing_leaked(planted, caplog)

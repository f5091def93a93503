"""A link to an export gives its owner the whole file, in their browser, while they may; and nobody else anything."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import sqlite3
import string
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from pyarrow import parquet
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from lib.access.roles import Origin, local_administrator
from lib.access.sessions import Rules, Sessions, read_token
from lib.cli import cli
from lib.clock import HOUR, SECOND
from lib.db.tables import audit_log
from lib.errors import DatabaseUnavailable
from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.secret import Secret
from lib.web.downloads import export_files, export_slots, exports
from lib.web.downloads.exports import ExportService
from lib.web.downloads.links import COOKIE, Link, Signer, browser_of, file_name, new_browser
from lib.web.routes import middleware, routes
from tests.services import running_dashboard, wait_until

HERE = "http://localhost:8501"
ADMIN = local_administrator(Origin.BROWSER)
NOVEMBER = UsageFilter(since=1_793_491_200_000_000, until=1_796_083_200_000_000)  # of 2026, in UTC
SOON = 5  # a second, and some patience with a machine that runs other tests besides
ANN = "ann@example.com"
SIGN_IN: dict[str, Any] = {
    "oidc_issuer": "https://login.example",
    "oidc_client_id": "qodex",
    "oidc_client_secret": Secret("client-secret"),
    "cookie_secret": Secret("a-cookie-secret-of-enough-characters"),
    "public_url": "https://qodex.example",
}


def put(platform: Platform, *rows: str) -> None:
    """Usage of November: lines of ``project,model``, each of one dollar."""
    lines = ["occurred_at,project,source,model,input_tokens,output_tokens,cost_usd"]
    lines += [
        f"2026-11-{1 + number % 20:02}T10:00:{number // 20 % 60:02}Z,{row.split(',', 1)[0]},byok,"
        f"{row.split(',', 1)[1]},{number},1,1"
        for number, row in enumerate(rows)
    ]
    file = io.BytesIO("\n".join(lines).encode())
    import_usage(platform.database, platform.prices, file, name="test.csv", actor=ADMIN)


@pytest.fixture
def shop(platform: Platform) -> Platform:
    """Two projects with usage."""
    for slug in ("checkout-api", "search"):
        platform.projects.add(slug, actor=ADMIN)
    put(platform, *["checkout-api,gpt-5"] * 30, *["search,gpt-5-mini"] * 10)
    return platform


def application(front_door: Callable[[], Platform]) -> Starlette:
    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("a page")

    inside = middleware(["localhost"], pages=["/usage"])
    return Starlette(
        routes=[*routes(lambda: None, ExportService(front_door)), Route("/usage", page)], middleware=inside
    )


@dataclass
class Browser:
    """One person's browser at the dashboard."""

    platform: Platform

    def __post_init__(self) -> None:
        self.client = TestClient(application(lambda: self.platform), base_url=HERE)
        self.client.get("/usage")

    @property
    def name(self) -> str:
        return str(self.client.cookies[COOKIE])

    def link(
        self, wanted: UsageFilter = NOVEMBER, kind: str = "csv", owner: str = "local", **more: Any
    ) -> str:
        return Signer(self.platform.settings).address(Link(owner, wanted, kind, **more), self.name)

    def get(self, address: str) -> Any:
        return self.client.get(address)


@pytest.fixture
def browser(shop: Platform) -> Iterator[Browser]:
    browser = Browser(shop)
    yield browser
    browser.client.close()


def logged(platform: Platform, action: str) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    with platform.database.read() as connection:
        rows = connection.execute(
            select(audit_log).where(audit_log.c.action == action).order_by(audit_log.c.id)
        ).all()
    return [(row.actor, row.origin, row.project, json.loads(row.after)) for row in rows]


# --- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("kind", ["csv", "daily-csv", "parquet"])
def test_the_file_has_the_bytes_of_the_command_line_and_says_how_many_and_which(
    browser: Browser, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, labels: bool
):
    changes = browser.platform.project_changes
    changes.describe("search", labels={"owner": "Ada"}, actor=ADMIN)
    answer = browser.get(browser.link(kind=kind, labels=labels))
    assert answer.status_code == 200
    assert (b"label:owner" in answer.content) is labels
    monkeypatch.setenv("DATABASE_URL", browser.platform.settings.database_url)
    monkeypatch.setenv("QODEX_MASTER_KEYS", browser.platform.settings.master_keys.reveal())
    file = tmp_path / "out"
    period = ["--from", "2026-11-01", "--to", "2026-12-01"]
    options = ["usage", "export", *period, "--format", kind, "-o", str(file), *["--labels"] * labels]
    done = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert done.exit_code == 0
    assert answer.content == file.read_bytes()
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["x-qodex-sha256"] == hashlib.sha256(answer.content).hexdigest()
    sums = [answer.headers[f"x-qodex-{name}"] for name in ("platform-usd", "byok-usd", "unpriced-calls")]
    assert sums == ["0", "40", "0"]
    if kind != "parquet":
        assert answer.headers["x-qodex-rows"] == str(answer.content.count(b"\r\n") - 1)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_sums_in_headers_are_plain_decimals_of_each_ledger_and_unknown_is_counted(browser: Browser):
    lines = "occurred_at,project,source,status,model,input_tokens,output_tokens,cost_usd\n" + "\n".join(
        f"2026-11-01T10:00:00Z,search,{rest}"
        for rest in ("platform,ok,m,1,1,0.000000001", "platform,ok,m,2,1,1000000", "byok,ok,no-price,1,1,")
    )
    file = io.BytesIO(lines.encode())
    database = browser.platform.database
    import_usage(database, browser.platform.prices, file, name="more.csv", actor=ADMIN)
    headers = browser.get(browser.link()).headers
    assert headers["x-qodex-platform-usd"] == "1000000.000000001"
    assert headers["x-qodex-byok-usd"] == "40"
    assert headers["x-qodex-unpriced-calls"] == "1"


def test_only_meta_1_asks_for_the_meta_file(browser: Browser):
    link = browser.link()
    assert browser.get(f"{link}&meta=1").headers["content-type"] == "application/json"
    for query in ("", "&meta=0", "&meta="):
        assert browser.get(f"{link}{query}").headers["content-type"] == "text/csv; charset=utf-8"


def test_a_filter_holds_and_the_audit_log_has_it_with_its_rows(browser: Browser):
    answer = browser.get(browser.link(replace(NOVEMBER, projects=("search",), models=("gpt-5-mini",))))
    assert answer.headers["x-qodex-rows"] == "10"
    [(actor, origin, project, after)] = logged(browser.platform, "usage:exported")
    assert (actor, origin, project, after["rows"]) == ("local", "route", "search", 10)
    assert after["filter"]["models"] == ["gpt-5-mini"]
    assert after["sha256"] == answer.headers["x-qodex-sha256"]


def test_a_link_can_be_used_again_and_tells_the_newest(browser: Browser):
    link = browser.link()
    assert browser.get(link).headers["x-qodex-rows"] == "40"
    put(browser.platform, "search,later")
    assert browser.get(link).headers["x-qodex-rows"] == "41"


def test_parquet_is_read_by_others(browser: Browser):
    table = parquet.read_table(io.BytesIO(browser.get(browser.link(kind="parquet")).content))
    assert table.num_rows == 40


@pytest.mark.parametrize(
    ("wanted", "projects", "kind", "name"),
    [
        (NOVEMBER, "checkout-api", "csv", "qodex-usage_checkout-api_2026-11-01_2026-11-30_UTC_events.csv"),
        (NOVEMBER, 7, "daily-csv", "qodex-usage_all-projects_2026-11-01_2026-11-30_UTC_days.csv"),
        (
            replace(NOVEMBER, projects=("a", "b"), sources=("byok",), models=("x",), zone="Asia/Tokyo"),
            2,
            "parquet",
            "qodex-usage_2-projects_byok_filtered_2026-11-01_2026-12-01_Asia-Tokyo_events.parquet",
        ),
        (UsageFilter(), 1, "csv", "qodex-usage_all-projects_beginning_now_UTC_events.csv"),
        (
            UsageFilter(),
            'é"; filename=evil\r\nX-Evil: 1/../x' + "n" * 300,
            "csv",
            f"qodex-usage_-filename-evil-X-Evil-1-..-x{'n' * 52}_beginning_now_UTC_events.csv",
        ),
    ],
)
def test_the_file_name_says_what_is_inside_in_harmless_characters(
    wanted: UsageFilter, projects: int | str, kind: str, name: str
):
    assert file_name(wanted, projects, kind) == name


def test_the_name_comes_with_the_file(browser: Browser):
    disposition = browser.get(browser.link(replace(NOVEMBER, projects=("search",)))).headers[
        "content-disposition"
    ]
    assert disposition == 'attachment; filename="qodex-usage_search_2026-11-01_2026-11-30_UTC_events.csv"'


@pytest.mark.parametrize(
    "hostile", ["=cmd|' /C calc'!A0", "é\r\nX-Evil: 1", '"; filename="evil', "../../etc", "🧪"]
)
def test_a_hostile_name_in_a_link_names_no_project_and_writes_no_header(browser: Browser, hostile: str):
    answer = browser.get(browser.link(replace(NOVEMBER, projects=(hostile,))))
    assert answer.status_code == 403
    assert answer.text.startswith("There is no project of that name that you can see.")
    assert "x-evil" not in answer.headers


def test_hostile_models_are_as_inert_as_in_any_export(browser: Browser):
    put(browser.platform, "search,=1+1", "search,+evil")
    text = browser.get(browser.link()).text
    assert ",'=1+1," in text
    assert ",'+evil," in text


# --- who may ---------------------------------------------------------------------------------------


def refused(browser: Browser, address: str, sentence: str) -> None:
    answer = browser.get(address)
    assert (answer.status_code, answer.headers["cache-control"]) == (403, "no-store")
    assert sentence in answer.text
    assert answer.text.count("\n") == 0


@pytest.mark.parametrize("query", ["", "?t=", "?t=abc", "?t=e30.aaaa.bbbb", "?t=%00%FF", "?t=" + "x" * 5_000])
def test_a_forged_link_is_refused_and_logged(browser: Browser, query: str):
    refused(browser, f"/export/usage.csv{query}", "no link of this server")
    [(actor, origin, _, after)] = logged(browser.platform, "access:refused")
    assert (actor, origin, after) == ("unknown", "route", {"tried": "export usage by a link"})


def test_each_character_of_a_link_counts(browser: Browser):
    address, token = browser.link().split("?t=")
    # Of the six bits of the last one base64 needs only some: each way to write the same bytes is tried.
    alphabet = string.ascii_letters + string.digits + "-_"
    tries = [(place, "A" if token[place] != "A" else "B") for place in range(0, len(token), 7)]
    tries += [(len(token) - 1, letter) for letter in alphabet if letter != token[-1]]
    for place, other in tries:
        forged = f"{address}?t={token[:place]}{other}{token[place + 1 :]}"
        assert browser.get(forged).status_code == 403, place


def test_a_link_of_another_secret_is_forged(browser: Browser):
    others = browser.platform.settings.model_copy(update=SIGN_IN)
    address = Signer(others).address(Link("local", NOVEMBER, "csv"), browser.name)
    refused(browser, address, "no link of this server")


def test_forged_links_cannot_fill_the_audit_log(browser: Browser):
    for _ in range(25):
        browser.get("/export/usage.csv?t=forged")
    assert len(logged(browser.platform, "access:refused")) == 20


@pytest.mark.parametrize(("hours", "status"), [(11.9, 200), (12.1, 403), (-1, 403)])
def test_a_link_holds_for_twelve_hours(
    browser: Browser, hours: float, status: int, monkeypatch: pytest.MonkeyPatch
):
    signed_at = time.time() - hours * 3600
    with monkeypatch.context() as then:
        then.setattr("itsdangerous.timed.time", SimpleNamespace(time=lambda: signed_at))
        link = browser.link()
    answer = browser.get(link)
    assert answer.status_code == status
    if status != 200:
        assert "12 hours" in answer.text
        assert [row[0] for row in logged(browser.platform, "access:refused")] == ["local"]


@pytest.mark.parametrize("cookie", [None, "", "short", "another-browser-of-32-characters"])
def test_a_link_works_in_the_browser_it_was_made_for_only(browser: Browser, cookie: str | None):
    link = browser.link()
    browser.client.cookies.clear()
    if cookie is not None:
        browser.client.cookies.set(COOKIE, cookie)
    refused(browser, link, "another browser")
    assert len(logged(browser.platform, "access:refused")) == 1


def test_a_link_is_for_one_file(browser: Browser):
    refused(browser, browser.link().replace("usage.csv", "usage.parquet"), "another file")


def test_nothing_but_asking_is_possible(browser: Browser):
    link = browser.link()
    for method in ("POST", "HEAD", "PUT", "DELETE"):
        assert browser.client.request(method, link).status_code == 405
    assert logged(browser.platform, "usage:exported") == []


def test_a_browser_gets_its_name_once_from_a_page_and_scripts_cannot_read_it(browser: Browser):
    browser.client.cookies.clear()
    assert "set-cookie" not in browser.get("/healthz").headers
    cookie = browser.get("/usage").headers["set-cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert "set-cookie" not in browser.get("/usage").headers
    browser.client.cookies.clear()
    browser.client.cookies.set(COOKIE, "forged")
    assert "set-cookie" in browser.get("/usage").headers


def test_other_cookies_do_not_hide_the_browsers_name():
    name = new_browser()
    for others in ("a=b", 'a={"b": "c"}', "=", "é=;", f"x{COOKIE}=1", f"{COOKIE}=forged"):
        assert browser_of(f"{others}; {COOKIE}={name}") == name
    assert browser_of("") is None


# --- with sign-in ----------------------------------------------------------------------------------


@dataclass
class SignedIn(Browser):
    """Ann's browser, after she signed in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        database = self.platform.database
        self.sessions, self.rules = Sessions(database), Rules.of(self.platform.settings)
        with database.read() as connection:
            now = database.now(connection) // SECOND
        self.claims = {
            "iss": "https://login.example",
            "aud": "qodex",
            "sub": "ann",
            "email": ANN,
            "email_verified": True,
            "iat": now,
            "exp": now + 300,
        }
        self.sessions.admit(self.claims, self.rules)

    def own_link(self, wanted: UsageFilter = NOVEMBER) -> str:
        token = read_token(self.claims)
        return self.link(wanted, owner=ANN, session=token.id, signed_in_at=token.issued_at)


@pytest.fixture
def ann(shop: Platform) -> Iterator[SignedIn]:
    """An analyst of checkout-api."""
    shop.settings = shop.settings.model_copy(update=SIGN_IN)
    shop.members.put("boss@example.com", "lead", slug="checkout-api", actor=ADMIN)
    shop.members.put(ANN, "analyst", slug="checkout-api", actor=ADMIN)
    ann = SignedIn(shop)
    yield ann
    ann.client.close()


def test_an_analyst_gets_the_projects_they_may_see_whatever_the_link_says(ann: SignedIn):
    answer = ann.get(ann.own_link())
    assert answer.headers["x-qodex-rows"] == "30"
    assert "qodex-usage_checkout-api_" in answer.headers["content-disposition"]
    refused(ann, ann.own_link(replace(NOVEMBER, projects=("search",))), "no project of that name")
    assert [row[:3] for row in logged(ann.platform, "access:refused")] == [(ANN, "route", "search")]


@pytest.mark.parametrize("projects", [(), ("checkout-api",)])
def test_a_link_ends_with_the_right_it_was_made_under(ann: SignedIn, projects: tuple[str, ...]):
    link = ann.own_link(replace(NOVEMBER, projects=projects))
    assert ann.get(link).status_code == 200
    ann.platform.members.remove(ANN, slug="checkout-api", actor=ADMIN)
    answer = ann.get(link)
    assert answer.status_code == 403
    assert [row[0] for row in logged(ann.platform, "access:refused")] == [ANN]
    ann.platform.members.put(ANN, "manager", slug="checkout-api", actor=ADMIN)
    assert ann.get(link).status_code == 200


def test_a_link_ends_with_its_session(ann: SignedIn):
    link = ann.own_link()
    ann.sessions.end(ann.claims)
    refused(ann, link, "You signed out.")
    assert [row[0] for row in logged(ann.platform, "access:refused")] == [ANN]


def test_a_link_ends_when_its_session_is_too_old(ann: SignedIn):
    token = read_token(ann.claims)
    old = ann.link(owner=ANN, session=token.id, signed_in_at=token.issued_at - 13 * HOUR)
    refused(ann, old, "it lasts 12 hours at most")


def test_with_sign_in_a_link_names_a_session_that_is_known_here(ann: SignedIn):
    refused(ann, ann.link(owner=ANN), "There is no such session.")
    refused(ann, ann.link(owner=ANN, session="another", signed_in_at=1), "There is no such session.")


def test_a_domain_that_may_not_sign_in_any_more_takes_its_links_along(ann: SignedIn):
    link = ann.own_link()
    ann.platform.settings = ann.platform.settings.model_copy(update={"email_domains": ["other.example"]})
    refused(ann, link, "not of a domain that may sign in here")


# --- limits and failures ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_would_be_too_large_is_not_begun(
    browser: Browser, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export_files, "MOST_BYTES", 2_000)
    before = open_files()
    answer = browser.get(browser.link(kind=kind))
    assert answer.status_code == 413
    assert "bin/qodex usage export" in answer.text
    assert open_files() == before
    assert logged(browser.platform, "usage:exported") == []


def test_a_full_disk_is_a_sentence_and_its_cause_stands_in_the_log_only(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class FullDisk(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FullDisk())
    answer = browser.get(browser.link())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "space" not in answer.text
    assert "No space left" in caplog.text


def test_without_a_database_there_is_a_sentence(browser: Browser):
    def down() -> Platform:
        raise DatabaseUnavailable("The database did not answer.")

    with TestClient(application(down), base_url=HERE) as asked:
        answer = asked.get(browser.link())
    assert (answer.status_code, answer.text) == (503, "The database did not answer.")


def open_files() -> list[str]:
    """The open files of this process that have no name; not those that only wait for the collector."""
    gc.collect()
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.endswith("(deleted)") and ".db" not in Path(target).name:  # databases of other tests
            found.append(target)
    return sorted(found)


@dataclass
class Exchange:
    """One request to the application as a server makes it; ``leaves`` is when its client goes away."""

    app: Starlette
    address: str
    browser: str
    sent: list[Message] = field(default_factory=list)
    takes_body: bool = True

    def __post_init__(self) -> None:
        self.leaves, self.stuck, self.asked = asyncio.Event(), asyncio.Event(), False

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    async def run(self) -> None:
        path, _, query = self.address.partition("?")
        headers = [(b"host", b"localhost"), (b"cookie", f"{COOKIE}={self.browser}".encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "server": ("localhost", 8501),
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not self.takes_body:
            self.stuck.set()
            await asyncio.Event().wait()


class Gate:
    """A front door that lets requests in, and holds those that begin to write until it is opened."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.opened, self.held = platform, threading.Event(), threading.Semaphore(0)

    def __call__(self) -> Platform:
        if threading.current_thread().name.startswith("export"):
            self.held.release()
            assert self.opened.wait(600)
        return self.platform

    @asynccontextmanager
    async def holding(self, *exchanges: Exchange) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Begin these requests and wait until each is about to write."""
        tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
        for _ in tasks:
            await asyncio.to_thread(self.held.acquire)
        yield tasks
        await asyncio.gather(*tasks)


def test_a_client_that_goes_away_while_it_is_sent_frees_the_file(browser: Browser):
    app, before = application(lambda: browser.platform), open_files()

    async def scene() -> None:
        for _ in range(export_slots.MOST_SLOTS + 1):
            left = Exchange(app, browser.link(), browser.name, takes_body=False)
            going = asyncio.create_task(left.run())
            await left.stuck.wait()
            assert len(open_files()) == len(before) + 1
            left.leaves.set()
            await going
            assert open_files() == before

    asyncio.run(scene())


def test_a_client_that_goes_away_while_it_is_written_ends_the_writing(browser: Browser):
    gate, before = Gate(browser.platform), open_files()
    app = application(gate)

    async def scene() -> None:
        left = Exchange(app, browser.link(), browser.name)
        async with gate.holding(left):
            left.leaves.set()
            for _ in range(3):
                await asyncio.sleep(0)  # the server hears of it
            gate.opened.set()
        assert left.sent == []

    asyncio.run(scene())
    assert open_files() == before
    assert logged(browser.platform, "usage:exported") == []


def test_a_server_that_stops_leaves_no_file_behind(browser: Browser):
    gate, before = Gate(browser.platform), open_files()
    app = application(gate)

    async def scene() -> None:
        cut = Exchange(app, browser.link(), browser.name)
        task = asyncio.create_task(cut.run())
        await asyncio.to_thread(gate.held.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.opened.set()

    asyncio.run(scene())
    assert wait_until(lambda: open_files() == before, 600), "The thread that was writing is left to its end."
    after = Exchange(app, browser.link(), browser.name)
    for _ in range(export_slots.MOST_SLOTS):  # each thread is free again
        asyncio.run(replace(after, sent=[]).run())
    assert open_files() == before


def test_who_takes_nothing_is_cut_off_and_frees_the_file(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exports, "STALLED_SECONDS", 0.01)
    before = open_files()
    stalled = Exchange(application(lambda: browser.platform), browser.link(), browser.name, takes_body=False)
    asyncio.run(stalled.run())
    assert not any(message.get("more_body") is False for message in stalled.sent[2:])
    assert open_files() == before


def test_of_too_many_at_once_the_last_are_told_to_wait(browser: Browser):
    gate = Gate(browser.platform)
    app = application(gate)

    async def scene() -> None:
        owners = [f"person-{number % 2}" for number in range(export_slots.MOST_SLOTS)]
        some = [Exchange(app, browser.link(owner=owner), browser.name) for owner in owners]
        async with gate.holding(*some):
            last = Exchange(app, browser.link(owner="another"), browser.name)
            await last.run()
            assert last.status == 503
            assert (b"retry-after", b"30") in last.sent[0]["headers"]
            assert last.sent[1]["body"] == b"3 exports are running already. Try again in a moment."
            gate.opened.set()
        assert [exchange.status for exchange in some] == [200] * export_slots.MOST_SLOTS
        again = Exchange(app, browser.link(), browser.name)
        await again.run()
        assert again.status == 200

    asyncio.run(scene())


def test_one_person_leaves_room_for_others(browser: Browser):
    gate = Gate(browser.platform)
    app = application(gate)

    async def scene() -> None:
        mine = [Exchange(app, browser.link(), browser.name) for _ in range(export_slots.MOST_SLOTS_EACH)]
        theirs = Exchange(app, browser.link(owner="another"), browser.name)
        async with gate.holding(*mine):
            third = Exchange(app, browser.link(), browser.name)
            await third.run()
            assert third.status == 503
            assert b"2 of your exports are running already" in third.sent[1]["body"]
            async with gate.holding(theirs):
                gate.opened.set()
        assert [exchange.status for exchange in (*mine, theirs)] == [200] * (export_slots.MOST_SLOTS_EACH + 1)

    asyncio.run(scene())


# --- the real server -------------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_real_server_sends_it_with_its_length_and_uncompressed(ann: SignedIn, tmp_path: Path):
    settings, environment = ann.platform.settings, environment_of(ann)
    with running_dashboard(environment, tmp_path / "log") as address:
        named = ask(address, "/usage", {})
        cookie = next(value for value in named.headers.get_all("set-cookie", []) if COOKIE in value)
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Secure"))
        token, name = read_token(ann.claims), browser_of(cookie)
        assert name
        link = Link(ANN, NOVEMBER, "csv", token.id, token.issued_at)
        answer = ask(address, Signer(settings).address(link, name), {"Cookie": f"{COOKIE}={name}"})
        assert answer.status == 200
        out = io.BytesIO()
        export_usage(ann.platform.database, NOVEMBER, out, actor=_actor(ann))
        assert answer.body == out.getvalue()
        assert answer.headers["content-length"] == str(len(answer.body))
        assert ask(address, "/export/usage.csv?t=forged", {}).status == 403
    assert b"usage.csv?t=" not in (tmp_path / "log").read_bytes()


def environment_of(ann: SignedIn) -> dict[str, str]:
    """What a server of the same installation is started with."""
    settings = ann.platform.settings
    return {
        "DATABASE_URL": settings.database_url,
        "QODEX_MASTER_KEYS": settings.master_keys.reveal() if settings.master_keys else "",
        "QODEX_OIDC_ISSUER": SIGN_IN["oidc_issuer"],
        "QODEX_OIDC_CLIENT_ID": SIGN_IN["oidc_client_id"],
        "QODEX_OIDC_CLIENT_SECRET": "client-secret",
        "QODEX_COOKIE_SECRET": SIGN_IN["cookie_secret"].reveal(),
        "QODEX_PUBLIC_URL": SIGN_IN["public_url"],
    }


def _actor(ann: SignedIn) -> Any:
    return ann.platform.members.actor(ANN, Origin.ROUTE)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(address: str, path: str, headers: dict[str, str]) -> Answer:
    """A request as a browser makes it that takes compressed answers."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)) as connection:
        given = {"Host": "qodex.example", "Accept-Encoding": "gzip, deflate, br"} | headers
        connection.request("GET", path, headers=given)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())


@pytest.mark.parametrize("kind", ["csv", "daily-csv", "parquet"])
def test_a_database_that_fails_in_the_middle_is_a_sentence_and_never_a_short_file(
    browser: Browser, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """On PostgreSQL the server ends the very connection that reads; SQLite is made to fail where it reads."""
    where = (
        "lib.exchange.daily_summary.aggregate_segment"
        if kind == "daily-csv"
        else "lib.exchange.event_slices.TimeSlice.lines"
    )

    def fails(*given: Any, **_: object) -> Any:
        if browser.platform.database.is_sqlite or kind == "daily-csv":
            raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))
        given[0]._connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(where, fails)
    before = open_files()
    answer = browser.get(browser.link(kind=kind))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.text.startswith(("The database did not answer.", "The disk of the database failed."))
    assert "content-disposition" not in answer.headers
    assert open_files() == before
    assert logged(browser.platform, "usage:exported") == []
    monkeypatch.undo()
    assert browser.get(browser.link(kind=kind)).status_code == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_client_that_goes_away_in_the_middle_frees_the_servers_file_and_connection(
    ann: SignedIn, tmp_path: Path
):
    put(ann.platform, *["checkout-api,m" + "x" * 150] * 40_000)
    name, token = new_browser(), read_token(ann.claims)
    link = Signer(ann.platform.settings).address(Link(ANN, NOVEMBER, "csv", token.id, token.issued_at), name)
    with running_dashboard(environment_of(ann), tmp_path / "log") as address:
        place = urlsplit(address)
        [server] = servers(place.port)
        assert ask(address, link, {"Cookie": f"{COOKIE}={name}"}).status == 200
        assert wait_until(lambda: not files_of(held(server)), SOON)
        before = held(server)
        with closing(slow_download(place.port, link, name)) as slow:
            assert slow.recv(1000).startswith(b"HTTP/1.1 200")
            taken = held(server) - before
            assert (len(files_of(taken)), len(taken)) == (1, 2), "a file and a connection"
        assert wait_until(lambda: not taken & held(server), SOON)
        assert ask(address, link, {"Cookie": f"{COOKIE}={name}"}).status == 200


def held(server: int) -> set[str]:
    """What a process has open of what a download takes: files without a name, and sockets."""
    found = set()
    for descriptor in Path(f"/proc/{server}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:") or target.endswith("(deleted)"):
            found.add(target)
    return found


def files_of(targets: set[str]) -> set[str]:
    return {target for target in targets if target.endswith("(deleted)")}


def slow_download(port: int | None, link: str, browser: str) -> socket.socket:
    """A client that asked for a file, with little room to take it."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(30)
    slow.connect(("127.0.0.1", port))
    slow.sendall(f"GET {link} HTTP/1.1\r\nHost: qodex.example\r\nCookie: {COOKIE}={browser}\r\n\r\n".encode())
    return slow


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_server_that_is_killed_while_it_sends_ends_the_download_as_an_error(ann: SignedIn, tmp_path: Path):
    """And leaves no file behind: it never had a name."""
    put(ann.platform, *["checkout-api,m" + "x" * 150] * 40_000)
    environment = environment_of(ann)
    name, token = new_browser(), read_token(ann.claims)
    link = Link(ANN, NOVEMBER, "csv", token.id, token.issued_at)
    with running_dashboard(environment, tmp_path / "log") as address:
        place = urlsplit(address)
        address_of_file = Signer(ann.platform.settings).address(link, name)
        with closing(slow_download(place.port, address_of_file, name)) as slow:
            answer = http.client.HTTPResponse(slow)
            answer.begin()
            assert answer.status == 200
            promised = int(answer.headers["content-length"])
            begun = answer.read(1000)
            kill_server(place.port)
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as cut:
                answer.read()
    assert len(begun) + len(getattr(cut.value, "partial", b"")) < promised
    assert list(Path(tempfile.gettempdir()).glob("qodex-export-*")) == []


def kill_server(port: int | None) -> None:
    """Kill the dashboard that listens there, as nothing can be caught."""
    for server in servers(port):
        os.kill(server, signal.SIGKILL)


def servers(port: int | None) -> list[int]:
    """The process of the dashboard that listens there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        words = {b"streamlit", b"app.py", f"--server.port={port}".encode()}
        if words <= set(command) and not command[0].endswith(b"sh"):
            found.append(int(folder.name))
    return found

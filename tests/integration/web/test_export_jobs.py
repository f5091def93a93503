"""A file that a page prepares: watched while it is written, told in full, kept a while, never without its rights."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lib.access.roles import Actor, Origin, local_administrator
from lib.db.tables import audit_log
from lib.errors import DatabaseUnavailable
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.ui.base import loaders
from lib.ui.base.server import export_desk
from lib.ui.usage import export_card as card
from lib.web.downloads import export_jobs
from lib.web.downloads.export_jobs import ExportJob
from lib.web.downloads.export_slots import MOST_SLOTS, MOST_SLOTS_EACH, Busy
from lib.web.downloads.exports import ExportService
from lib.web.downloads.links import COOKIE, Link, Signer, new_browser
from lib.web.routes import routes
from tests.pages import Dashboard, buttons, press, texts

ADMIN = local_administrator(Origin.BROWSER, "local")
HERE = "http://localhost:8501"
EVERYTHING = UsageFilter()


@pytest.fixture
def shop(platform: Platform) -> Platform:
    """Two projects with usage: 3 rows and 1."""
    for slug in ("checkout-api", "search"):
        platform.projects.add(slug, actor=ADMIN)
    put(platform, *["checkout-api,platform"] * 2, "checkout-api,byok", "search,byok")
    return platform


def put(platform: Platform, *rows: str) -> None:
    lines = ["occurred_at,project,source,model,input_tokens,output_tokens,cost_usd"]
    with platform.database.read() as connection:
        at = platform.database.now(connection) // 1_000_000
    from lib.clock import iso

    lines += [f"{iso((at - 3600 + n) * 1_000_000)},{row},gpt-5,10,1,0.25" for n, row in enumerate(rows)]
    file = io.BytesIO("\n".join(lines).encode())
    import_usage(platform.database, platform.prices, file, name="test.csv", actor=ADMIN)


class Counter:
    """An export service, and one browser in front of it."""

    def __init__(self, platform: Platform, front_door: Callable[[], Platform] | None = None) -> None:
        self.platform, self.browser = platform, new_browser()
        self.service = ExportService(front_door or (lambda: platform))
        app = Starlette(routes=routes(lambda: None, self.service))
        self.client = TestClient(app, base_url=HERE, cookies={COOKIE: self.browser})

    def prepare(self, wanted: UsageFilter = EVERYTHING, kind: str = "csv", actor: Actor = ADMIN) -> ExportJob:
        link = Link(actor.name, wanted, kind)
        token = Signer(self.platform.settings).token(link, self.browser)
        return self.service.prepare(link, token, actor)

    def made(self, **options: Any) -> ExportJob:
        job = self.prepare(**options)
        assert job.ended.wait(300)
        assert job.problem is None
        return job


@pytest.fixture
def counter(shop: Platform) -> Iterator[Counter]:
    counter = Counter(shop)
    yield counter
    counter.client.close()
    counter.service.close()


def exported(platform: Platform) -> list[dict[str, Any]]:
    with platform.database.read() as connection:
        found = (
            select(audit_log.c.after).where(audit_log.c.action == "usage:exported").order_by(audit_log.c.id)
        )
        return [json.loads(after) for after in connection.execute(found).scalars()]


def open_files() -> int:
    """How many files without a name this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += str(descriptor.readlink()).endswith("(deleted)")
        except FileNotFoundError:
            continue
    return found


# --- the file and its links ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "daily-csv", "parquet"])
def test_a_prepared_file_is_told_in_full_and_sent_as_it_was_told(counter: Counter, kind: str):
    job = counter.made(kind=kind)
    assert job.made
    done = job.made.done
    assert (done.platform_nano, done.byok_nano, done.unpriced_calls) == (500_000_000, 500_000_000, 0)
    put(counter.platform, "search,byok")  # comes too late for this file
    for _ in range(2):
        answer = counter.client.get(job.address)
        assert hashlib.sha256(answer.content).hexdigest() == done.sha256 == answer.headers["x-qodex-sha256"]
        assert answer.headers["content-length"] == str(done.bytes)
    assert [(row["rows"], row["sha256"]) for row in exported(counter.platform)] == [(done.rows, done.sha256)]


def test_the_meta_file_goes_with_the_file(counter: Counter):
    job = counter.made(wanted=replace(EVERYTHING, projects=("search",), zone="Asia/Kolkata"))
    answer = counter.client.get(f"{job.address}&meta=1")
    meta = answer.json()
    assert job.made
    assert answer.headers["content-disposition"] == f'attachment; filename="{job.made.name}.meta.json"'
    assert (meta["rows"], meta["zone"], meta["filter"]["projects"]) == (1, "Asia/Kolkata", ["search"])
    assert meta["sums"]["byok_usd"] == "0.25"
    assert meta["file"] == job.made.name
    assert meta["sha256"] == counter.client.get(job.address).headers["x-qodex-sha256"]
    assert len(exported(counter.platform)) == 1


def test_a_link_outlives_its_file_which_is_then_written_anew(counter: Counter):
    job = counter.made()
    put(counter.platform, "search,byok")
    counter.service.drop(job)
    assert counter.client.get(job.address).headers["x-qodex-rows"] == "5"
    other_server = Counter(counter.platform)
    other_server.client.cookies.set(COOKIE, counter.browser)
    assert other_server.client.get(job.address).headers["x-qodex-rows"] == "5"
    other_server.client.close()
    assert [row["rows"] for row in exported(counter.platform)] == [4, 5, 5]


def test_another_browser_gets_no_prepared_file(counter: Counter):
    job = counter.made()
    counter.client.cookies.set(COOKIE, new_browser())
    answer = counter.client.get(job.address)
    assert (answer.status_code, "another browser" in answer.text) == (403, True)


def test_a_prepared_file_is_not_sent_with_more_than_its_owner_may_have_now(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
):
    """The link is for all projects; one of them is not the owner's to export any more."""
    job = counter.made()
    assert counter.client.get(job.address).headers["x-qodex-rows"] == "4"
    projects = {project.slug: project.id for project in counter.platform.projects.list(actor=ADMIN)}
    fewer = replace(
        ADMIN, origin=Origin.ROUTE, everywhere=None, projects={projects["search"]: ADMIN.everywhere}
    )
    monkeypatch.setattr("lib.web.downloads.exports.authorize", lambda *_: (job.link, fewer))
    assert counter.client.get(job.address).headers["x-qodex-rows"] == "1"
    nobody = replace(fewer, projects={})
    monkeypatch.setattr("lib.web.downloads.exports.authorize", lambda *_: (job.link, nobody))
    assert counter.client.get(job.address).status_code == 403


# --- nothing for ever ------------------------------------------------------------------------------


def test_a_file_is_dropped_after_some_minutes(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    before = open_files()
    monkeypatch.setattr(export_jobs, "KEPT_SECONDS", 0)
    job = counter.made()
    while open_files() > before:
        threading.Event().wait(0.01)
    assert counter.client.get(job.address).status_code == 200


def test_the_oldest_files_make_room(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export_jobs, "MOST_KEPT", 2)
    before = open_files()
    jobs = [counter.made(wanted=UsageFilter(since=n)) for n in range(4)]
    assert open_files() == before + 2
    put(counter.platform, "search,byok")
    rows = [counter.client.get(job.address).headers["x-qodex-rows"] for job in jobs]
    assert rows == ["5", "5", "4", "4"]
    for _ in range(2):
        counter.made()  # of one link, or of two that were signed in different seconds
    assert open_files() == before + 2
    monkeypatch.setattr(export_jobs, "MOST_KEPT_BYTES", 10)
    counter.made()
    assert open_files() == before


def test_a_file_is_given_up_that_is_cancelled_or_that_nobody_looks_at(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
):
    before = open_files()
    with counter.service._slots.hold("a"), counter.service._slots.hold("b"), counter.service._slots.hold("c"):
        cancelled = counter.prepare()
        counter.service.drop(cancelled)
        assert cancelled.ended.wait(300)
        monkeypatch.setattr(export_jobs, "UNWATCHED_SECONDS", 0)
        unwatched = counter.prepare()
        assert unwatched.ended.wait(300)
    assert [job.problem for job in (cancelled, unwatched)] == ["The export was given up."] * 2
    assert open_files() == before
    assert exported(counter.platform) == []


# --- slots -----------------------------------------------------------------------------------------


def test_who_comes_when_all_turns_are_taken_waits_and_is_told_so(counter: Counter):
    with counter.service._slots.hold("a"), counter.service._slots.hold("b"), counter.service._slots.hold("c"):
        job = counter.prepare()
        while job.waits is None:
            threading.Event().wait(0.01)
        assert job.waits == f"{MOST_SLOTS} exports are running already."
    assert job.ended.wait(300)
    assert job.made
    assert job.waits is None


def test_one_person_has_only_so_many_under_way(counter: Counter):
    with counter.service._slots.hold("a"), counter.service._slots.hold("b"), counter.service._slots.hold("c"):
        jobs = [counter.prepare() for _ in range(MOST_SLOTS_EACH)]
        with pytest.raises(Busy, match="2 of your exports are under way already"):
            counter.prepare()
        other = counter.prepare(actor=local_administrator(Origin.BROWSER, "another"))
    for job in (*jobs, other):
        assert job.ended.wait(300)
        assert job.made


def test_a_failure_is_a_sentence_and_no_file(shop: Platform):
    def down() -> Platform:
        raise DatabaseUnavailable("The database did not answer.")

    def broken() -> Platform:
        raise RuntimeError("planted")

    before = open_files()
    for front_door, sentence in ((down, "The database did not answer."), (broken, "Something went wrong.")):
        job = Counter(shop, front_door).prepare()
        assert job.ended.wait(300)
        assert job.problem
        assert job.problem.startswith(sentence)
        assert "planted" not in job.problem
    assert open_files() == before


# --- the page --------------------------------------------------------------------------------------


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> str:
    name = new_browser()
    monkeypatch.setattr(card, "this_browser", lambda: name)
    return name


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_shows_rows_sums_and_hash_and_leads_to_the_file(
    dashboard: Dashboard, shop: Platform, browser: str
):
    loaders.forget()
    page = dashboard.open("usage")
    assert "about 4, 1 kB" in texts(page)
    assert "Files are limited to 2 GiB." in texts(page)
    page = press(page, "Prepare CSV")
    job = page.session_state[card.JOB]
    assert job.ended.wait(300)
    page.run()
    told = texts(page)
    assert [code.value for code in page.code] == [job.made.done.sha256]
    for part in ("qodex-usage_all-projects_", "$0.50", "bytes)", "Kept for 10 minutes"):
        assert part in told
    links = {link.proto.label: link.proto.url for link in page.get("link_button")}
    app = Starlette(routes=routes(lambda: None, export_desk))
    with TestClient(app, base_url=HERE, cookies={COOKIE: browser}) as asked:
        assert asked.get(links["Download"]).headers["x-qodex-sha256"] == job.made.done.sha256
        assert asked.get(links["Download .meta.json"]).json()["rows"] == 4
    page.radio(key="export:format").set_value("parquet").run()
    assert "Prepared with other filters than those above." in texts(page)
    export_desk.close()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_page_shows_progress_and_can_cancel(
    dashboard: Dashboard, shop: Platform, browser: str, monkeypatch: pytest.MonkeyPatch
):
    loaders.forget()
    half, go_on = threading.Event(), threading.Event()

    def slowly(_platform: object, _link: object, _actor: object, gone: threading.Event, told: Any) -> object:
        told(2)
        half.set()
        assert go_on.wait(300)
        assert gone.is_set()
        raise export_jobs.ClientDisconnected

    monkeypatch.setattr("lib.web.downloads.export_files.write", slowly)
    page = press(dashboard.open("usage"), "Prepare CSV")
    assert half.wait(300)
    page.run()
    [bar] = page.get("progress")
    assert (bar.proto.value, bar.proto.text) == (50, "2 of about 4 rows written")
    assert "Prepare CSV" not in buttons(page)
    press(page, "Cancel")
    go_on.set()
    page = page.run()
    assert "Prepare CSV" in buttons(page)
    assert page.get("progress") == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_twenty_exports_at_once_all_arrive_whole_while_the_page_is_in_use(
    dashboard: Dashboard, shop: Platform
):
    """A few at a time; who comes too early is told when to come again."""
    loaders.forget()
    counter, before, told, files = Counter(shop), open_files(), [], []

    def download(number: int) -> None:
        link = Link(f"person-{number % 7}", EVERYTHING, ("csv", "parquet", "daily-csv")[number % 3])
        address = Signer(shop.settings).address(link, counter.browser)
        with TestClient(counter.client.app, base_url=HERE, cookies={COOKIE: counter.browser}) as asked:
            while (answer := asked.get(address)).status_code == 503:
                told.append((answer.text, answer.headers["retry-after"]))
                threading.Event().wait(0.05)
        assert hashlib.sha256(answer.content).hexdigest() == answer.headers["x-qodex-sha256"]
        files.append((link.format, answer.status_code, answer.headers["content-length"]))

    threads = [threading.Thread(target=download, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    runs = 0
    while runs < 3 or any(thread.is_alive() for thread in threads):
        page = dashboard.open("usage")
        assert not page.exception
        assert "about 4, 1 kB" in texts(page)
        runs += 1
    assert len(files) == 20
    assert len(set(files)) == 3  # one length a format
    assert {row["rows"] for row in exported(shop)} == {3, 4}
    assert len(exported(shop)) == 20
    assert {retry for _, retry in told} <= {"30"}
    assert all("are running already" in sentence for sentence, _ in told)
    assert open_files() == before
    counter.client.close()

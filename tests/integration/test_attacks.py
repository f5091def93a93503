"""What a hostile tester tries: every attack of the register (``tests/attacks.py``) has tests that exist.

The attacks that no other file makes are made here, and in ``test_attacks_server.py`` against the real server.
"""

from __future__ import annotations

import ast
import csv
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Barrier, Thread

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.auditlog import AuditFilter
from lib.access.projects import Projects
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.clock import HOUR, MINUTE
from lib.db import Database
from lib.errors import DatabaseUnavailable, KeyRejected, TooManyChecks
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.runs.log import RunFilter
from lib.secret import Secret
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import Keyring
from lib.vault.rate_limit import PER_PERSON, PER_PROJECT
from lib.vault.sealing import MasterKey
from lib.vault.seals import ProjectSeals
from lib.vault.states import Verdict
from tests.attacks import REGISTER
from tests.pages import PAGES, Dashboard, press, texts
from tests.upstream import GOOD_KEY, ScriptedUpstream

ROOT = Path(__file__).resolve().parents[2]
ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@cache
def _tests_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_the_register_has_every_attack_of_the_list():
    assert list(REGISTER) == list(range(1, len(REGISTER) + 1))


@pytest.mark.parametrize("number", REGISTER)
def test_each_attack_has_tests_that_exist(number: int):
    _, tests = REGISTER[number]
    assert tests
    for test in tests:
        path, name = test.split("::")
        assert name in _tests_of(path), test


# --- 5: what a page keeps ------------------------------------------------------------------------------


@on_sqlite
def test_what_a_page_keeps_for_one_person_is_not_shown_to_the_next(platform: Platform):
    from lib.reports.models import UsageFilter
    from lib.ui.base import loaders

    for slug in ("own", "other"):
        platform.projects.add(slug, actor=ADMIN)
    header = b"occurred_at,project,model,input_tokens,output_tokens\n"
    rows = b"".join(b"2026-05-01T12:00:00Z,%s,gpt-5-mini,1000,100\n" % slug for slug in (b"own", b"other"))
    import_usage(platform.database, platform.prices, io.BytesIO(header + rows), name="x.csv", actor=ADMIN)
    loaders.forget()
    own = platform.projects.get("own", actor=ADMIN).id
    ann = Actor("ann@example.com", Origin.BROWSER, projects={own: Role.ANALYST})
    boss = Actor("ann@example.com", Origin.BROWSER, everywhere=Role.MANAGER)
    everything = UsageFilter()
    totals, by_project = platform.reports.totals, platform.reports.by_project
    calls = [loaders.cached(totals, everything, actor=who).calls for who in (boss, ann, boss)]
    assert calls == [2, 1, 2]
    assert set(loaders.cached(by_project, everything, actor=boss)) == {"own", "other"}
    assert set(loaders.cached(by_project, everything, actor=ann)) == {"own"}
    loaders.forget()


# --- 11: an export that is killed ----------------------------------------------------------------------


@on_sqlite
def test_an_export_that_is_killed_leaves_the_file_of_before_and_goes_out_the_next_time(
    platform: Platform, tmp_path: Path, master_key: str
):
    platform.projects.add("shop", actor=ADMIN)
    lines = (f"2026-05-01T12:00:00.{n:06}Z,shop,gpt-5-mini,{n},100" for n in range(60_000))
    content = "\n".join(["occurred_at,project,model,input_tokens,output_tokens", *lines]).encode()
    import_usage(platform.database, platform.prices, io.BytesIO(content), name="x.csv", actor=ADMIN)
    target = tmp_path / "out" / "usage.csv"
    target.parent.mkdir()
    target.write_text("the export of yesterday")
    environment = os.environ | {
        "DATABASE_URL": platform.settings.database_url,
        "QODEX_MASTER_KEYS": master_key,
    }
    words = [sys.executable, "-m", "lib", "usage", "export", "-o", str(target)]
    export = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while not list(target.parent.glob(".qodex-*.part")):
        assert export.poll() is None
    export.send_signal(signal.SIGKILL)
    export.wait()
    assert target.read_text() == "the export of yesterday"
    subprocess.run(words, cwd=ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)
    with target.open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == 60_000


# --- 22, 23: names -------------------------------------------------------------------------------------

FORMULAS = ["=cmd|' /c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", '=HYPERLINK("https://evil.example")']
HOSTILE = [
    "![x](https://evil.example/a.png)",
    "<img src=https://evil.example/b.png onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    ":red[pay now] :material/key: :smile:",
    "$\\href{https://evil.example}{x}$",
    "`code` **bold** # title | cell",
    "https://evil.example/auto-link",
    "\U0001f511 emoji",
    "x" * 200,
]
HIDING = {
    "a direction override": "invoice\u202egnp.exe",
    "a zero-width space": "check\u200bout",
    "a line break": "check\nout",
    "a terminal's command": "\x1b[31mred",
    "201 characters": "x" * 201,
    "nothing": " ",
}


@on_sqlite
@pytest.mark.parametrize("kind", ["csv", "daily-csv"])
def test_no_cell_of_any_export_begins_like_a_formula_whatever_things_are_called(
    platform: Platform, kind: str
):
    from lib.exchange.export import export_usage
    from lib.reports.models import UsageFilter

    platform.projects.add("shop", actor=ADMIN, name="=1+1")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["occurred_at", "project", "model", "run_id", "endpoint", "input_tokens", "output_tokens"]
    )
    for name in FORMULAS:
        writer.writerow(["2026-05-01T12:00:00Z", "shop", name, name, name, 1, 1])
    import_usage(
        platform.database,
        platform.prices,
        io.BytesIO(out.getvalue().encode()),
        name="=x.csv",
        actor=ADMIN,
    )
    exported = io.BytesIO()
    export_usage(platform.database, UsageFilter(), exported, format=kind, actor=ADMIN)
    cells = [cell for row in csv.reader(io.StringIO(exported.getvalue().decode())) for cell in row]
    assert sum(cell.lstrip("'").strip() in {name.strip() for name in FORMULAS} for cell in cells) >= 6
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@on_sqlite
@pytest.mark.parametrize("what", HIDING)
def test_a_name_that_hides_something_is_refused(platform: Platform, what: str):
    from lib.errors import BadInput

    with pytest.raises(BadInput):
        platform.projects.add("shop", actor=ADMIN, name=HIDING[what])
    with pytest.raises(BadInput):
        platform.projects.add(HIDING[what], actor=ADMIN)


@pytest.fixture
def hostile(dashboard: Dashboard) -> Dashboard:
    """Whatever can have a name is called what should never be more than text: one project for each name."""
    platform = dashboard.platform
    for number, name in enumerate(HOSTILE):
        slug, operator = f"shop-{number}", local_administrator(Origin.COMMAND_LINE, name)
        platform.projects.add(slug, actor=operator, name=name)
        platform.members.put("ada@example.com", "lead", slug=slug, actor=operator)
        platform.projects.set_policy(slug, "platform", actor=operator)
        platform.plans.set_caps(slug, cap_5h_nano=1, cap_7d_nano=2, reason=name, actor=operator)
        platform.keys.save(slug, GOOD_KEY, actor=operator)
        with platform.run(slug, actor=operator) as run:
            run.openai.responses.create(model=name, input=name)
    return dashboard


ALIVE = ("](https:", "](javascript:", "https://evil.example/auto", ":red[pay", ":smile:", "**bold", "$\\href")
WRITTEN_ON = {
    "integrations",
    "usage",
    "plan",
    "project",
    "members",
    "alerts",
}  # elsewhere names stand in tables and charts, which show plain text


@on_sqlite
@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_are_text_on_every_page(hostile: Dashboard, name: str):
    written = []
    for number in range(len(HOSTILE)) if name in WRITTEN_ON else (0, 4):
        [run], _ = hostile.platform.runs.list(RunFilter(projects=(f"shop-{number}",)), actor=ADMIN)
        page = hostile.open(name, project=f"shop-{number}", run=run.run_id)
        assert not page.exception
        written += [
            text
            for text in _markdown(page)
            if any(word in text for word in ("evil", "alert(", "alert\\(", "pay now"))
        ]
    for text in written:
        assert not [alive for alive in ALIVE if alive in _without_code(text)], text
    assert bool(written) is (name in WRITTEN_ON)


def _without_code(text: str) -> str:
    """What stands in backticks is shown as it is."""
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def _markdown(page: AppTest) -> Iterator[str]:
    """Everything that Streamlit renders as Markdown, as it is handed over."""
    for kind in (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "success",
        "toast",
    ):
        yield from (str(element.value) for element in page.get(kind))
    for table in page.table:  # its cells are Markdown, too
        yield from (str(cell) for row in table.value.to_numpy() for cell in row)
    for kind in ("button", "selectbox", "multiselect", "radio", "checkbox", "metric", "expander"):
        yield from (str(getattr(element, "label", "")) for element in page.get(kind))


# --- 25: a page over a database that cannot write ------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize("why", ["is busy", "can only be read", "disk of the database is full"])
def test_a_page_never_says_saved_where_the_database_could_not_write(
    dashboard: Dashboard, why: str, monkeypatch: pytest.MonkeyPatch
):
    dashboard.add("shop")
    page = press(dashboard.open("integrations", project="shop"), "Add your key")
    page.text_input[0].input(GOOD_KEY)

    def failing(self: Database, *, durable: bool = True) -> Iterator[None]:
        raise DatabaseUnavailable(f"The database {why}. Nothing was changed; try again.")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "write", failing)
        page = press(page, "Check and save")
        shown = texts(page)
    assert "is in use" not in shown
    assert why in shown
    assert dashboard.key("shop").status == "none"


# --- 26: trying out stolen keys ------------------------------------------------------------------------


def _try(platform: Platform, number: int, actor: Actor, slug: str = "shop") -> type[Exception]:
    with pytest.raises((KeyRejected, TooManyChecks)) as refused:
        platform.keys.save(slug, f"sk-test-stolen-key-{number:04}", actor=actor)
    return refused.type


def _lead(platform: Platform, name: str) -> Actor:
    ids = [platform.projects.get(slug, actor=ADMIN).id for slug in ("shop", "search")]
    return Actor(name, Origin.BROWSER, projects=dict.fromkeys(ids, Role.LEAD))


@pytest.fixture
def shops(platform: Platform) -> Platform:
    for slug in ("shop", "search"):
        platform.projects.add(slug, actor=ADMIN)
    return platform


def test_a_person_who_tries_out_stolen_keys_is_stopped_and_each_attempt_is_logged(
    shops: Platform, upstream: ScriptedUpstream
):
    eve = _lead(shops, "eve@example.com")
    for number in range(PER_PERSON):
        assert _try(shops, number, eve, "shop" if number % 2 else "search") is KeyRejected
    asked = len(upstream.requests)
    assert _try(shops, 99, eve) is TooManyChecks
    assert _try(shops, 99, eve, "search") is TooManyChecks
    assert len(upstream.requests) == asked
    rows, total = shops.audit.list(AuditFilter(actions=("key:refused",), limit=100), actor=ADMIN)
    assert (total, {row.actor for row in rows}) == (PER_PERSON, {eve.name})
    assert "stolen" not in repr(rows)
    assert shops.keys.save("shop", GOOD_KEY, actor=_lead(shops, "ada@example.com")).status == "working"


def test_a_project_through_which_stolen_keys_are_tried_out_is_stopped(shops: Platform):
    for number in range(PER_PROJECT):
        assert _try(shops, number, _lead(shops, f"eve{number // 10}@example.com")) is KeyRejected
    assert _try(shops, 99, _lead(shops, "mallory@example.com")) is TooManyChecks
    assert _try(shops, 99, _lead(shops, "mallory@example.com"), "search") is KeyRejected


def test_stolen_keys_that_are_tried_out_all_at_once_are_no_more_than_one_by_one(
    shops: Platform, upstream: ScriptedUpstream
):
    eve, begin, found = _lead(shops, "eve@example.com"), Barrier(40), list[type[Exception]]()

    def attack(number: int) -> None:
        begin.wait()
        found.append(_try(shops, number, eve))

    threads = [Thread(target=attack, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert found.count(KeyRejected) <= PER_PERSON
    assert len({seen.key for seen in upstream.requests}) <= PER_PERSON


# --- 27: the clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-30 * 24 * HOUR, -MINUTE, 400 * 24 * HOUR])
def test_a_clock_that_steps_back_neither_brings_an_old_key_back_nor_loses_the_new_one(
    database_url: str, step: int
):
    now = [1_780_272_000_000_000]
    database = Database(database_url, clock=lambda: now[0])
    keyring = Keyring([MasterKey(bytes(range(100, 132)))])
    Projects(database, ProjectSeals(database, keyring)).add("shop", actor=ADMIN)
    keys = KeyStore(database, keyring, {})

    def save(key: str, seen: int) -> int:
        state = keys.save("shop", Secret(key), actor=ADMIN, expected_version=seen, verdict=Verdict())
        return state.version

    save("sk-test-first-key-0001", 0)
    now[0] += step
    assert save("sk-test-second-key-0002", 1) == 2
    assert keys.resolve("shop").last4 == "0002"
    now[0] -= 2 * step
    assert keys.resolve("shop").last4 == "0002"
    assert save("sk-test-third-key-0003", 2) == 3
    assert keys.resolve("shop").last4 == "0003"
    database.close()

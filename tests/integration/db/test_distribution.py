"""Beyond one PostgreSQL: all that a call does concerns one project, so its tables can be distributed by it (docs/scale.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text

from lib.clock import DAY
from lib.db import Database
from lib.errors import CapExceeded, KeyLocked
from lib.ledger.attempts import AttemptResult
from tests.calls import by_statements
from tests.spending import LEASE, UNKNOWN, Clock, Shop, answer, open_shop

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])

SHARED = {
    *("projects", "plans", "deployment", "rollup_zone", "platform_key_health", "audit_log", "members"),
    *("saved_views", "sessions", "imported_files", "usage_archives", "alembic_version"),
}
"""Small tables of all projects: copied to each machine, or kept on the first."""
_KEYS = """
SELECT relname, indexrelid::regclass::text, EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = indrelid AND attname = 'project_id' AND attnum = ANY (indkey))
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE indisunique AND relnamespace = 'public'::regnamespace
"""
_REFERENCES = """
SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = confrelid
WHERE contype = 'f' AND relname <> 'projects' AND NOT EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = conrelid AND attname = 'project_id' AND attnum = ANY (conkey)) AND relname <> 'plans'
"""
_WATCHED = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "client_min_messages": "log",
}
_PART = re.compile(r"^usage_events_(\d{4}_\d\d|before|after)$")
_ONE_PROJECT = re.compile(r"\bproject_id\)?(?:::\w+)? = \(?(?:\$\d+|'[^']+')")


def test_every_unique_key_of_a_projects_table_names_the_project(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        keys = [tuple(row) for row in connection.execute(text(_KEYS))]
        references = connection.execute(text(_REFERENCES)).scalars().all()
    database.close()
    assert {index for table, index, names_it in keys if not names_it and table not in SHARED} == set()
    assert len({table for table, *_ in keys} - SHARED) >= 20
    assert references == []


# --- what a call sends -----------------------------------------------------------------------------


class Plans:
    """How the server carries out each statement: of functions, triggers and foreign keys too."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.tables: set[str] = set()
        self.astray: set[str] = set()
        self.searched: set[str] = set()
        """Statements that look at other open calls to find one."""

    def note(self, diagnostic: Any) -> None:
        told = str(diagnostic.message_primary)
        if "plan:" not in told:
            return
        plan = json.loads(told.partition("plan:")[2])
        statement = " ".join(str(plan["Query Text"]).split())
        self.seen.add(statement)
        for node in _nodes(plan["Plan"]):
            self._check(statement, node)

    def _check(self, statement: str, node: dict[str, Any]) -> None:
        table = node.get("Relation Name")
        if table is None or table in SHARED or node["Node Type"] == "ModifyTable":
            return
        self.tables.add(_PART.sub("usage_events", table))
        if table == "open_calls" and "event_id" in node.get("Filter", ""):
            self.searched.add(statement)
        conditions = " ".join(str(node[name]) for name in node if name.endswith(("Cond", "Filter")))
        if not _ONE_PROJECT.search(conditions):
            self.astray.add(f"{table} [{conditions}] in {statement}")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


@pytest.fixture
def plans() -> Plans:
    return Plans()


@pytest.fixture
def shop(database_url: str, clock: Clock, plans: Plans) -> Iterator[Shop]:
    options = " ".join(f"-c {name}={value}" for name, value in _WATCHED.items())
    with open_shop(f"{database_url}&options={quote(options)}", clock) as shop:
        with shop.database.read() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.add_notice_handler(plans.note)  # one thread uses one connection
        yield shop


@pytest.mark.parametrize("way", ["in one trip", "by statements"])
def test_every_statement_of_a_call_names_its_project_in_each_of_its_tables(
    shop, clock, plans, way, monkeypatch
):
    if way == "by statements":
        by_statements(monkeypatch)
    _live(shop, clock)
    assert plans.astray == set()
    assert {"accounts", "open_calls", "usage_events", "usage_daily", "runs", "provider_keys"} <= plans.tables
    assert any("qodex_settle_call" in statement for statement in plans.seen) == (way == "in one trip")


@pytest.mark.parametrize("way", ["in one trip", "by statements"])
def test_a_call_is_found_among_the_open_ones_by_its_key_alone(shop, clock, plans, way, monkeypatch):
    # An index by another column has an entry for each call since the last vacuum: a hot project makes many.
    if way == "by statements":
        by_statements(monkeypatch)
    _live(shop, clock)
    assert "open_calls" in plans.tables
    assert plans.searched == set()


def _live(shop: Shop, clock: Clock) -> None:
    """All that happens to calls and their runs."""
    run = shop.start(token_budget=6_000)
    rejected = AttemptResult("error", None, 401, error_code="invalid_api_key", key_verdict="rejected")
    for outcome in (answer(300), answer(300), rejected, answer(5), UNKNOWN, answer(4_000)):
        shop.ledger.settle(shop.open(run, 4_000), outcome)
    call = shop.open(run, 100)
    shop.ledger.renew(call, LEASE)
    shop.runs.keep_alive([run])
    shop.ledger.release(call.project_id, call.id, why="Connection refused.")
    shop.open(run, 100)
    clock.now += LEASE + 1  # its worker is dead
    shop.spend(run, 100)
    shop.cap(10_000, 10_000)
    shop.spend(run, 900)
    with pytest.raises(CapExceeded):
        shop.open(run, 9_000)
    shop.runs.finish(run, "passed")
    own = shop.start()
    shop.save_key()
    for outcome in (answer(10), answer(10), rejected, answer(10)):
        shop.ledger.settle(shop.open(own, 100), outcome)
    shop.lock_up()
    with pytest.raises(KeyLocked):
        shop.open(own, 100)
    clock.now += 400 * DAY
    shop.remove_key()
    shop.spend(shop.start(), 10)
    clock.now -= 399 * DAY
    shop.spend(shop.start(), 10)

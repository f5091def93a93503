"""Databases as earlier versions left them: the schema of a revision, and a project written with its columns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from lib.clock import HOUR
from lib.db import migrations
from lib.db.tables import metadata


def begin_at(connection: Connection, revision: str, *slugs: str) -> None:
    """Give an empty database the schema of ``revision`` and projects whose ids are their slugs."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    for slug in slugs:
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, created_at, created_by)"
                " VALUES (:slug, :slug, :slug, 'Starter', 1, 'somebody')"
            ),
            {"slug": slug},
        )


# Cost, of every tenth call of a model whose cache writes schema 0006 finds in its cost; and of the others.
_WRITTEN, _PLAIN = 55_800_000, 13_000
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})",
    "postgresql": "WITH numbers (n) AS (SELECT generate_series(CAST(1 AS bigint), {count}))",
}
_EVENTS = f"""
INSERT INTO usage_events (project_id, event_id, occurred_at, run_kind, source, provider, model, endpoint, status,
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_nano, price_input, price_cached_input,
    price_output, key_last4, upstream_request_id, sequence, counted_after_nano, unknown_after_nano)
{{numbers}} SELECT :project, 'seed-' || n, :since + n * :apart, 'scan', 'platform', 'openai',
    CASE WHEN n % 10 = 0 THEN 'gpt-5.6-sol' ELSE 'gpt-5-mini' END, 'responses', 'ok',
    CASE WHEN n % 10 = 0 THEN 10000 ELSE 12 END, CASE WHEN n % 10 = 0 THEN 2000 ELSE 0 END,
    CASE WHEN n % 10 = 0 THEN 1000 ELSE 5 END, 0,
    CASE WHEN n % 10 = 0 THEN {_WRITTEN} ELSE {_PLAIN} END,
    CASE WHEN n % 10 = 0 THEN 4000000000 ELSE 250000000 END,
    CASE WHEN n % 10 = 0 THEN 400000000 ELSE 25000000 END,
    CASE WHEN n % 10 = 0 THEN 20000000000 ELSE 2000000000 END,
    '0003', 'req_' || n, n, (n / 10) * {_WRITTEN} + (n - n / 10) * {_PLAIN}, 0 FROM numbers
"""
_ROLLUP = """
INSERT INTO {table} SELECT project_id, occurred_at - occurred_at % {length}, source, provider, model, run_kind, status,
    count(*), 0, sum(cost_nano), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(reasoning_tokens)
FROM usage_events WHERE project_id = :project GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_ACCOUNT = """
INSERT INTO accounts (project_id, sequence, counted_nano, last_settled_at) SELECT CAST(:project AS varchar(36)), count(*),
coalesce(sum(cost_nano), 0), coalesce(max(occurred_at), 0) FROM usage_events WHERE project_id = :project
"""
_CAPS = """
INSERT INTO cap_overrides (project_id, cap_5h_nano, cap_7d_nano, reason, set_at, set_by)
VALUES (:project, 1000000000000000, 1000000000000000, 'a test', 1, 'somebody')
"""
_MONTH = 30 * 24 * HOUR


def add_history(connection: Connection, project: str, events: int) -> None:
    """Give a project its account, caps of no matter, and platform-funded calls over the last month with all their sums."""
    which = {"project": project}
    if events:
        numbers = _NUMBERS[connection.dialect.name].format(count=events)
        since = time.time_ns() // 1000 - _MONTH
        when = {"since": since, "apart": _MONTH // (events + 1)}
        connection.execute(text(_EVENTS.format(numbers=numbers)), which | when)
        for table, length in (("usage_hourly", HOUR), ("usage_daily", 24 * HOUR)):
            connection.execute(text(_ROLLUP.format(table=table, length=length)), which)
    connection.execute(text(_ACCOUNT), which)
    connection.execute(text(_CAPS), which)


def differences(connection: Connection) -> list[Any]:
    """Of the tables from what the code knows; the months of events are parts of a table, and none of their own."""
    options = {"compare_type": True, "compare_server_default": True, "include_object": _is_whole}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _is_whole(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or not (name or "").startswith("usage_events_")

"""What caching of input saved and cost, by day of UTC: kept by triggers on the events themselves.

On the events, because workers of the version before go on writing them; of UTC, because SQLite knows no other days.

On PostgreSQL table and triggers come in a moment. Then the days of before are summed, project by project and some
weeks at a time, each in a short transaction in which no call adds to these sums: what was added since is summed with
them. Done again from its beginning after an interruption it comes to the same. A trigger there sees all rows of a
statement at once, and adds them in one order: so two imports wait for each other instead of both.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, is_there

revision = "0014"
down_revision = "0013"

_TABLE = "usage_daily_caching"
_DAY = 86_400_000_000
_STRETCH = 28 * _DAY
_KEYS = ("project_id", "day_at", "source", "provider", "model", "run_kind", "status")
_SUMS = ("calls", "unknown_calls", "read_tokens", "saved_nano", "written_tokens", "extra_nano")


def _tokens(row: str) -> tuple[str, str, str]:
    names = ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    read, written, written_1h = (f"coalesce({row}{name}, 0)" for name in names)
    return read, written, written_1h


def _involved(row: str) -> str:
    return "(" + " OR ".join(f"{tokens} > 0" for tokens in _tokens(row)) + ")"


def _day(row: str) -> str:
    return f"{row}occurred_at - {row}occurred_at % {_DAY}"


def _key_values(row: str) -> list[str]:
    plain = [f"{row}{name}" for name in ("source", "provider", "model")]
    return [f"{row}project_id", _day(row), *plain, f"coalesce({row}run_kind, '')", f"{row}status"]


def _known(row: str) -> str:
    fits = "BETWEEN 0 AND 1000000000000"
    prices = ("price_cached_input", "price_cache_write", "price_cache_write_1h")
    found = [f"coalesce({row}price_input {fits}, false)"]
    found += [
        f"({tokens} = 0 OR ({tokens} <= 1000000000 AND coalesce({row}{price} {fits}, false)))"
        for tokens, price in zip(_tokens(row), prices, strict=True)
    ]
    return " AND ".join(found)


def _product(tokens: str, price: str) -> str:
    return f"{tokens} * (({price}) / 1000000) + ({tokens} * (({price}) % 1000000) + 500000) / 1000000"


def _values(row: str) -> list[str]:
    read, written, written_1h = _tokens(row)
    extra, extra_1h = (
        f"coalesce({row}{name}, 0) - {row}price_input"
        for name in ("price_cache_write", "price_cache_write_1h")
    )
    values = [
        read,
        _product(read, f"{row}price_input - coalesce({row}price_cached_input, 0)"),
        f"{written} + {written_1h}",
        f"{_product(written, extra)} + {_product(written_1h, extra_1h)}",
    ]
    known = _known(row)
    return [
        "1",
        f"CASE WHEN {known} THEN 0 ELSE 1 END",
        *(f"CASE WHEN {known} THEN {value} ELSE 0 END" for value in values),
    ]


_NAMES = ", ".join((*_KEYS, *_SUMS))
_ADDED = ", ".join(f"{name} = {_TABLE}.{name} + excluded.{name}" for name in _SUMS)
_ON_CONFLICT = "ON CONFLICT ({keys}) DO UPDATE SET {added}"
_ADD = _ON_CONFLICT.format(keys=", ".join(_KEYS), added=_ADDED)
_SUM = """
INSERT INTO {table} ({names}) SELECT {chosen} FROM {source} WHERE {involved} AND {where}
GROUP BY {places} ORDER BY {places}
"""


def _summed(where: str, source: str = "usage_events") -> str:
    """The sums of these rows, in one order."""
    return _SUM.format(
        table=_TABLE,
        names=_NAMES,
        chosen=", ".join((*_key_values(""), *(f"sum({value})" for value in _values("")))),
        source=source,
        involved=_involved(""),
        where=where,
        places=", ".join(map(str, range(1, len(_KEYS) + 1))),
    )


_ROW = "INSERT INTO {table} ({names}) VALUES ({values}) {add};"
_INSERT_ROW = _ROW.format(
    table=_TABLE,
    names=_NAMES,
    values=", ".join((*_key_values("NEW."), *_values("NEW."))),
    add=_ADD,
)
_TAKEN = "UPDATE {table} SET {taken} WHERE {same}; DELETE FROM {table} WHERE {same} AND calls = 0;"
_TAKE_ROW = _TAKEN.format(
    table=_TABLE,
    taken=", ".join(
        f"{name} = {name} - ({value})" for name, value in zip(_SUMS, _values("OLD."), strict=True)
    ),
    same=" AND ".join(f"{name} = {value}" for name, value in zip(_KEYS, _key_values("OLD."), strict=True)),
)
# Calls that a wrong clock dated into the future are dated anew (lib.usage.clock_leaps); nothing else of a row changes.
_MOVED = f"{_involved('OLD.')} AND {_day('OLD.')} <> {_day('NEW.')}"
_INSERTED, _UPDATED = f"{_TABLE}_insert", f"{_TABLE}_update"
_ON_INSERT = f"{_INSERTED} AFTER INSERT ON usage_events"
_ON_UPDATE = f"{_UPDATED} AFTER UPDATE OF occurred_at ON usage_events"
_SQLITE = f"""
CREATE TRIGGER {_ON_INSERT} WHEN {_involved("NEW.")} BEGIN {_INSERT_ROW} END
---
CREATE TRIGGER {_ON_UPDATE} WHEN {_MOVED} BEGIN {_TAKE_ROW} {_INSERT_ROW} END
"""
_FUNCTION = "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
_POSTGRES = f"""
{_FUNCTION.format(name=_INSERTED, body=f"{_summed('true', 'added')} {_ADD};")}
---
CREATE OR REPLACE TRIGGER {_ON_INSERT} REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {_INSERTED}()
---
{_FUNCTION.format(name=_UPDATED, body=f"{_TAKE_ROW} {_INSERT_ROW}")}
---
CREATE OR REPLACE TRIGGER {_ON_UPDATE} FOR EACH ROW WHEN ({_MOVED}) EXECUTE FUNCTION {_UPDATED}()
"""
_STRETCH_OF = "project_id = :project AND {at} >= :since AND {at} < :until"
_FORGET = f"DELETE FROM {_TABLE} WHERE {_STRETCH_OF.format(at='day_at')}"  # noqa: S608  # nosec B608 - of constants
_SPANS = f"""
SELECT project_id, min({_day("")}), max({_day("")}) + {_DAY} FROM usage_events GROUP BY project_id
"""  # noqa: S608  # nosec B608 - of constants


def ahead(online: Online) -> None:
    online.briefly(_create_table)
    online.briefly(_create_triggers)
    for project, since, until in online.briefly(_spans):
        for start in range(since, until, _STRETCH):
            stretch = {"project": project, "since": start, "until": start + _STRETCH}
            online.briefly(partial(_sum_again, stretch))


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite" or not is_there(connection, _TABLE):
        _create_table(connection)
        connection.execute(sa.text(_summed("true")))
        _create_triggers(connection)


def _create_table(connection: sa.Connection) -> None:
    if connection.dialect.name != "sqlite" and is_there(connection, _TABLE):
        return
    texts = {"source": 10, "provider": 40, "model": 200, "run_kind": 20, "status": 10}
    columns = ["project_id VARCHAR(36) NOT NULL", "day_at BIGINT NOT NULL"]
    columns += [f"{name} VARCHAR({length}) NOT NULL" for name, length in texts.items()]
    columns += [f"{name} BIGINT NOT NULL" for name in _SUMS]
    columns.append(f"CONSTRAINT pk_{_TABLE} PRIMARY KEY ({', '.join(_KEYS)})")
    columns.append(
        f"CONSTRAINT fk_{_TABLE}_project_id FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE"
    )
    without = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    connection.execute(sa.text(f"CREATE TABLE {_TABLE} ({', '.join(columns)}){without}"))


def _create_triggers(connection: sa.Connection) -> None:
    statements = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
    for statement in statements.split("---"):
        connection.execute(sa.text(statement))


def _spans(connection: sa.Connection) -> list[tuple[Any, ...]]:
    """Each project, the first day of its events and the end of the last."""
    return [tuple(row) for row in connection.execute(sa.text(_SPANS))]


def _sum_again(stretch: dict[str, Any], connection: sa.Connection) -> None:
    connection.execute(sa.text(f"LOCK TABLE {_TABLE} IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(sa.text(_FORGET), stretch)
    connection.execute(sa.text(_summed(_STRETCH_OF.format(at="occurred_at"))), stretch)

"""The table of usage events partitioned by months, on PostgreSQL: made beside the old one, filled while calls go on: step 0019.

1. The new table is made, and a trigger that carries each change of the old one over to it in the same transaction.
2. Events of before are carried over some thousands at a time, locked for that moment, so that no change overtakes them.
3. In one snapshot both tables have to be the same. Then the new one takes the name of the old one, in a moment.

Until then everybody reads and writes the old table. Interrupted anywhere it goes on from there.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

from lib.clock import Micros, month_of
from lib.db.migrations.functions_0020 import FUNCTIONS  # the newest: a move may come after any later step
from lib.db.migrations.online import Online, is_there
from lib.db.migrations.versions import v0014_what_caching_saves as caching
from lib.db.months.parts import AFTER, BEFORE, EVENTS, Part, is_by_month, make_part, months, wanted_until

NEW, FORMER = "usage_events_by_month", "usage_events_former"
BATCH = 10_000
_MOST_MONTHS = 120
_FIRST = text("SELECT min(occurred_at) FROM usage_events")
_INDEXES = text("""
SELECT pg_class.relname, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = to_regclass(:table) AND NOT indisunique AND indisvalid ORDER BY 1
""")
_MAKE = (
    """CREATE TABLE usage_events_by_month (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
        PARTITION BY RANGE (occurred_at)""",
    """ALTER TABLE usage_events_by_month ADD CONSTRAINT fk_usage_events_project_id
        FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE""",
    "CREATE TABLE usage_events_reached AS SELECT project_id, event_id FROM usage_events LIMIT 0",
    "INSERT INTO usage_events_reached VALUES ('', '')",
)
_CARRY_ON = (
    """CREATE FUNCTION usage_events_mirror() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP <> 'INSERT' THEN
            DELETE FROM usage_events_by_month AS there WHERE there.project_id = OLD.project_id
                AND there.event_id = OLD.event_id AND there.occurred_at = OLD.occurred_at;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO usage_events_by_month VALUES (NEW.*);
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER usage_events_mirror AFTER INSERT OR UPDATE OR DELETE ON usage_events
        FOR EACH ROW EXECUTE FUNCTION usage_events_mirror()""",
)
_LAST = text("""
SELECT project_id, event_id FROM usage_events
WHERE (project_id, event_id) > (SELECT project_id, event_id FROM usage_events_reached)
ORDER BY 1, 2 LIMIT 1 OFFSET :rows
""")
# Locked as they are read, so that no change of one comes between its reading and its writing.
_CARRY = """
INSERT INTO usage_events_by_month SELECT * FROM usage_events
WHERE (project_id, event_id) > (SELECT project_id, event_id FROM usage_events_reached)
"""
_UP_TO = "AND (project_id, event_id) <= (:project, :event) "
_UNLESS_THERE = "FOR SHARE ON CONFLICT DO NOTHING"
_NOTE = text("UPDATE usage_events_reached SET project_id = :project, event_id = :event")
_SAME = text("""
SELECT (SELECT concat(count(*), ' ', sum(hashtextextended(CAST(event AS text), 0))) FROM usage_events AS event)
= (SELECT concat(count(*), ' ', sum(hashtextextended(CAST(event AS text), 0))) FROM usage_events_by_month AS event)
""")
_GRANTS = text("""
SELECT format('GRANT %s ON %I TO %s%s', privilege_type, CAST(:to AS text),
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = to_regclass(:table) AND grantee <> relowner
""")

# What caching saved is summed by triggers (0014). A row that gets another time may change its part, and is no UPDATE to
# triggers of rows then; those of statements see it as before and as after.
_SUMS, _ADD = caching._NAMES, caching._ADD  # noqa: SLF001 - of that step
_KEYS, _VALUES, _INVOLVED = (
    each("")
    for each in (caching._key_values, caching._values, caching._involved)  # noqa: SLF001
)
_PLACES = ", ".join(map(str, range(1, len(_KEYS) + 1)))
_MOVED = "(SELECT 1 AS sign, added.* FROM added UNION ALL SELECT -1, gone.* FROM gone) AS moved"
_SUM_MOVED = f"""INSERT INTO usage_daily_caching ({_SUMS})
    SELECT {", ".join((*_KEYS, *(f"sum(sign * ({value}))" for value in _VALUES)))}
    FROM {_MOVED} WHERE {_INVOLVED} GROUP BY {_PLACES} ORDER BY {_PLACES} {_ADD};
    FOR the_project IN SELECT DISTINCT project_id FROM gone LOOP
        DELETE FROM usage_daily_caching WHERE project_id = the_project AND calls = 0;
    END LOOP;"""  # noqa: S608  # nosec B608 - of constants
_TRIGGERS = (
    f"""CREATE OR REPLACE FUNCTION usage_daily_caching_update() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE the_project text; BEGIN {_SUM_MOVED} RETURN NULL; END $$""",
    """CREATE TRIGGER usage_daily_caching_insert AFTER INSERT ON usage_events REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION usage_daily_caching_insert()""",
    """CREATE TRIGGER usage_daily_caching_update AFTER UPDATE ON usage_events REFERENCING OLD TABLE AS gone NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION usage_daily_caching_update()""",
)


class NotTheSame(Exception):
    """What was carried over is not what the table holds. Nothing was changed."""


def first_event(connection: Connection) -> Micros | None:
    """The oldest time of an event."""
    first: Micros | None = connection.execute(_FIRST).scalar()
    return first


def begin(connection: Connection, now: Micros, first: Micros | None) -> None:
    """Make the new table, with a part for each month since the ``first`` event, as far as that is not done."""
    if is_there(connection, NEW):
        return
    for statement in _MAKE:
        connection.exec_driver_sql(statement)
    for name, definition in connection.execute(_INDEXES, {"table": EVENTS}):
        connection.exec_driver_sql(_index_of_new(name, definition))
    until = wanted_until(now)
    since = month_of(now)
    while first is not None and first < since and len(months(since, until)) < _MOST_MONTHS:
        since = month_of(since - 1)
    for part in (Part(BEFORE, None, since), *months(since, until), Part(AFTER, until, None)):
        make_part(connection, part, of=NEW)


def _index_of_new(name: str, definition: str) -> str:
    made, found = re.subn(
        r"INDEX \S+ ON (ONLY )?\S*usage_events ",
        f"INDEX new_{name} ON usage_events_by_month ",
        definition,
        count=1,
    )
    assert found == 1, definition  # noqa: S101 - as PostgreSQL writes it
    return made


def carry_changes(connection: Connection) -> None:
    """From here on each change of the table is one of the new one, too."""
    found = text("SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND tgname = :name")
    if connection.execute(found, {"table": EVENTS, "name": "usage_events_mirror"}).first() is None:
        for statement in _CARRY_ON:
            connection.exec_driver_sql(statement)


def carry_batch(connection: Connection) -> bool:
    """Carry some events of before over; whether there may be more."""
    last = connection.execute(_LAST, {"rows": BATCH - 1}).first()
    if last is None:
        connection.execute(text(_CARRY + _UNLESS_THERE))
        return False
    reached = {"project": last.project_id, "event": last.event_id}
    connection.execute(text(_CARRY + _UP_TO + _UNLESS_THERE), reached)
    connection.execute(_NOTE, reached)
    return True


def require_same(connection: Connection) -> None:
    """In one snapshot both tables hold the same rows, column by column. Raises NotTheSame."""
    if not connection.execute(_SAME).scalar_one():
        raise NotTheSame


def swap(connection: Connection) -> None:
    """The new table takes the place of the old one."""
    connection.exec_driver_sql("LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE")
    if is_by_month(connection):
        return
    connection.exec_driver_sql("DROP TRIGGER usage_events_mirror ON usage_events")
    connection.exec_driver_sql("DROP FUNCTION usage_events_mirror()")
    for (grant,) in connection.execute(_GRANTS, {"table": EVENTS, "to": NEW}).all():
        connection.exec_driver_sql(grant)
    for name, _ in connection.execute(_INDEXES, {"table": EVENTS}).all():
        connection.exec_driver_sql(f"ALTER INDEX {name} RENAME TO old_{name}")
        connection.exec_driver_sql(f"ALTER INDEX new_{name} RENAME TO {name}")
    connection.exec_driver_sql("ALTER TABLE usage_events RENAME TO usage_events_former")
    connection.exec_driver_sql("ALTER TABLE usage_events_by_month RENAME TO usage_events")
    connection.exec_driver_sql("DROP TABLE usage_events_reached")
    # Functions know the rows of a table by its number, not by its name: so they are made again.
    for statement in (*_TRIGGERS, *FUNCTIONS):
        connection.execute(text(statement))


def drop_former(connection: Connection) -> None:
    """Drop the old table, that nobody uses any more. In a transaction of its own: it locks ``projects`` as well."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS usage_events_former")


def give_up(online: Online) -> None:
    """Take an unfinished move back. An upgrade of the schema that changes the table does so first."""
    online.briefly(_give_up)
    online.briefly(drop_former)


def _give_up(connection: Connection) -> None:
    if not is_there(connection, NEW):
        return
    connection.exec_driver_sql("DROP TRIGGER IF EXISTS usage_events_mirror ON usage_events")
    connection.exec_driver_sql("DROP FUNCTION IF EXISTS usage_events_mirror()")
    connection.exec_driver_sql("ALTER TABLE usage_events_by_month RENAME TO usage_events_former")
    connection.exec_driver_sql("DROP TABLE usage_events_reached")

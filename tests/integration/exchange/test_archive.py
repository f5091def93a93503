"""Old months leave the database for Parquet files: no call is lost or counted twice, and every sum stays."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from sqlalchemy import event, select, text

from lib.access.roles import Actor, Origin, Role
from lib.cli import cli
from lib.clock import HOUR, MINUTE, to_micros
from lib.db.months.parts import BEFORE, Part, make_part, months, parts
from lib.db.tables import usage_archives, usage_events
from lib.errors import BadInput, Forbidden, ImportRejected, SettingsError, UsageArchived
from lib.exchange.archive import Archive, ArchiveBroken
from lib.exchange.archive_file import alone_in
from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.upstream import GOOD_KEY, PLATFORM_KEY


def at(month: int, day: int = 1, hour: int = 0, minute: int = 0) -> int:
    return to_micros(datetime(2026, month, day, hour, minute, tzinfo=UTC))


class Shop(Platform):
    """Two projects whose calls are made when the test says."""

    def __init__(self, settings: Settings) -> None:
        self.now = at(1)
        super().__init__(settings, clock=lambda: self.now)

    def call(self, *moments: int, project: str = "shop") -> None:
        for moment in moments:
            self.now = moment
            with self.run(project) as run:
                run.openai.responses.create(model="gpt-5-mini", input="Hi")

    def archive(self, folder: Path, before: int = at(4), actor: Actor | None = None) -> list[str]:
        done = Archive(self.database, folder, actor=actor or self.actor).run(before)
        return [month.month for month in done]

    def stored(self) -> list[str]:
        with self.database.read() as connection:
            return sorted(connection.execute(select(usage_events.c.event_id)).scalars())

    def figures(self, zone: str = "UTC") -> Any:
        """All that pages show of all of history."""
        everything = UsageFilter(zone=zone)
        reports = self.reports
        return (
            reports.totals(everything, actor=self.actor),
            reports.by_day(everything, actor=self.actor),
            reports.by_model(everything, actor=self.actor),
            reports.by_project(everything, actor=self.actor),
            self.caching.by_model(everything, actor=self.actor)
            if hasattr(self.caching, "by_model")
            else None,
            [self.caps.headroom(slug) for slug in ("shop", "own")],
        )

    def require_sums(self) -> None:
        assert list(rollups.verify(self.database)) == []


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder for the archive."""
    return tmp_path / "files"


def begin_months_at(platform: Platform, first: int) -> None:
    """PostgreSQL: as where calls were made since then, each month is a table of its own; there is none yet."""
    with platform.database.write() as connection:
        found = parts(connection)
        if found:
            connection.execute(text(f"DROP TABLE {BEFORE}"))
            for part in (Part(BEFORE, None, first), *months(first, found[0].until or 0)):
                make_part(connection, part)


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    made = Shop(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    begin_months_at(made, at(1))
    for slug in ("shop", "own"):
        made.projects.add(slug, actor=made.actor)
    made.keys.save("own", GOOD_KEY, actor=made.actor, expected_version=0)
    made.call(at(1, 5), at(1, 20, 13, 7), at(2, 3), at(3, 9), at(3, 31, 23, 59))
    made.call(at(1, 6), at(3, 30), project="own")
    made.call(at(4, 1, 0, 0), at(5, 20))
    made.call(at(5, 21), project="own")
    made.now = at(6, 1)
    yield made
    made.close()


def in_files(folder: Path) -> list[str]:
    found = (parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))
    return [event_id for table in found for event_id in table["event_id"].to_pylist()]


def test_every_sum_stays_and_each_call_is_in_one_file_or_here(shop: Shop, files: Path) -> None:
    before, calls = shop.figures(), shop.stored()
    assert shop.archive(files) == ["2026-01", "2026-02", "2026-03"]
    assert shop.figures() == before
    shop.require_sums()
    gone, left = in_files(files), shop.stored()
    assert sorted(gone + left) == calls
    assert len(left) == 4  # three of April and May, and the last one before that counts against the caps
    names = [path.name for path in sorted(files.iterdir())]
    assert names == [f"usage-2026-0{month}.parquet" for month in (1, 2, 3)]
    assert {path.stat().st_mode & 0o777 for path in files.iterdir()} == {0o600}


def test_what_the_caps_count_is_the_same_at_every_moment(shop: Shop, files: Path) -> None:
    def windows() -> Any:
        """As if nothing had been called since the months that go; and now."""
        found = []
        for moment in (at(5, 2), at(5, 20), at(5, 20, 4), at(5, 21), at(6, 1)):
            shop.now = moment
            found.append(shop.caps.headroom("shop"))
        shop.now = at(6, 1)
        return found

    before = windows()
    shop.archive(files)
    assert windows() == before
    shop.call(at(6, 2))
    shop.require_sums()


def test_a_later_archive_takes_the_call_that_stayed(shop: Shop, files: Path) -> None:
    calls = shop.stored()
    shop.archive(files, at(4))
    assert shop.archive(files, at(4)) == []
    figures = shop.figures()
    assert shop.archive(files, at(5)) == ["2026-04"]
    assert shop.figures() == figures
    shop.require_sums()
    assert set(Counter(in_files(files) + shop.stored()).values()) == {1}
    assert sorted(in_files(files) + shop.stored()) == calls


on_postgres = pytest.mark.parametrize("database_kind", ["postgresql"])


def part_names(shop: Shop) -> list[str]:
    with shop.database.read() as connection:
        return [part.name.removeprefix("usage_events_") for part in parts(connection)]


@on_postgres
def test_a_month_of_its_own_is_dropped_whole_and_what_stays_is_with_what_is_older(
    shop: Shop, files: Path
) -> None:
    deleted: list[str] = []
    statements = shop.database.engine
    event.listen(statements, "after_cursor_execute", lambda *told: deleted.append(told[2]))
    shop.archive(files)
    assert part_names(shop)[:3] == ["before", "2026_04", "2026_05"]
    assert not [each for each in deleted if each.startswith("DELETE FROM usage_events")]
    with shop.database.read() as connection:
        stays = connection.execute(text(f"SELECT occurred_at FROM {BEFORE}")).scalars().all()
        named = connection.execute(
            text("SELECT count(*) FROM pg_class WHERE relname LIKE '%2026\\_01%'")
        ).scalar()
    assert stays == [at(3, 31, 23, 59)]
    assert named == 0
    shop.call(at(6, 2))
    assert shop.archive(files, at(5)) == ["2026-04"]
    assert part_names(shop)[:2] == ["before", "2026_05"]
    shop.require_sums()


@on_postgres
def test_a_month_that_is_not_as_its_file_has_it_is_deleted_call_by_call(
    shop: Shop, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.exchange import archive

    drop, dropped = archive.drop_month, list[bool]()

    def later(database: Any, month_at: int, *more: Any) -> bool:
        with database.write() as connection:
            connection.execute(usage_events.delete().where(usage_events.c.occurred_at == at(1, 20, 13, 7)))
        dropped.append(drop(database, month_at, *more))
        return dropped[-1]

    monkeypatch.setattr(archive, "drop_month", later)
    calls = shop.stored()
    shop.archive(files)
    assert dropped == [False, True, True]
    assert set(in_files(files)) | set(shop.stored()) == set(calls)
    assert not set(in_files(files)) & set(shop.stored())


def test_one_archive_at_a_time_writes_into_a_folder(shop: Shop, files: Path) -> None:
    files.mkdir()
    with alone_in(files), pytest.raises(BadInput, match="Another archive writes into"):
        shop.archive(files)
    assert shop.archive(files)[0] == "2026-01"


def test_what_an_interrupted_archive_left_is_replaced_and_no_link_is_followed(
    shop: Shop, files: Path
) -> None:
    files.mkdir()
    other = files.parent / "other"
    other.write_bytes(b"of somebody")
    (files / "usage-2026-01.part").symlink_to(other)
    (files / "usage-2026-02.part").write_bytes(b"of a run that was killed")
    assert shop.archive(files) == ["2026-01", "2026-02", "2026-03"]
    assert other.read_bytes() == b"of somebody"
    assert len(list(files.iterdir())) == 3


class Stopped(BaseException):
    """What ends a program in the middle."""


def test_stopped_after_any_statement_nothing_is_lost_and_the_next_run_goes_on(
    shop: Shop, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.exchange.archive._DELETED_AT_ONCE", 1)
    figures, calls = shop.figures(), set(shop.stored())
    statements, stops = 0, 0
    limit = [10**9]

    def executed(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements >= limit[0]:
            raise Stopped

    event.listen(shop.database.engine, "after_cursor_execute", executed)
    for length in range(3, 400, 2):
        statements, limit[0] = 0, length
        try:
            shop.archive(files)
        except Stopped:
            stops += 1
        else:
            break
        finally:
            limit[0] = 10**9
        assert set(in_files(files)) | set(shop.stored()) == calls
        shop.require_sums()
        assert shop.figures() == figures
    assert stops > 5
    assert sorted(in_files(files) + shop.stored()) == sorted(calls)
    assert not list(files.glob("*.part"))


def test_without_its_file_as_it_was_written_nothing_more_is_deleted(
    shop: Shop, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lib.exchange.archive.drop_month", lambda *_: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            shop.archive(files)
    (file,) = files.glob("*.parquet")
    whole, calls = file.read_bytes(), shop.stored()
    for spoil in (lambda: file.write_bytes(whole[:-1]), file.unlink):
        spoil()
        with pytest.raises(ArchiveBroken, match="put the file back"):
            shop.archive(files)
        assert shop.stored() == calls
    file.write_bytes(whole)
    assert shop.archive(files)[0] == "2026-01"


def test_a_file_of_that_name_that_holds_something_else_is_left_alone(shop: Shop, files: Path) -> None:
    files.mkdir()
    other = files / "usage-2026-01.parquet"
    other.write_bytes(b"of another deployment")
    calls = shop.stored()
    with pytest.raises(BadInput, match="is there already"):
        shop.archive(files)
    assert other.read_bytes() == b"of another deployment"
    assert shop.stored() == calls
    assert list(files.iterdir()) == [other]


def test_what_was_written_and_is_not_what_was_read_deletes_nothing(
    shop: Shop, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.exchange import parquet_writer

    real = parquet_writer.EventsAsParquet.write
    monkeypatch.setattr(
        parquet_writer.EventsAsParquet, "write", lambda self, rows: real(self, rows[:-1] or rows)
    )
    calls = shop.stored()
    with pytest.raises(ArchiveBroken, match="Nothing was deleted"):
        shop.archive(files)
    assert shop.stored() == calls
    assert list(files.iterdir()) == []


@pytest.mark.parametrize("before", [at(4, 2), at(4) + 1, at(7)])
def test_only_whole_months_that_the_caps_do_not_need_are_taken(shop: Shop, files: Path, before: int) -> None:
    with pytest.raises(BadInput, match="2026-05-01 at the latest"):
        shop.archive(files, before)
    assert shop.archive(files, at(1)) == []


def test_only_administrators_archive(shop: Shop, files: Path) -> None:
    lead = Actor("lena@example.com", Origin.COMMAND_LINE, Role.LEAD)
    with pytest.raises(Forbidden):
        shop.archive(files, actor=lead)


# --- what needs single calls ------------------------------------------------------------------------------


def exported(shop: Shop, kind: str, since: int | None = None) -> bytes:
    out = BytesIO()
    export_usage(shop.database, UsageFilter(since=since, zone="UTC"), out, actor=shop.actor, format=kind)
    return out.getvalue()


def test_an_export_of_archived_calls_is_refused_and_the_daily_one_is_as_before(
    shop: Shop, files: Path
) -> None:
    days = exported(shop, "daily-csv")
    shop.archive(files)
    assert exported(shop, "daily-csv") == days
    for kind in ("csv", "parquet"):
        with pytest.raises(UsageArchived, match="before 2026-04-01"):
            exported(shop, kind)
    assert len(exported(shop, "csv", at(4)).splitlines()) == 1 + 3


@pytest.mark.parametrize("group", ["user", "key"])
def test_what_only_single_calls_tell_is_refused_and_not_told_of_the_others(
    shop: Shop, files: Path, group: str
) -> None:
    groups, reports, caching = shop.group_reports, shop.reports, shop.caching
    alone = UsageFilter(users=("",)) if group == "user" else UsageFilter(keys=("",))
    before = groups.page(UsageFilter(), group, actor=shop.actor)
    shop.archive(files)
    for ask in (
        lambda: groups.page(UsageFilter(), group, actor=shop.actor),
        lambda: groups.keys_over_time(UsageFilter(), actor=shop.actor),
        lambda: reports.totals(alone, actor=shop.actor),
        lambda: caching.by_model(alone, actor=shop.actor),
    ):
        with pytest.raises(UsageArchived, match="before 2026-04-01"):
            ask()
    later = groups.page(UsageFilter(since=at(4, 1, 0)), group, actor=shop.actor)
    assert 0 < later.everything.calls < before.everything.calls


def test_a_project_that_had_no_calls_then_is_exported_whole(shop: Shop, files: Path) -> None:
    shop.projects.add("new", actor=shop.actor)
    shop.call(at(6, 1, 1), project="new")
    shop.archive(files)
    out = BytesIO()
    done = export_usage(shop.database, UsageFilter(projects=("new",)), out, actor=shop.actor)
    assert done.rows == 1


def test_edges_that_take_single_calls_are_refused_and_whole_hours_are_not(shop: Shop, files: Path) -> None:
    shop.archive(files)
    part = UsageFilter(since=at(1, 20, 13) + 5 * MINUTE, until=at(6), zone="UTC")
    with pytest.raises(UsageArchived):
        shop.reports.totals(part, actor=shop.actor)
    whole = UsageFilter(since=at(1, 20, 13), until=at(1, 20, 13) + HOUR, zone="UTC")
    assert shop.reports.totals(whole, actor=shop.actor).calls == 1
    assert shop.reports.calls_missing_before(whole, actor=shop.actor) == at(4)
    assert shop.reports.calls_missing_before(UsageFilter(since=at(4)), actor=shop.actor) is None


def test_days_of_another_zone_are_put_together_from_hours_or_refused(shop: Shop, files: Path) -> None:
    berlin = shop.figures("Europe/Berlin")
    shop.archive(files)
    with pytest.raises(SettingsError, match="cannot become Asia/Kolkata"):
        rollups.set_zone(shop.database, "Asia/Kolkata")
    shop.require_sums()
    assert rollups.set_zone(shop.database, "Europe/Berlin")
    assert shop.figures("Europe/Berlin") == berlin
    shop.require_sums()


def test_a_repair_leaves_the_sums_of_archived_months(shop: Shop, files: Path) -> None:
    figures = shop.figures()
    shop.archive(files)
    with shop.database.write() as connection:
        connection.execute(
            text("UPDATE usage_daily SET calls = calls + 1, unpriced_calls = 0 WHERE day_at >= :day"),
            {"day": at(5)},
        )
    assert list(rollups.verify(shop.database))
    rollups.repair(shop.database)
    shop.require_sums()
    assert shop.figures() == figures


def test_a_run_says_how_many_of_its_calls_are_archived(shop: Shop, files: Path) -> None:
    with shop.database.read() as connection:
        run_ids = (
            connection.execute(select(usage_events.c.run_id).order_by(usage_events.c.occurred_at))
            .scalars()
            .all()
        )
    shop.archive(files)
    found = [shop.runs.show(run_id, actor=shop.actor) for run_id in run_ids]
    assert [detail.archived_calls for detail in found] == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert {detail.run.calls for detail in found} == {1}


def test_a_project_whose_calls_are_all_archived_is_not_deleted_with_its_sums(shop: Shop, files: Path) -> None:
    shop.projects.add("past", actor=shop.actor)
    row = b"occurred_at,project,model,input_tokens,output_tokens\n2026-01-07T00:00:00Z,past,gpt-5-mini,7,5\n"
    import_usage(shop.database, shop.prices, BytesIO(row), name="past.csv", actor=shop.actor)
    shop.archive(files)
    before = shop.figures()
    with pytest.raises(BadInput, match="Archive it instead"):
        shop.project_changes.delete("past", actor=shop.actor)
    assert shop.figures() == before


# --- the way back ------------------------------------------------------------------------------------------


def test_archived_months_come_into_no_database_that_has_their_sums_but_into_another_one(
    shop: Shop, settings: Settings, files: Path
) -> None:
    totals = shop.reports.totals(UsageFilter(until=at(4)), actor=shop.actor)
    shop.archive(files)
    archived = sorted(files.iterdir())
    with archived[0].open("rb") as file, pytest.raises(ImportRejected) as refused:
        import_usage(shop.database, shop.prices, file, name="x.parquet", actor=shop.actor)
    assert "before 2026-04-01, which is archived" in refused.value.problems[0][1]
    elsewhere = Platform(
        settings.model_copy(update={"database_url": f"sqlite:///{files.parent / 'other.db'}"})
    )
    for slug in ("shop", "own"):
        elsewhere.projects.add(slug, actor=elsewhere.actor)
    for path in archived:
        with path.open("rb") as file:
            import_usage(elsewhere.database, elsewhere.prices, file, name=path.name, actor=elsewhere.actor)
    found = elsewhere.reports.totals(UsageFilter(), actor=elsewhere.actor)
    elsewhere.close()
    kept = 1  # the call that the caps count from
    assert found.calls == totals.calls - kept
    assert found.byok_nano == totals.byok_nano


def test_duckdb_reads_them(shop: Shop, files: Path) -> None:
    shop.archive(files)
    found = duckdb.sql(
        f"SELECT project, source, count(*), sum(cost_usd) FROM '{files}/usage-*.parquet' GROUP BY 1, 2 ORDER BY 1"
    ).fetchall()
    assert [(project, source, calls) for project, source, calls, _ in found] == [
        ("own", "byok", 2),
        ("shop", "platform", 4),
    ]


@pytest.mark.parametrize("group", ["usage", "db"])
def test_the_command_tells_each_month_and_the_database_keeps_what_it_was(
    shop: Shop, settings: Settings, files: Path, group: str
) -> None:
    assert settings.master_keys
    environment = {"DATABASE_URL": settings.database_url, "QODEX_MASTER_KEYS": settings.master_keys.reveal()}
    words = [group, "archive", "--before", "2026-04-01", "--folder", str(files), "--yes", "--json"]
    done = CliRunner().invoke(cli, words, env=environment)
    assert done.exit_code == 0, done.output
    assert [month["rows"] for month in json.loads(done.stdout)] == [3, 1, 2]
    assert "2026-01: 3 calls" in done.stderr
    with shop.database.read() as connection:
        rows = connection.execute(select(usage_archives).order_by(usage_archives.c.month_at)).all()
        audited = connection.execute(
            text("SELECT count(*) FROM audit_log WHERE action = 'usage:archived'")
        ).scalar_one()
    assert [(row.file, row.rows, row.deleted_at is not None) for row in rows] == [
        ("usage-2026-01.parquet", 3, True),
        ("usage-2026-02.parquet", 1, True),
        ("usage-2026-03.parquet", 2, True),
    ]
    assert audited == 3

"""Bars = table = total = SQL over the events, for any filter, zone and period, to the nano-USD."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib.access.projects import visible_ids
from lib.access.roles import Actor, Origin, local_administrator
from lib.clock import HOUR, MINUTE, from_micros, to_micros
from lib.db import Database
from lib.db.tables import usage_daily_models, usage_daily_totals, usage_hourly_totals
from lib.exchange.daily_summary import single_days
from lib.reports.models import SpendTotals, Totals, UsageFilter
from lib.reports.segments import plan, plan_days
from lib.reports.spend import Reports
from lib.usage import rollups
from lib.usage.periods import hours_between, midnight
from tests.events import put_anew
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE)
# Both changes of the clocks in Europe and America lie in this stretch.
START = to_micros(datetime(2026, 10, 20, tzinfo=UTC))
SPAN = 21 * 24 * HOUR
# Half an hour before its clocks are put back by half an hour: at two o'clock it is half past one again.
LORD_HOWE = to_micros(datetime(2026, 4, 4, 14, 30, tzinfo=UTC))
ZONES = [
    "UTC",
    "America/Los_Angeles",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Europe/Berlin",
    "Australia/Lord_Howe",
]

moments = st.one_of(
    st.integers(START, START + SPAN - 1),
    st.integers(0, SPAN // HOUR - 1).map(lambda hour: START + hour * HOUR),
    st.integers(0, SPAN // (15 * MINUTE) - 1).map(lambda quarter: START + quarter * 15 * MINUTE - 1),
)
events = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_at": moments,
            "project": st.sampled_from(["one", "two"]),
            "source": st.sampled_from(["platform", "byok"]),
            "model": st.sampled_from(["gpt-5", "gpt-5-mini"]),
            "status": st.sampled_from(["ok", "ok", "ok", "error", "broken", "abandoned", "unknown"]),
            "run_kind": st.sampled_from(["scan", None]),
            "cost_nano": st.one_of(st.none(), st.integers(0, 10**13)),
            "input_tokens": st.integers(0, 10**6),
            "output_tokens": st.integers(0, 10**6),
        }
    ),
    max_size=25,
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "projects": st.just(("one",)),
        "sources": st.just(("byok",)),
        "models": st.just(("gpt-5",)),
        "kinds": st.just(("scan",)),
        "statuses": st.just(("ok",)),
        "since": moments,
        "until": moments,
        "zone": st.sampled_from(ZONES),
    },
)


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    for slug in ("one", "two"):
        projects_of(database).add(slug, actor=ADMIN)
    yield database
    database.close()


def _matches(event: dict[str, object], wanted: UsageFilter) -> bool:
    return (
        (not wanted.projects or event["project"] in wanted.projects)
        and (not wanted.sources or event["source"] in wanted.sources)
        and (not wanted.models or event["model"] in wanted.models)
        and (not wanted.kinds or event["run_kind"] in wanted.kinds)
        and (not wanted.statuses or event["status"] in wanted.statuses)
        and (wanted.since is None or event["occurred_at"] >= wanted.since)
        and (wanted.until is None or event["occurred_at"] < wanted.until)
    )


def _spend(found: list[dict[str, object]]) -> SpendTotals:
    return SpendTotals(*_money(found)[1:3])


def _money(found: list[dict[str, object]]) -> tuple[int, int, int, int]:
    return (
        len(found),
        sum(event["cost_nano"] or 0 for event in found if event["source"] == "platform"),
        sum(event["cost_nano"] or 0 for event in found if event["source"] == "byok"),
        sum(event["cost_nano"] is None for event in found),
    )


@pytest.mark.parametrize("kept", ["UTC", "Pacific/Apia"])
def test_a_day_that_a_zone_skipped_is_no_day_of_any_view(database, kept):
    """Samoa went from 29 to 31 December 2011, to the other side of the date line."""
    zone = ZoneInfo("Pacific/Apia")
    rollups.set_zone(database, kept)
    times = [to_micros(datetime(2011, 12, 30, hour, 30, tzinfo=UTC)) for hour in (8, 9, 10, 11)]
    put_anew(
        database,
        [
            {"occurred_at": at, "project": "one", "source": "byok", "model": "m", "cost_nano": 1}
            | {"input_tokens": 1, "output_tokens": 1}
            for at in times
        ],
    )
    calls = [(date(2011, 12, 29), 2), (date(2011, 12, 31), 2)]
    since, until = midnight(date(2011, 12, 29), zone), midnight(date(2012, 1, 1), zone)
    for period in (UsageFilter(), UsageFilter(since=since, until=until)):
        wanted = replace(period, zone=zone.key)
        assert [(row.day, row.calls) for row in Reports(database).by_day(wanted, actor=ADMIN)] == calls
        with database.read() as connection:
            ids = visible_ids(connection, ADMIN, ())
            daily = [row for rows in single_days(connection, wanted, ids) for row in rows]
        assert [(row.day, row.totals.calls) for row in daily] == calls


@settings(max_examples=20)
@given(drawn=events, wanted=filters)
def test_the_sums_of_each_model_of_each_project_are_the_sums_of_the_projects_and_of_the_models(
    database, drawn, wanted
):
    put_anew(database, drawn)
    wanted, reports = UsageFilter(**wanted), Reports(database)
    projects, models = defaultdict(Totals), defaultdict(Totals)
    for (project, (provider, model)), sums in reports.by_project_and_model(wanted, actor=ADMIN).items():
        assert provider == "openai"
        projects[project].add(sums)
        models[model].add(sums)
    assert {slug: vars(row) for slug, row in reports.by_project(wanted, actor=ADMIN).items()} == {
        slug: {**vars(sums), "project": slug} for slug, sums in projects.items()
    }
    assert {row.model: row.total_nano for row in reports.by_model(wanted, actor=ADMIN)} == {
        model: sums.total_nano for model, sums in models.items()
    }


@settings(max_examples=40)
@given(drawn=events, wanted=filters)
def test_every_view_is_the_plain_sum_over_the_events(database, drawn, wanted):
    put_anew(database, drawn)
    wanted = UsageFilter(**wanted)
    reports = Reports(database)
    found = [event for event in drawn if _matches(event, wanted)]

    totals = reports.totals(wanted, actor=ADMIN)
    days = reports.by_day(wanted, actor=ADMIN)
    with database.read() as connection:
        ids = visible_ids(connection, ADMIN, wanted.projects)
        daily = [row for rows in single_days(connection, wanted, ids) for row in rows]

    expected = _money(found)
    assert expected == (totals.calls, totals.platform_nano, totals.byok_nano, totals.unpriced_calls)
    by_day: dict[date, list[dict[str, object]]] = defaultdict(list)
    for event in found:
        by_day[from_micros(event["occurred_at"]).astimezone(ZoneInfo(wanted.zone)).date()].append(event)
    assert {day: _money(rows) for day, rows in by_day.items()} == {
        row.day: (row.calls, row.platform_nano, row.byok_nano, row.unpriced_calls)
        for row in days
        if row.calls
    }
    assert expected[0] == sum(row.totals.calls for row in daily)
    assert expected[1] + expected[2] == sum(row.totals.total_nano for row in daily)
    for rows in (reports.by_model(wanted, actor=ADMIN), reports.by_project(wanted, actor=ADMIN).values()):
        assert expected[1:3] == (sum(r.platform_nano for r in rows), sum(r.byok_nano for r in rows))


@settings(max_examples=25)
@given(drawn=events, zone=st.sampled_from(ZONES))
def test_another_reporting_zone_rebuilds_the_days_and_loses_nothing(database, drawn, zone):
    put_anew(database, drawn)

    rollups.set_zone(database, zone)

    assert list(rollups.verify(database)) == []
    assert _money(drawn)[0] == Reports(database).totals(UsageFilter(), actor=ADMIN).calls


def test_verify_names_a_difference_and_repair_mends_it(database):
    event = {
        "occurred_at": START + 5,
        "project": "one",
        "source": "byok",
        "model": "gpt-5",
        "status": "ok",
        "run_kind": "scan",
        "cost_nano": 7,
        "input_tokens": 1,
        "output_tokens": 1,
    }
    put_anew(database, [event])
    with database.write() as connection:
        connection.execute(rollups.usage_hourly.update().values(cost_nano=8))

    (difference,) = rollups.verify(database)
    rollups.repair(database)

    assert (
        difference.project,
        difference.table,
        difference.stored[2],
        difference.events[2],
    ) == ("one", "usage_hourly", 8, 7)
    assert list(rollups.verify(database)) == []


@pytest.mark.parametrize(
    "table", [usage_hourly_totals, usage_daily_totals, usage_daily_models], ids=lambda table: table.name
)
def test_verify_names_a_total_that_is_not_its_roll_ups_and_repair_mends_it(database, table):
    event = {"project": "one", "source": "byok", "model": "gpt-5", "status": "error", "run_kind": None}
    event |= {"occurred_at": START + 5, "cost_nano": 7, "input_tokens": 1, "output_tokens": 1}
    put_anew(database, [event])
    with database.write() as connection:
        connection.execute(table.update().values(error_calls=8))

    (difference,) = rollups.verify(database)
    rollups.repair(database)

    assert (difference.project, difference.table, difference.key[1]) == ("one", table.name, "byok")
    assert list(rollups.verify(database)) == []
    assert Reports(database).totals(UsageFilter(), actor=ADMIN).error_calls == 1


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu"])
def test_years_of_days_that_begin_within_an_hour_are_summed_all_the_same(database, zone):
    """SQLite takes 500 terms in a union; two years have more days' beginnings than that."""
    plain = {"project": "one", "source": "byok", "model": "m", "status": "ok", "run_kind": None}
    plain |= {"cost_nano": 1, "input_tokens": 0, "output_tokens": 0}
    evenings = [START - days * 24 * HOUR + 18 * HOUR for days in range(0, 730, 73)]
    moments = [evening + minutes * MINUTE for evening in evenings for minutes in range(0, 60, 5)]
    drawn = [plain | {"occurred_at": moment} for moment in moments]
    put_anew(database, drawn)
    wanted = UsageFilter(since=START - 730 * 24 * HOUR, until=START + 2 * 24 * HOUR, zone=zone)

    days = Reports(database).by_day(wanted, actor=ADMIN)

    expected = Counter(from_micros(event["occurred_at"]).astimezone(ZoneInfo(zone)).date() for event in drawn)
    assert expected == {row.day: row.calls for row in days if row.calls}
    assert len(days) > 730


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_days_without_calls_are_there_with_zeros(database):
    since, until = START, START + 3 * 24 * HOUR
    put_anew(database, [])

    days = Reports(database).by_day(UsageFilter(since=since, until=until), actor=ADMIN)

    assert [date(2026, 10, 20) + timedelta(days=n) for n in range(3)] == [row.day for row in days]
    assert {0} == {row.total_nano for row in days}


@given(since=moments, length=st.integers(0, SPAN), zone=st.sampled_from(ZONES), rollup=st.sampled_from(ZONES))
@example(since=START, length=24 * HOUR, zone="UTC", rollup="UTC")
def test_segments_cover_a_period_once_and_without_gaps(since, length, zone, rollup):
    until = since + length
    for segments in (plan(since, until, ZoneInfo(rollup)), plan_days(since, until, ZoneInfo(zone))):
        at, answered_twice = since, [one for one in segments if one.grain == "event" and one.cuts]
        assert [replace(one, grain="hour") for one in answered_twice] == [
            one for one in segments if one.grain == "hour" and one.cuts
        ]
        for segment in (one for one in segments if one not in answered_twice):
            assert at == segment.since
            at = segment.until
        assert (until if length else since) == at


def test_hours_of_a_day_with_25_hours_belong_to_one_day(database):
    berlin = ZoneInfo("Europe/Berlin")
    first = to_micros(datetime(2026, 10, 25, tzinfo=berlin))
    base = {"project": "one", "source": "byok", "model": "m", "status": "ok", "run_kind": None}
    base |= {"cost_nano": 1, "input_tokens": 0, "output_tokens": 0}
    put_anew(database, [base | {"occurred_at": first + hour * HOUR} for hour in range(25)])

    days = Reports(database).by_day(UsageFilter(zone="Europe/Berlin"), actor=ADMIN)

    assert [(date(2026, 10, 25), 25)] == [(row.day, row.byok_nano) for row in days]


def test_no_project_is_summed_that_the_actor_may_not_see(database):
    outsider = Actor(name="x", origin=Origin.BROWSER)
    put_anew(
        database,
        [
            {
                "occurred_at": START,
                "project": "one",
                "source": "byok",
                "model": "m",
                "status": "ok",
                "run_kind": None,
                "cost_nano": 1,
                "input_tokens": 0,
                "output_tokens": 0,
            }
        ],
    )

    assert Reports(database).totals(UsageFilter(), actor=outsider).calls == 0


@settings(max_examples=40)
@given(drawn=events, since=moments, length=st.integers(1, 50 * HOUR), zone=st.sampled_from(ZONES))
@example(drawn=[], since=LORD_HOWE, length=HOUR, zone="Australia/Lord_Howe")
def test_hours_are_those_of_the_clocks_of_the_zone_and_the_sums_of_their_events(
    database, drawn, since, length, zone
):
    """Also where they begin at half past or a quarter to an hour of UTC, and where the clocks change."""
    put_anew(database, drawn)
    wanted = UsageFilter(since=since, until=since + length, zone=zone)
    hours = Reports(database).by_hour(wanted, actor=ADMIN)

    clock = {at: _hour_on_the_clock(at, zone) for at in range(since - since % MINUTE, since + length, MINUTE)}
    assert list(dict.fromkeys(clock.values())) == [_hour_on_the_clock(row.at, zone) for row in hours]
    for row in hours:
        assert (
            from_micros(row.at).astimezone(ZoneInfo(zone)).minute % 60 == 0 or zone == "Australia/Lord_Howe"
        )
        found = [
            event
            for event in drawn
            if _matches(event, wanted)
            and _hour_on_the_clock(event["occurred_at"], zone) == _hour_on_the_clock(row.at, zone)
        ]
        assert _money(found) == (row.calls, row.platform_nano, row.byok_nano, row.unpriced_calls)
    assert sum(row.calls for row in hours) == Reports(database).totals(wanted, actor=ADMIN).calls


def _hour_on_the_clock(at: int, zone: str) -> tuple[date, int, timedelta]:
    """What tells an hour from all others: a clock that is put back shows some of them twice."""
    local = from_micros(at).astimezone(ZoneInfo(zone))
    return local.date(), local.hour, local.utcoffset()


@given(year=st.integers(1850, 2100), zone=st.sampled_from(ZONES))
def test_hours_end_also_in_years_whose_clocks_ran_by_the_sun(year, zone):
    since = to_micros(datetime(year, 6, 1, tzinfo=ZoneInfo(zone)))
    assert len(hours_between(since, since + 24 * HOUR, ZoneInfo(zone))) in {24, 25}


@settings(max_examples=15)
@given(drawn=events, wanted=filters)
def test_hours_of_utc_and_days_of_projects_are_the_sums_of_their_events(database, drawn, wanted):
    whole = {"since": START, "until": START + SPAN}
    put_anew(database, drawn)
    wanted = UsageFilter(**(whole | wanted))
    found = [event for event in drawn if _matches(event, wanted)]
    hours: dict[int, list[dict[str, object]]] = defaultdict(list)
    days: dict[tuple[object, date], list[dict[str, object]]] = defaultdict(list)
    for event in found:
        at = event["occurred_at"]
        hours[at - at % HOUR].append(event)
        days[event["project"], from_micros(at).astimezone(ZoneInfo(wanted.zone)).date()].append(event)

    by_hour = Reports(database).by_utc_hour(wanted, actor=ADMIN)
    by_project = Reports(database).project_days(wanted, actor=ADMIN)

    assert {at: _spend(rows) for at, rows in hours.items()} == by_hour
    assert {key: _spend(rows) for key, rows in days.items()} == {
        (slug, day): spend for slug, found in by_project.items() for day, spend in found.items()
    }


@settings(max_examples=15)
@given(drawn=events, wanted=filters)
def test_each_status_and_each_sources_unknown_costs_are_counted_apart(database, drawn, wanted):
    put_anew(database, drawn)
    wanted = UsageFilter(**wanted)
    found = [event for event in drawn if _matches(event, wanted)]

    sums = Reports(database).totals(wanted, actor=ADMIN)

    for status in ("ok", "error", "broken", "abandoned", "unknown"):
        assert sum(event["status"] == status for event in found) == getattr(sums, f"{status}_calls")
    without = Counter(event["project"] for event in found if event["cost_nano"] is None)
    assert Reports(database).without_price(wanted, actor=ADMIN) == without
    unpriced = [event["source"] for event in found if event["cost_nano"] is None]
    assert unpriced.count("platform") == sums.platform_unpriced_calls
    assert unpriced.count("byok") == sums.byok_unpriced_calls


def _of(sums: Totals) -> tuple[int, int, int, int]:
    return sums.calls, sums.platform_nano, sums.byok_nano, sums.unpriced_calls

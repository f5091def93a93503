"""The sample data: every state is there, by the rules of real data; apart from it; and gone without a trace."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from click.testing import CliRunner
from sqlalchemy import func, insert, select

from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.caps.windows import WINDOWS
from lib.cli import cli
from lib.clock import DAY, HOUR, to_micros
from lib.db import Database
from lib.db.tables import accounts, members, metadata, projects, runs, usage_events
from lib.errors import BadInput, Forbidden, MasterKeyMissing, SampleProject
from lib.exchange.export import export_usage
from lib.platform import Platform
from lib.pricing.prices import PriceBook
from lib.reports.spend import UsageFilter
from lib.runs.log import RunFilter
from lib.sample import load
from lib.sample.projects import PLAN_CAPS, STORIES
from lib.sample.simulate import Cast, Played, play
from lib.sample.traffic import draft_runs
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from lib.vault.masters import Keyring
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream

ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
DAYS = 8
NOW = to_micros(datetime(2026, 11, 23, 14, 20, tzinfo=UTC))
AT_CAP, NEAR_CAP, LOCKED, FAILING = (
    f"sample-{name}" for name in ("payments-core", "checkout-api", "partner-webhooks", "mobile-bff")
)
WORKING, FALLS_BACK = "sample-storefront-web", "sample-search-ranking"
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """The front door at the time the sample data ends, with a platform key and one real project."""
    given = settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)})
    front_door = Platform(given, actor=ADMIN, clock=lambda: NOW)
    front_door.projects.add("checkout-api", actor=ADMIN)
    yield front_door
    front_door.close()


@pytest.fixture
def loaded(platform: Platform) -> Platform:
    """The same with the sample data, a short one."""
    load.load(platform.database, platform.keyring, ADMIN, NOW, days=DAYS)
    return platform


def counts(database: Database) -> dict[str, int]:
    """Rows of every table."""
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


# --- what is there ---------------------------------------------------------------------------------


def test_every_state_is_there(loaded):
    listed = loaded.projects.list(actor=ADMIN, sample=True)
    assert len(listed) == 8
    assert all(project.slug.startswith("sample-") for project in listed)
    assert all(project.name.endswith("(sample)") for project in listed)

    keys = loaded.keys.describe_all(actor=ADMIN, sample=True)
    assert Counter(state.status for state in keys.values()) == {
        "none": 4,
        "working": 2,
        "failing": 1,
        "locked": 1,
    }
    assert (keys[FAILING].status, keys[LOCKED].status) == ("failing", "locked")
    assert (keys[FAILING].failure_status, keys[FAILING].failure_code) == (401, "invalid_api_key")

    full = loaded.caps.headroom(AT_CAP, actor=ADMIN).windows["5h"]
    assert (full.percent, full.free_nano) == (100, 0)
    assert NOW + HOUR < full.returns_at < NOW + 2 * HOUR
    near = loaded.caps.headroom(NEAR_CAP, actor=ADMIN).windows
    assert 85 <= near["7d"].percent <= 86
    assert near["5h"].percent < 80

    found, total = loaded.runs.list(RunFilter(sample=True, limit=1_000), actor=ADMIN)
    assert total == len(found) > 200
    statuses = {(run.project, run.status, run.stopped_by) for run in found}
    assert {
        (AT_CAP, "waiting", None),
        (AT_CAP, "refused", "cap"),
        (NEAR_CAP, "budget_exceeded", "budget"),
        ("sample-identity-service", "failed", None),
        ("sample-identity-service", "lost", None),
        (LOCKED, "error", None),
        (FAILING, "error", None),
        (WORKING, "passed", None),
    } <= statuses
    assert {run.resumes_at for run in found if run.status == "waiting"} == {full.returns_at}

    sums = loaded.reports.totals(UsageFilter(sample=True), actor=ADMIN)
    assert min(sums.ok_calls, sums.error_calls, sums.abandoned_calls, sums.unknown_calls) > 0
    assert loaded.reports.totals(UsageFilter(sample=True, statuses=("ok",)), actor=ADMIN).unpriced_calls > 0
    assert loaded.reports.by_project(UsageFilter(sample=True), actor=ADMIN)[FALLS_BACK].platform_calls > 0


def test_the_rules_of_real_data_hold(loaded):
    """Running totals, accounts, runs and roll-ups are the sums of the calls, to the nano-USD."""
    assert list(rollups.verify(loaded.database)) == []
    with loaded.database.read() as connection:
        totals = {row.project_id: row for row in connection.execute(select(accounts))}
        stored = {row.run_id: row for row in connection.execute(select(runs))}
        events = connection.execute(
            select(usage_events).order_by(usage_events.c.project_id, usage_events.c.occurred_at)
        ).all()
    counted = [event for event in events if event.sequence is not None]
    for project_id, account in totals.items():
        mine = [event for event in counted if event.project_id == project_id]
        assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
        for before, event in pairwise([None, *mine]):
            total = before.counted_after_nano if before else 0
            unknown = before.unknown_after_nano if before else 0
            took = event.counted_after_nano - total
            assert event.unknown_after_nano - unknown == (took if event.cost_nano is None else 0)
            assert took >= 0 if event.cost_nano is None else took == event.cost_nano
        if mine:
            assert (account.counted_nano, account.unknown_nano, account.last_settled_at) == (
                mine[-1].counted_after_nano,
                mine[-1].unknown_after_nano,
                mine[-1].occurred_at,
            )
    of_runs: dict[str, list[int]] = {run_id: [0, 0, 0, 0] for run_id in stored}
    for event in events:
        used = (event.input_tokens or 0) + (event.output_tokens or 0)
        cost = event.cost_nano or 0
        sums = (1, used, cost * (event.source == "platform"), cost * (event.source == "byok"))
        of_runs[event.run_id] = [old + new for old, new in zip(of_runs[event.run_id], sums, strict=True)]
    assert of_runs == {
        run_id: [run.calls, run.tokens, run.platform_nano, run.byok_nano] for run_id, run in stored.items()
    }


@pytest.mark.parametrize("hours", [0, 62, 107])
def test_the_states_are_there_at_any_time_of_the_week_and_no_window_was_ever_above_its_cap(hours):
    now = NOW + hours * HOUR
    for story in STORIES:
        told = _played(story, now)
        if story.name == "payments-core":
            assert _in_window(told, "5h", now) == PLAN_CAPS["Team"]["5h"]
        if story.key is not None and story.key.rejected is not None:
            assert any(event["http_status"] == 401 for event in told.events)
        platform = [event for event in told.events if event["sequence"] is not None]
        for name, cap in PLAN_CAPS[story.plan].items():
            assert all(_in_window(told, name, event["occurred_at"]) <= cap for event in platform[::25])
        assert all(run["started_at"] < run["ended_at"] <= now for run in told.runs)


def _played(story, now):
    cast = Cast("a-project", f"sample-{story.name}", "The key is locked.")
    return play(story, cast, draft_runs(story, now, DAYS), PriceBook(), now)


def _in_window(told: Played, name: str, at: int) -> int:
    totals = {
        event["occurred_at"]: event["counted_after_nano"]
        for event in told.events
        if event["sequence"] is not None
    }
    upto = max((total for moment, total in totals.items() if moment <= at), default=0)
    return upto - max((total for moment, total in totals.items() if moment <= at - WINDOWS[name]), default=0)


def test_the_same_moment_gives_the_same_data():
    assert all(_played(story, NOW) == _played(story, NOW) for story in STORIES)


# --- apart from what is real -----------------------------------------------------------------------


def _add_real_call(platform: Platform) -> None:
    (project,) = platform.projects.list(actor=ADMIN)
    row = {
        "project_id": project.id,
        "event_id": "e1",
        "occurred_at": NOW - DAY,
        "source": "byok",
        "provider": "openai",
        "model": "gpt-5",
        "endpoint": "responses",
        "status": "ok",
        "cost_nano": 7,
        "imported": True,
    }
    with platform.database.write() as connection:
        connection.execute(insert(usage_events), row)
        rollups.rebuild(connection, project.id, NOW - DAY, NOW)


def _exported(platform: Platform, wanted: UsageFilter, kind: str) -> list[str]:
    out = io.BytesIO()
    export_usage(platform.database, wanted, out, actor=ADMIN, format=kind)
    return out.getvalue().decode().splitlines()


def test_real_totals_lists_and_exports_leave_it_out(loaded):
    _add_real_call(loaded)
    reports = loaded.reports

    assert reports.totals(UsageFilter(), actor=ADMIN).total_nano == 7
    assert [row.model for row in reports.by_model(UsageFilter(), actor=ADMIN)] == ["gpt-5"]
    assert reports.choices(actor=ADMIN).models == ["gpt-5"]
    assert [project.slug for project in loaded.projects.list(actor=ADMIN)] == ["checkout-api"]
    assert len(loaded.projects.list(actor=ADMIN, sample=None)) == 9
    assert list(loaded.keys.describe_all(actor=ADMIN)) == ["checkout-api"]
    assert list(loaded.caps.headroom_all(actor=ADMIN)) == ["checkout-api"]
    assert len(loaded.caps.headroom_all(actor=ADMIN, sample=True)) == 8
    assert loaded.runs.list(RunFilter(), actor=ADMIN) == ([], 0)
    assert [len(_exported(loaded, UsageFilter(), kind)) for kind in ("csv", "daily-csv")] == [2, 2]


def test_it_is_counted_where_it_is_asked_for_and_never_together_with_what_is_real(loaded):
    _add_real_call(loaded)
    whole = loaded.reports.totals(UsageFilter(sample=True), actor=ADMIN)
    named = loaded.reports.totals(UsageFilter(projects=(WORKING,)), actor=ADMIN)

    assert whole.total_nano > named.total_nano > 0
    assert "gpt-5.5-preview" in loaded.reports.choices(actor=ADMIN, sample=True).models
    assert len(_exported(loaded, UsageFilter(sample=True), "csv")) == whole.calls + 1
    assert len(_exported(loaded, UsageFilter(projects=(WORKING,)), "csv")) == named.calls + 1
    assert loaded.runs.list(RunFilter(projects=(WORKING,)), actor=ADMIN)[1] > 0
    with pytest.raises(BadInput, match="never counted together"):
        loaded.reports.totals(UsageFilter(projects=("checkout-api", WORKING)), actor=ADMIN)


@pytest.mark.parametrize("slug", [WORKING, "sample-identity-service"])
def test_no_call_and_no_key_of_it_ever_leaves(loaded, upstream: ScriptedUpstream, slug):
    with pytest.raises(SampleProject, match="is sample data"), loaded.run(slug, kind="chat") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hello")
    with pytest.raises(SampleProject):
        loaded.keys.resolve(slug)
    with pytest.raises(SampleProject):
        loaded.keys.save(slug, GOOD_KEY)
    with pytest.raises(SampleProject):
        loaded.keys.check(slug)
    assert upstream.requests == []


def test_workers_never_get_its_waiting_runs(settings):
    late = Platform(settings, actor=ADMIN, clock=lambda: NOW + 9 * HOUR)
    load.load(late.database, late.keyring, ADMIN, NOW, days=DAYS)

    assert late.due_runs() == []
    late.close()


# --- coming and going ------------------------------------------------------------------------------


def test_removed_it_leaves_nothing_but_two_audit_rows(platform):
    before = counts(platform.database)
    load.load(platform.database, platform.keyring, ADMIN, NOW, days=DAYS)
    assert load.is_loaded(platform.database)
    with platform.database.write() as connection:  # what people may do while it is there
        project_id = connection.execute(select(projects.c.id).where(projects.c.slug == WORKING)).scalar_one()
        row = {"scope": project_id, "email": "a@example.com", "role": "lead", "added_at": 1, "added_by": "b"}
        connection.execute(insert(members), row)
    with pytest.raises(SampleProject), platform.run(WORKING, kind="scan") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hello")

    removed = load.remove(platform.database, ADMIN)

    assert removed.calls > 3_000
    assert not load.is_loaded(platform.database)
    assert counts(platform.database) == before | {"audit_log": before["audit_log"] + 2}
    log, _ = platform.audit.list(_newest(2), actor=ADMIN)
    assert [(row.action, row.actor) for row in log] == [
        ("sample:removed", "operator"),
        ("sample:loaded", "operator"),
    ]


def _newest(limit: int):
    from lib.access.auditlog import AuditFilter

    return AuditFilter(limit=limit)


def test_it_comes_once_and_goes_once(loaded):
    before = counts(loaded.database)
    with pytest.raises(BadInput, match="is there already"):
        load.load(loaded.database, loaded.keyring, ADMIN, NOW, days=DAYS)
    assert counts(loaded.database) == before

    load.remove(loaded.database, ADMIN)
    with pytest.raises(BadInput, match="no sample data"):
        load.remove(loaded.database, ADMIN)
    load.load(loaded.database, loaded.keyring, ADMIN, NOW, days=DAYS)
    assert counts(loaded.database) == before | {"audit_log": before["audit_log"] + 2}


def test_a_real_project_keeps_its_name(platform):
    platform.projects.add(WORKING, actor=ADMIN)

    loaded = load.load(platform.database, platform.keyring, ADMIN, NOW, days=1)
    removed = load.remove(platform.database, ADMIN)

    assert f"{WORKING}-2" in loaded.projects
    assert sorted(loaded.projects) == removed.projects
    assert [project.slug for project in platform.projects.list(actor=ADMIN)] == ["checkout-api", WORKING]


@on_sqlite
def test_only_administrators_load_and_remove_it(platform):
    lead = Actor("lead@example.com", Origin.BROWSER, everywhere=Role.LEAD)
    before = counts(platform.database)
    with pytest.raises(Forbidden):
        load.load(platform.database, platform.keyring, lead, NOW, days=1)
    with pytest.raises(Forbidden):
        load.remove(platform.database, lead)
    with pytest.raises(MasterKeyMissing):
        load.load(platform.database, Keyring(), ADMIN, NOW, days=1)
    assert counts(platform.database) == before


@on_sqlite
def test_plans_that_were_changed_do_not_change_its_states(platform):
    from lib.caps.plans import Plans

    Plans(platform.database).set("Team", cap_5h_nano=10**15, cap_7d_nano=10**15, actor=ADMIN)
    load.load(platform.database, platform.keyring, ADMIN, NOW, days=DAYS)

    assert platform.caps.headroom(AT_CAP, actor=ADMIN).windows["5h"].percent == 100
    assert 85 <= platform.caps.headroom(NEAR_CAP, actor=ADMIN).windows["7d"].percent <= 86


@on_sqlite
def test_the_command_line_loads_and_removes_it(settings, master_key, monkeypatch):
    monkeypatch.setattr(load, "DAYS", 1)
    environment = {"DATABASE_URL": settings.database_url, "QODEX_MASTER_KEYS": master_key}

    def run(*words: str, typed: str = ""):
        return CliRunner().invoke(cli, words, input=typed, env=environment)

    loaded, again = run("demo", "load"), run("demo", "load")
    kept, removed = run("demo", "remove", typed="n\n"), run("demo", "remove", "--yes")
    gone = run("demo", "remove", "--yes")

    assert [each.exit_code for each in (loaded, again, kept, removed, gone)] == [0, 1, 1, 0, 1]
    assert "8 sample projects" in loaded.stderr
    assert again.stderr.endswith("Remove it first to load it again.\n")
    assert "Removed 8 sample projects" in removed.stderr
    assert {each.stdout for each in (loaded, again, removed, gone)} == {""}

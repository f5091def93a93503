"""The sample data: every state is there, made by the ledger itself; a deployment of its own; gone without a trace."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from click.testing import CliRunner
from sqlalchemy import func, insert, select, update

from lib.access.audit import Tag
from lib.access.auditlog import AuditFilter
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.cli import cli
from lib.clock import HOUR, to_micros
from lib.db import Database
from lib.db.migrations.versions import v0009_sample_deployment
from lib.db.tables import accounts, members, metadata, open_calls, projects, usage_events
from lib.errors import BadInput, Forbidden, SampleProject
from lib.exchange.export import export_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.runs.log import RunFilter
from lib.sample import deployment
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.upstream import CLAUDE_PLATFORM_KEY, GOOD_KEY, PLATFORM_KEY, ScriptedUpstream
from tests.whole import whole_or

ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
DAYS = 9
NOW = to_micros(datetime(2026, 11, 23, 14, 20, tzinfo=UTC))
AT_CAP, NEAR_CAP, LOCKED, FAILING = "payments-core", "checkout-api", "partner-webhooks", "mobile-bff"
WORKING, FALLS_BACK = "storefront-web", "search-ranking"
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """The real front door, with a platform key and one project."""
    front_door = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}), actor=ADMIN)
    front_door.projects.add(NEAR_CAP, actor=ADMIN)
    yield front_door
    if deployment.is_loaded(front_door.settings):
        deployment.remove(front_door, ADMIN)
    front_door.close()


def opened(platform: Platform) -> Platform:
    """The sample deployment at the time that its history ends."""
    return Platform(deployment.sample_settings(platform.settings), actor=ADMIN, clock=lambda: NOW)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A sample deployment for tests that only look at it."""
    folder: Path = tmp_path_factory.mktemp("sample")
    real = Settings(
        database_url=f"sqlite:///{folder / 'q.db'}", master_key_file=folder / "keys" / "master.key"
    )
    front_door = Platform(real, actor=ADMIN)
    deployment.load(front_door, ADMIN, now=NOW, days=DAYS)
    sample = opened(front_door)
    yield sample
    sample.close()
    front_door.close()


def counts(database: Database) -> dict[str, int]:
    """Rows of every table."""
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


# --- what is there ---------------------------------------------------------------------------------


def test_every_state_is_there(made: Platform):
    assert len(made.projects.list(actor=ADMIN)) == 8
    keys = made.keys.describe_all(actor=ADMIN)
    assert Counter(state.status for state in keys.values()) == {
        "none": 4,
        "working": 2,
        "failing": 1,
        "locked": 1,
    }
    assert (keys[FAILING].status, keys[LOCKED].status) == ("failing", "locked")
    assert (keys[FAILING].failure_status, keys[FAILING].failure_code) == (401, "invalid_api_key")

    full = made.caps.headroom(AT_CAP, actor=ADMIN).windows["5h"]
    assert (full.percent, full.free_nano) == (100, 0)
    assert full.returns_at is not None
    assert NOW + HOUR < full.returns_at < NOW + 2 * HOUR
    near = made.caps.headroom(NEAR_CAP, actor=ADMIN).windows
    assert 85 <= near["7d"].percent <= 86
    assert near["5h"].percent < 80

    found, total = made.runs.list(RunFilter(limit=1_000), actor=ADMIN)
    assert total == len(found) > 200
    assert {
        (AT_CAP, "waiting", None),
        (AT_CAP, "refused", "cap"),
        (NEAR_CAP, "budget_exceeded", "budget"),
        ("identity-service", "failed", None),
        ("identity-service", "lost", None),
        (LOCKED, "error", None),
        (FAILING, "error", None),
        (WORKING, "passed", None),
    } <= {(run.project, run.status, run.stopped_by) for run in found}
    assert {run.resumes_at for run in found if run.status == "waiting"} == {full.returns_at}

    sums = made.reports.totals(UsageFilter(), actor=ADMIN)
    assert min(sums.ok_calls, sums.error_calls, sums.abandoned_calls, sums.unknown_calls) > 0
    assert made.reports.totals(UsageFilter(statuses=("ok",)), actor=ADMIN).unpriced_calls > 0
    assert made.reports.by_project(UsageFilter(), actor=ADMIN)[FALLS_BACK].platform_calls > 0


def test_every_provider_is_there_on_keys_of_either_kind(made: Platform):
    keys = made.keys.describe_each(WORKING, actor=ADMIN) + made.keys.describe_each(FALLS_BACK, actor=ADMIN)
    own = Counter(state.provider for state in keys if state.status == "working")
    assert own == {"openai": 2, "anthropic": 1, "google": 1}
    for provider in own:
        sums = made.reports.totals(UsageFilter(providers=(provider,)), actor=ADMIN)
        assert min(sums.byok_calls, sums.platform_calls, sums.error_calls) > 0
        assert min(sums.byok_nano, sums.platform_nano) > 0
    assert (
        made.reports.totals(
            UsageFilter(providers=("anthropic",), statuses=("ok",)), actor=ADMIN
        ).unpriced_calls
        == 0
    )


def test_every_page_has_something_to_show(made: Platform):
    assert len(made.members.list(slug=None, actor=ADMIN)) == 2
    assert {member.role for member in made.members.list(slug=WORKING, actor=ADMIN)} >= {Role.LEAD}
    log, total = made.audit.list(AuditFilter(limit=200), actor=ADMIN)
    assert total > 20
    assert {row.action for row in log} >= {Tag.PROJECT_CREATED, Tag.KEY_SAVED, Tag.MEMBER_ADDED, Tag.CAPS_SET}


def test_it_is_what_the_ledger_says(made: Platform):
    """Roll-ups, running totals and accounts agree with the calls; nothing is left open or reserved."""
    assert list(rollups.verify(made.database)) == []
    with made.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(open_calls)).scalar_one() == 0
        for account in connection.execute(select(accounts)).all():
            mine = (usage_events.c.project_id == account.project_id) & usage_events.c.sequence.is_not(None)
            counted = connection.execute(
                select(func.max(usage_events.c.counted_after_nano), func.count()).where(mine)
            ).one()
            assert (account.counted_nano, account.sequence) == (counted[0] or 0, counted[1])
            assert account.reserved_nano == 0


@on_sqlite
@pytest.mark.slow
@pytest.mark.parametrize("hours", whole_or([62], [62, 107]))
def test_the_states_are_there_at_any_time_of_the_week(platform: Platform, hours: int):
    now = NOW + hours * HOUR
    deployment.load(platform, ADMIN, now=now, days=DAYS)
    sample = Platform(deployment.sample_settings(platform.settings), actor=ADMIN, clock=lambda: now)
    assert sample.caps.headroom(AT_CAP).windows["5h"].percent == 100
    assert sample.keys.describe(FAILING).status == "failing"
    assert sample.keys.describe(LOCKED).status == "locked"
    sample.close()


# --- apart from what is real -----------------------------------------------------------------------


def test_nothing_of_it_is_in_the_real_database_but_the_audit_log(platform: Platform):
    before = counts(platform.database)
    deployment.load(platform, ADMIN, now=NOW, days=1)
    assert deployment.is_loaded(platform.settings)
    assert counts(platform.database) == before | {"audit_log": before["audit_log"] + 1}
    assert [project.slug for project in platform.projects.list(actor=ADMIN)] == [NEAR_CAP]

    folder = platform.settings.sample_folder
    deployment.remove(platform, ADMIN)
    assert not folder.exists()
    assert list(folder.parent.glob(f"{folder.name}-*")) == []
    assert counts(platform.database) == before | {"audit_log": before["audit_log"] + 2}
    log, _ = platform.audit.list(AuditFilter(limit=2), actor=ADMIN)
    assert [(row.action, row.actor) for row in log] == [
        ("sample:removed", "operator"),
        ("sample:loaded", "operator"),
    ]


@on_sqlite
def test_no_call_and_no_key_of_it_ever_leaves_and_no_real_key_is_in_it(
    platform: Platform, upstream: ScriptedUpstream
):
    deployment.load(platform, ADMIN, now=NOW, days=1)
    sample = opened(platform)
    for slug in (WORKING, "identity-service"):
        with pytest.raises(SampleProject, match="is sample data"), sample.run(slug, kind="chat") as run:
            run.openai.responses.create(model="gpt-5-mini", input="Hello")
        with pytest.raises(SampleProject):
            sample.keys.save(slug, GOOD_KEY)
        with pytest.raises(SampleProject):
            sample.keys.check(slug)
    assert upstream.requests == []

    own = deployment.sample_settings(
        platform.settings.model_copy(update={"anthropic_api_key": Secret(CLAUDE_PLATFORM_KEY)})
    )
    assert own.anthropic_api_key is not None
    assert own.anthropic_api_key.reveal() != CLAUDE_PLATFORM_KEY
    assert own.openai_api_key is not None
    assert own.openai_api_key.reveal() != PLATFORM_KEY
    assert own.master_keys is None
    assert platform.settings.master_keys is not None
    assert platform.settings.master_keys.reveal() not in own.master_key_file.read_text()
    assert set(sample.keyring.ids).isdisjoint(platform.keyring.ids)
    sample.close()


def test_its_exports_are_its_own(made: Platform):
    out = io.BytesIO()
    done = export_usage(made.database, UsageFilter(), out, actor=ADMIN, format="csv")
    assert done.rows == made.reports.totals(UsageFilter(), actor=ADMIN).calls > 2_000


def test_whoever_may_look_is_a_lead_there_whatever_they_are_elsewhere():
    analyst = Actor("analyst@example.com", Origin.BROWSER, projects={"a-real-project": Role.ANALYST})
    assert deployment.visitor(analyst) == Actor("analyst@example.com", Origin.BROWSER, Role.LEAD)
    assert deployment.visitor(ADMIN).everywhere == Role.ADMIN


def test_sample_projects_of_earlier_releases_are_taken_out_of_the_real_database(
    platform: Platform, database_url: str
):
    with platform.database.write() as connection:
        connection.execute(update(projects).values(sample=True))
        row = {"scope": "*", "email": "a@example.com", "role": "lead", "added_at": 1, "added_by": "b"}
        connection.execute(insert(members), row)
        (project_id,) = connection.execute(select(projects.c.id)).scalars()
        connection.execute(insert(members), row | {"scope": project_id})
    platform.projects.add("real", actor=ADMIN)

    with platform.database.write() as connection, Operations.context(MigrationContext.configure(connection)):
        v0009_sample_deployment.upgrade()

    assert [project.slug for project in platform.projects.list(actor=ADMIN)] == ["real"]
    assert [member.project for member in platform.members.list(slug=None, actor=ADMIN)] == [None]


# --- coming and going ------------------------------------------------------------------------------


@on_sqlite
def test_it_comes_once_and_goes_once(platform: Platform):
    deployment.load(platform, ADMIN, now=NOW, days=1)
    first = deployment.identity(platform.settings)
    with pytest.raises(BadInput, match="is there already"):
        deployment.load(platform, ADMIN, now=NOW, days=1)
    assert deployment.identity(platform.settings) == first

    deployment.remove(platform, ADMIN)
    with pytest.raises(BadInput, match="no sample data"):
        deployment.remove(platform, ADMIN)
    assert deployment.identity(platform.settings) is None


@on_sqlite
def test_one_that_fails_on_the_way_leaves_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.sample.deployment.play", full)
    with pytest.raises(Exception, match="cannot be written"):
        deployment.load(platform, ADMIN, now=NOW, days=1)
    folder = platform.settings.sample_folder
    assert not deployment.is_loaded(platform.settings)
    assert list(folder.parent.glob(f"{folder.name}*")) == []


@on_sqlite
def test_only_administrators_load_and_remove_it(platform: Platform):
    lead = Actor("lead@example.com", Origin.BROWSER, everywhere=Role.LEAD)
    with pytest.raises(Forbidden):
        deployment.load(platform, lead, now=NOW, days=1)
    with pytest.raises(Forbidden):
        deployment.remove(platform, lead)
    assert not deployment.is_loaded(platform.settings)


@on_sqlite
def test_the_command_line_loads_and_removes_it(
    settings: Settings, master_key: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lib.sample.deployment.DAYS", 1)
    environment = {"DATABASE_URL": settings.database_url, "QODEX_MASTER_KEYS": master_key}

    def run(*words: str, typed: str = ""):
        return CliRunner().invoke(cli, words, input=typed, env=environment)

    loaded, again = run("demo", "load"), run("demo", "load")
    kept, removed = run("demo", "remove", typed="n\n"), run("demo", "remove", "--yes")
    gone = run("demo", "remove", "--yes")

    assert [each.exit_code for each in (loaded, again, kept, removed, gone)] == [0, 1, 1, 0, 1]
    assert "8 sample projects" in loaded.stderr
    assert again.stderr.endswith("Remove it first to load it again.\n")
    assert "Removed the sample data" in removed.stderr

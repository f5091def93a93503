"""What points at a key is sealed: somebody who can write to the database can stop calls, and do no more (promise 1).

Each test changes the database as such a person could, without a master key, and looks at what the calls of a run
that had begun before and of the next one do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import SQLAlchemyError

from lib.access.roles import Actor, Origin, Role
from lib.clock import MINUTE
from lib.errors import BadInput, Forbidden, KeyLocked, QodexError, RunUnknown
from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.prices import PriceBook
from lib.runs.lifecycle import RunStore, StartedRun
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import MasterKey
from lib.vault.unsealed import UnsealedProjects
from tests.vaults import ADMIN, Vault, open_vault

MASTER, OTHER = bytes(range(100, 132)), bytes(range(132, 164))
PLATFORM = "sk-test-platform-key-0003"
ALPHA, ALPHA_OLD, BETA = "sk-test-alpha-key-1111", "sk-test-alpha-old-0000", "sk-test-beta-key-2222"
SLUGS = ("alpha", "beta", "gamma")
PAYS = {"alpha": ("byok", ALPHA, False), "beta": ("byok", BETA, True), "gamma": ("platform", PLATFORM, False)}
"""Who pays for a call, with which key, and whether it may fall back: what nobody else can change."""
PROFILE = RequestProfile(
    "responses",
    "gpt-5-mini",
    100,
    50,
    1,
    uses_context_window=False,
    cost_unbounded=None,
    free=False,
    streaming=False,
)
LEAD = "lena@example.com"


class World:
    """Three projects: alpha with a replaced key, beta with a key that may fall back, gamma without one."""

    def __init__(self, url: str) -> None:
        self.url = url
        with open_vault(url, MASTER, platform_key=PLATFORM, projects=SLUGS) as vault:
            vault.save("alpha", ALPHA_OLD)
            self.old_keys = vault.sql("SELECT * FROM provider_keys")
            self.old_projects = vault.sql("SELECT * FROM projects ORDER BY slug")
            vault.replace("alpha", ALPHA)
            vault.save("beta", BETA)
            vault.projects.set_policy("beta", "platform", actor=ADMIN)
            runs = RunStore(vault.database)
            self.runs = {slug: runs.start(slug, "scan", actor=ADMIN) for slug in SLUGS}
            self.ids = {row.slug: row.id for row in vault.sql("SELECT id, slug FROM projects")}

    def opened(self) -> Any:
        """A process that has just started, over the database as it is now."""
        return open_vault(self.url, MASTER, platform_key=PLATFORM)


@pytest.fixture
def world(database_url: str) -> World:
    return World(database_url)


@pytest.fixture
def vault(world: World) -> Iterator[Vault]:
    with world.opened() as opened:
        yield opened


def call(vault: Vault, run: StartedRun, instead_of: OpenAttempt | None = None) -> OpenAttempt:
    """Open a call, as the client does before a request leaves."""
    ledger = Ledger(vault.database, vault.keys, PriceBook.load(None), ADMIN)
    return ledger.open(
        run, PROFILE, lease=MINUTE, instead_of=instead_of, why="rejected" if instead_of else None
    )


def paid(opened: OpenAttempt) -> tuple[str, str, bool]:
    return opened.source, opened.secret.reveal(), opened.falls_back


def put_row(vault: Vault, table: str, row: Any) -> None:
    columns = row._fields
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    vault.sql(f"INSERT INTO {table} ({names}) VALUES ({values})", **row._asdict())


# --- the attacks by name -----------------------------------------------------------------------------


def swap_slugs(vault: Vault, world: World) -> set[str]:
    for slug, new in (("alpha", "x"), ("beta", "alpha"), ("x", "beta")):
        vault.sql("UPDATE projects SET slug = :new WHERE slug = :slug", new=new, slug=slug)
    return {"alpha", "beta"}


def swap_names_and_seals(vault: Vault, world: World) -> set[str]:
    """The names, and the records that go with them."""
    seal = ("sealed_keys", "seal_master_key_id", "seal", "on_key_failure")
    rows = {row.slug: row for row in vault.sql("SELECT * FROM projects")}
    swap_slugs(vault, world)
    for slug in ("alpha", "beta"):
        setting = ", ".join(f"{name} = :{name}" for name in seal)
        values = {name: getattr(rows[slug], name) for name in seal}
        vault.sql(f"UPDATE projects SET {setting} WHERE slug = :slug", slug=slug, **values)
    return {"alpha", "beta"}


def put_the_old_key_back(vault: Vault, world: World) -> set[str]:
    vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=world.ids["alpha"])
    put_row(vault, "provider_keys", world.old_keys[0])
    return {"alpha"}


def put_the_old_seal_back(vault: Vault, world: World) -> set[str]:
    """Without the key row that it was made for."""
    old = world.old_projects[0]
    vault.sql(
        "UPDATE projects SET sealed_keys = :keys, seal = :seal WHERE slug = 'alpha'",
        keys=old.sealed_keys,
        seal=old.seal,
    )
    return {"alpha"}


def delete_the_key_row(vault: Vault, world: World) -> set[str]:
    vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=world.ids["alpha"])
    return {"alpha"}


def end_the_key_row(vault: Vault, world: World) -> set[str]:
    vault.sql(
        "UPDATE provider_keys SET ended_at = 1, sealed_value = NULL, sealed_data_key = NULL WHERE project_id = :id",
        id=world.ids["alpha"],
    )
    return {"alpha"}


def call_it_another_providers(vault: Vault, world: World) -> set[str]:
    vault.sql(
        "UPDATE provider_keys SET provider = 'anthropic' WHERE ended_at IS NULL AND project_id = :id",
        id=world.ids["alpha"],
    )
    return {"alpha"}


def give_a_project_without_a_key_an_old_one(vault: Vault, world: World) -> set[str]:
    row = world.old_keys[0]
    vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=world.ids["alpha"])
    put_row(vault, "provider_keys", row)
    vault.sql(
        "UPDATE provider_keys SET project_id = :there WHERE project_id = :here",
        there=world.ids["gamma"],
        here=world.ids["alpha"],
    )
    return {"alpha", "gamma"}


def choose_the_platform_and_spoil_the_key(vault: Vault, world: World) -> set[str]:
    vault.sql("UPDATE projects SET on_key_failure = 'platform'")
    vault.sql("UPDATE provider_keys SET sealed_value = :junk WHERE ended_at IS NULL", junk=b"junk" * 20)
    return {"alpha", "beta", "gamma"}


def spoil_a_key_that_may_fall_back(vault: Vault, world: World) -> set[str]:
    vault.sql(
        "UPDATE provider_keys SET sealed_value = :junk WHERE project_id = :id AND ended_at IS NULL",
        junk=b"junk" * 20,
        id=world.ids["beta"],
    )
    return {"beta"}


def name_a_missing_master_key(vault: Vault, world: World) -> set[str]:
    """So that a key which may fall back looks like one of another server."""
    vault.sql("UPDATE provider_keys SET master_key_id = 'mk-elsewhere' WHERE ended_at IS NULL")
    return {"alpha", "beta"}


def choose_the_platform(vault: Vault, world: World) -> set[str]:
    vault.sql("UPDATE projects SET on_key_failure = 'platform' WHERE slug = 'alpha'")
    return {"alpha"}


def choose_to_stop(vault: Vault, world: World) -> set[str]:
    vault.sql("UPDATE projects SET on_key_failure = 'stop' WHERE slug = 'beta'")
    return {"beta"}


def delete_the_seals(vault: Vault, world: World) -> set[str]:
    vault.sql("UPDATE projects SET sealed_keys = NULL, seal_master_key_id = NULL, seal = NULL")
    return set(SLUGS)


def delete_everything_sealed(vault: Vault, world: World) -> set[str]:
    """So that the database looks as it did before there were seals and keys."""
    vault.sql("DELETE FROM provider_keys")
    return delete_the_seals(vault, world)


def empty_the_list_of_keys(vault: Vault, world: World) -> set[str]:
    vault.sql("DELETE FROM provider_keys")
    vault.sql("UPDATE projects SET sealed_keys = ''")
    return {"alpha", "beta"}


def name_another_master_key_in_the_seal(vault: Vault, world: World) -> set[str]:
    vault.sql("UPDATE projects SET seal_master_key_id = 'mk-elsewhere'")
    return set(SLUGS)


def copy_anothers_seal(vault: Vault, world: World) -> set[str]:
    (row,) = vault.sql("SELECT * FROM projects WHERE slug = 'gamma'")
    vault.sql(
        "UPDATE projects SET sealed_keys = :keys, seal = :seal WHERE slug = 'alpha'",
        keys=row.sealed_keys,
        seal=row.seal,
    )
    vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=world.ids["alpha"])
    return {"alpha"}


def rename_the_deployment(vault: Vault, world: World) -> set[str]:
    """As where rows of another deployment with the same master key are copied in."""
    vault.sql("UPDATE deployment SET id = 'another'")
    return set(SLUGS)


ATTACKS = [
    swap_slugs,
    swap_names_and_seals,
    put_the_old_key_back,
    put_the_old_seal_back,
    delete_the_key_row,
    end_the_key_row,
    call_it_another_providers,
    give_a_project_without_a_key_an_old_one,
    choose_the_platform_and_spoil_the_key,
    spoil_a_key_that_may_fall_back,
    name_a_missing_master_key,
    choose_the_platform,
    choose_to_stop,
    delete_the_seals,
    delete_everything_sealed,
    empty_the_list_of_keys,
    name_another_master_key_in_the_seal,
    copy_anothers_seal,
    rename_the_deployment,
]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
Attack = Callable[[Vault, World], set[str]]


@each_attack
def test_the_calls_of_a_project_that_was_changed_past_us_stop_and_those_of_the_others_go_on(
    world: World, attack: Attack
) -> None:
    with world.opened() as vault:
        stopped = attack(vault, world)
    with world.opened() as vault:
        for slug, run in world.runs.items():
            if slug not in stopped:
                assert paid(call(vault, run)) == PAYS[slug]
                continue
            for _ in range(2):
                with pytest.raises(KeyLocked) as locked:
                    call(vault, run)
            assert not locked.value.genuine
            tag, message = vault.sql("SELECT tag, message FROM run_log ORDER BY id DESC LIMIT 1")[0]
            assert (tag, message) == ("key:locked", str(locked.value))
        opened = vault.sql("SELECT DISTINCT project_id FROM open_calls")
        assert {row.project_id for row in opened} == {
            world.ids[slug] for slug in SLUGS if slug not in stopped
        }
        told = vault.sql("SELECT project_id FROM audit_log WHERE action = 'key:locked'")
        assert sorted(row.project_id for row in told) == sorted(world.ids[slug] for slug in stopped)


@each_attack
def test_the_next_run_and_whoever_asks_for_the_key_are_stopped_too(world: World, attack: Attack) -> None:
    with world.opened() as vault:
        stopped = attack(vault, world)
    with world.opened() as vault:
        for slug in SLUGS:
            run = RunStore(vault.database).start(slug, "scan", actor=ADMIN)
            state = vault.describe(slug)
            assert (state.status == "locked") is (slug in stopped)
            if slug in stopped:
                with pytest.raises(KeyLocked):
                    call(vault, run)
                with pytest.raises(KeyLocked) as locked:
                    vault.keys.resolve(slug)
                assert state.lock_reason == str(locked.value)
            else:
                assert paid(call(vault, run)) == PAYS[slug]
                assert vault.opened(slug) == PAYS[slug][1]


def test_a_failed_call_falls_back_only_where_that_is_what_was_sealed(vault: Vault, world: World) -> None:
    failed = {slug: call(vault, world.runs[slug]) for slug in ("alpha", "beta")}
    assert paid(call(vault, world.runs["beta"], failed["beta"]))[:2] == ("platform", PLATFORM)
    with pytest.raises(Forbidden):
        call(vault, world.runs["alpha"], failed["alpha"])
    choose_the_platform(vault, world)
    with pytest.raises(KeyLocked):
        call(vault, world.runs["alpha"], failed["alpha"])


def test_a_run_that_is_moved_to_another_project_makes_no_more_calls(vault: Vault, world: World) -> None:
    """Neither with that project's key nor with its own."""
    vault.sql(
        "UPDATE runs SET project_id = :there WHERE run_id = :run",
        there=world.ids["beta"],
        run=world.runs["alpha"].run_id,
    )
    for _ in range(2):
        with pytest.raises(
            KeyLocked, match=r"was started for alpha.* was moved past Qodex. Nothing was sent"
        ):
            call(vault, world.runs["alpha"])
    assert vault.audit("alpha").count("key:locked") == 1
    assert vault.sql("SELECT * FROM open_calls") == []


def test_two_runs_whose_ids_are_exchanged_make_no_more_calls(vault: Vault, world: World) -> None:
    alpha, beta = world.runs["alpha"].run_id, world.runs["beta"].run_id
    for old, new in ((alpha, "x"), (beta, alpha), ("x", beta)):
        vault.sql("UPDATE runs SET run_id = :new WHERE run_id = :old", new=new, old=old)
    for slug in ("alpha", "beta"):
        with pytest.raises(KeyLocked, match=f"was started for {slug}"):
            call(vault, world.runs[slug])


def test_a_run_that_nobody_knows_is_unknown(vault: Vault, world: World) -> None:
    with pytest.raises(RunUnknown):
        call(vault, replace(world.runs["alpha"], run_id="r-nothing"))


def test_marks_of_having_been_locked_before_do_not_keep_a_stop_out_of_the_audit_log(
    vault: Vault, world: World
) -> None:
    vault.sql("UPDATE provider_keys SET locked_since = 1, last4 = '9999'")
    with pytest.raises(KeyLocked):
        call(vault, world.runs["alpha"])
    assert vault.audit("alpha").count("key:locked") == 1


# --- what people and operators do about it -----------------------------------------------------------


def lead_of(world: World, slug: str) -> Actor:
    return Actor(LEAD, Origin.BROWSER, projects={world.ids[slug]: Role.LEAD})


@pytest.mark.parametrize(
    "attack", [delete_the_key_row, put_the_old_key_back, end_the_key_row, spoil_a_key_that_may_fall_back]
)
def test_a_lead_mends_a_key_row_by_replacing_or_removing_the_key(
    vault: Vault, world: World, attack: Attack
) -> None:
    """The record itself is good, so that it can be changed."""
    (slug,) = attack(vault, world)
    seen = vault.describe(slug).version
    assert vault.save(slug, "sk-test-new-key-4444", seen, actor=lead_of(world, slug)).status == "working"
    assert vault.opened(slug) == "sk-test-new-key-4444"
    attack(vault, world)
    vault.keys.remove(slug, actor=lead_of(world, slug))
    assert vault.opened(slug) == PLATFORM


@pytest.mark.parametrize("attack", [swap_slugs, choose_the_platform, delete_the_seals, copy_anothers_seal])
def test_nobody_seals_by_the_way_what_was_changed_past_us(vault: Vault, world: World, attack: Attack) -> None:
    attack(vault, world)
    (row,) = vault.sql("SELECT slug FROM projects WHERE id = :id", id=world.ids["alpha"])
    version, before = vault.describe(row.slug).version, vault.sql("SELECT * FROM projects ORDER BY id")
    lead = lead_of(world, "alpha")
    for change in (
        lambda: vault.save(row.slug, "sk-test-new-key-4444", version, actor=lead),
        lambda: vault.keys.remove(row.slug, actor=lead),
        lambda: vault.projects.set_policy(row.slug, "stop", actor=lead),
        lambda: vault.projects.set_policy(row.slug, "stop", actor=ADMIN),
    ):
        with pytest.raises(KeyLocked, match="An operator can look"):
            change()
    assert vault.sql("SELECT * FROM projects ORDER BY id") == before


def test_an_administrator_may_set_the_key_anew_and_the_project_then_stops_when_it_fails(
    vault: Vault, world: World
) -> None:
    choose_the_platform(vault, world)
    vault.save("alpha", "sk-test-new-key-4444", 2)
    assert paid(call(vault, world.runs["alpha"])) == ("byok", "sk-test-new-key-4444", False)
    assert vault.audit("alpha")[-2:] == ["project:sealed", "key:rotated"]


def unsealed(vault: Vault) -> UnsealedProjects:
    return UnsealedProjects(vault.database, Keyring([MasterKey(MASTER)]))


def test_an_operator_seals_what_is_there_once_it_is_right_and_the_audit_log_has_it(
    vault: Vault, world: World
) -> None:
    delete_the_seals(vault, world)
    found = unsealed(vault).find(actor=ADMIN)
    assert [(each.project, each.on_key_failure, each.keys) for each in found] == [
        ("alpha", "stop", {"openai": "1111"}),
        ("beta", "platform", {"openai": "2222"}),
        ("gamma", "stop", {}),
    ]
    unsealed(vault).seal(found, actor=ADMIN)
    assert {slug: paid(call(vault, run)) for slug, run in world.runs.items()} == PAYS
    assert unsealed(vault).find(actor=ADMIN) == []
    assert [vault.audit(slug)[-1] for slug in SLUGS] == ["project:sealed"] * 3


def test_what_changes_while_an_operator_looks_is_not_sealed(vault: Vault, world: World) -> None:
    delete_the_seals(vault, world)
    found = unsealed(vault).find(actor=ADMIN)
    choose_the_platform(vault, world)
    with pytest.raises(BadInput, match=r"alpha has changed meanwhile\. Nothing was sealed"):
        unsealed(vault).seal(found, actor=ADMIN)
    assert len(unsealed(vault).find(actor=ADMIN)) == 3


def test_only_administrators_seal(vault: Vault, world: World) -> None:
    delete_the_seals(vault, world)
    found = unsealed(vault).find(actor=ADMIN)
    for act in (
        lambda: unsealed(vault).find(actor=lead_of(world, "alpha")),
        lambda: unsealed(vault).seal(found, actor=lead_of(world, "alpha")),
    ):
        with pytest.raises(Forbidden):
            act()
    assert vault.sql("SELECT * FROM audit_log WHERE action = 'access:refused'")


def test_another_providers_key_is_in_the_same_record(vault: Vault, world: World) -> None:
    """Keys of a provider that comes later need no other seal, and no project has to be sealed again for it."""
    from lib.secret import Secret
    from lib.vault.states import Verdict

    for slug in ("alpha", "gamma"):
        vault.keys.save(
            slug,
            Secret("sk-test-another-provider-5555"),
            actor=ADMIN,
            expected_version=0,
            verdict=Verdict(),
            provider="anthropic",
        )
    assert vault.keys.resolve("gamma", provider="anthropic").last4 == "5555"
    assert {slug: paid(call(vault, run)) for slug, run in world.runs.items()} == PAYS
    vault.sql("DELETE FROM provider_keys WHERE provider = 'anthropic'")
    with pytest.raises(KeyLocked):
        vault.keys.resolve("gamma", provider="anthropic")
    assert vault.opened("gamma") == PLATFORM


# --- any field of any row ----------------------------------------------------------------------------

TABLES = {
    "projects": "id",
    "provider_keys": "rowid",
    "runs": "run_id",
    "deployment": "one",
    "accounts": "project_id",
    "plans": "name",
    "platform_key_health": "provider",
    "open_calls": "event_id",
}
ODD = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "stop", "platform", "openai", "anthropic", "x", "alpha", "beta", "gamma", "mk-x", "/", ";="]
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2, 3]),
    st.binary(max_size=80),
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "copy", "copy", "swap", "old", "delete", "add"]),
        st.sampled_from(list(TABLES)),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 40),
        ODD,
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> World:
    path = tmp_path_factory.mktemp("seals") / "template.db"
    shutil.copy(_migrated_file, path)
    world = World(f"sqlite:///{path}")
    with world.opened() as vault, vault.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return world


@given(changes=CHANGES)
@settings(max_examples=150)
def test_whatever_is_written_a_call_leaves_as_it_would_have_or_not_at_all(
    template: World, tmp_path: Path, changes: list[tuple[Any, ...]]
) -> None:
    path = tmp_path / "changed.db"
    for left in tmp_path.glob("changed.db*"):
        left.unlink()
    shutil.copy(template.url.removeprefix("sqlite:///"), path)
    url = f"sqlite:///{path}"
    with open_vault(url, MASTER) as vault:
        for change in changes:
            try:
                make(vault, template, *change)
            except (SQLAlchemyError, QodexError):
                continue  # a rule of the tables forbids it
    with open_vault(url, MASTER, platform_key=PLATFORM) as vault:
        for slug, run in template.runs.items():
            for act in (
                lambda run=run: paid(call(vault, run)),
                lambda slug=slug: (vault.keys.resolve(slug).source, vault.opened(slug)),
            ):
                try:
                    got = act()
                except Exception:  # noqa: BLE001 - it stopped; SQLite keeps a text where a number belongs
                    continue
                assert got == PAYS[slug][: len(got)] or was_put_back_whole(vault, template, slug)


def was_put_back_whole(vault: Vault, world: World, slug: str) -> bool:
    """The one thing that cannot be told from the past: a project's rows together with their own seal."""
    rows = vault.sql("SELECT seal FROM projects WHERE slug = :slug", slug=slug)
    return [row.seal for row in rows] == [row.seal for row in world.old_projects if row.slug == slug]


def make(
    vault: Vault, world: World, how: str, table: str, one: int, other: int, column: int, odd: Any
) -> None:
    """Change one field, or one row, in a way that somebody might try."""
    rows = vault.sql(f"SELECT rowid AS at, * FROM {table} ORDER BY rowid")
    if not rows:
        return
    here, there = rows[one % len(rows)], rows[other % len(rows)]
    name = here._fields[1:][column % len(here._fields[1:])]

    def put(at: int, value: Any) -> None:
        vault.sql(f"UPDATE {table} SET {name} = :value WHERE rowid = :at", value=value, at=at)

    def swap() -> None:
        kept = getattr(here, name)
        put(here.at, f"swap-{here.at}" if isinstance(kept, str) else kept)  # names are unique
        put(there.at, kept)
        put(here.at, getattr(there, name))

    def put_an_old_value_back() -> None:
        old = world.old_projects[one % len(world.old_projects)]
        if name in old._fields:
            vault.sql(
                f"UPDATE projects SET {name} = :value WHERE id = :id", value=getattr(old, name), id=old.id
            )

    def put_an_old_key_back() -> None:
        vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=world.ids["alpha"])
        put_row(vault, "provider_keys", world.old_keys[0])

    {
        "set": lambda: put(here.at, odd),
        "copy": lambda: put(here.at, getattr(there, name)),
        "swap": swap,
        "delete": lambda: vault.sql(f"DELETE FROM {table} WHERE rowid = :at", at=here.at),
        "old": put_an_old_value_back,
        "add": put_an_old_key_back,
    }[how]()

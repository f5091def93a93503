"""Master keys rotate online: each key stays readable at every moment, nothing is lost, whoever else is at work."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from sqlalchemy import event

from lib.errors import BadInput, KeyLocked, MasterKeyInUse, MasterKeyMissing
from lib.secret import Secret
from lib.vault.master_keys.masters import id_of, new_key
from tests.masters import ALL, LOST_ID, OLD, OLD_ID, OPERATOR, SLUGS, Server, key_of


@pytest.fixture
def another(database_url: str, server: Server) -> Iterator[Server]:
    """A second process of the same machine: it started before the rotation and is never restarted."""
    made = Server(database_url, server.path)
    yield made
    made.database.close()


# --- the whole way ---------------------------------------------------------------------------------


def test_new_rotate_and_retire_while_another_process_runs_on_and_is_never_restarted(server, another):
    made = server.masters.create(actor=OPERATOR)
    assert (made.encrypts, made.line, made.path) == (False, None, server.path)
    assert [
        (each.id, each.use, each.stored_keys) for each in server.masters.status(actor=OPERATOR).master_keys
    ] == [
        (OLD_ID, "encrypts", 3),
        (made.id, "next", 0),
    ]
    server.save("search", "sk-test-search-key-0002")
    assert server.sealed_with()["search"] == OLD_ID  # the new one only opens as yet

    done = server.masters.rotate(actor=OPERATOR)
    assert (done.to, done.resealed, done.left) == (made.id, 3, [])
    assert set(server.sealed_with().values()) == {made.id}
    assert another.opened() == server.opened() == ALL | {"search": "sk-test-search-key-0002"}
    another.save("checkout", "sk-test-checkout-key-0003")
    assert another.sealed_with()["checkout"] == made.id

    server.masters.retire(OLD_ID, actor=OPERATOR)
    assert [each.id for each in server.masters.status(actor=OPERATOR).master_keys] == [made.id]
    another.save("payments", "sk-test-payments-key-0004")
    restarted = Server(server.vault.url, server.path)
    assert restarted.opened() == another.opened()
    restarted.database.close()


def test_each_step_is_in_the_audit_log_with_who_and_how_many_and_no_secret(server):
    made = server.masters.create(actor=OPERATOR)
    server.masters.rotate(actor=OPERATOR)
    server.masters.retire(OLD_ID, actor=OPERATOR)
    assert server.log("master") == [
        ("master:created", "olga", None, {"master_key_id": made.id}),
        ("master:promoted", "olga", None, {"master_key_id": made.id}),
        ("master:rotated", "olga", None, {"master_key_id": made.id, "resealed": 3, "left": 0}),
        ("master:retired", "olga", None, {"master_key_id": OLD_ID}),
    ]
    resealed = server.log("key:resealed")
    assert [(who, slug, told) for _, who, slug, told in resealed] == [
        ("olga", slug, {"provider": "openai", "master_key_id": made.id, "version": 1}) for slug in SLUGS
    ]
    rows = repr(server.vault.sql("SELECT * FROM audit_log"))
    for line in server.path.read_text().splitlines():
        assert line not in rows


def test_rotating_again_changes_nothing_and_says_nothing(server):
    server.masters.create(actor=OPERATOR)
    server.masters.rotate(actor=OPERATOR)
    before = server.vault.sql("SELECT * FROM provider_keys"), server.log(""), server.path.read_text()
    done = server.masters.rotate(actor=OPERATOR)
    assert (done.resealed, done.left) == (0, [])
    assert before == (
        server.vault.sql("SELECT * FROM provider_keys"),
        server.log(""),
        server.path.read_text(),
    )


def test_a_second_rotation_goes_on_to_the_newest_key_and_never_back(server):
    server.masters.create(actor=OPERATOR)
    server.masters.rotate(actor=OPERATOR)
    newest = server.masters.create(actor=OPERATOR)
    assert server.masters.rotate(actor=OPERATOR).to == newest.id
    assert server.masters.rotate(actor=OPERATOR).resealed == 0
    assert set(server.sealed_with().values()) == {newest.id}


def test_what_was_saved_is_only_handed_over_version_history_and_state_stay(server):
    before = {slug: server.vault.describe(slug) for slug in SLUGS}
    server.masters.create(actor=OPERATOR)
    to = server.masters.rotate(actor=OPERATOR).to
    for slug in SLUGS:
        after = server.vault.describe(slug)
        assert after.master_key_id == to
        assert {**vars_of(after), "master_key_id": OLD_ID} == vars_of(before[slug])


def vars_of(state: Any) -> dict[str, Any]:
    return {name: getattr(state, name) for name in type(state).__dataclass_fields__}


# --- keys in the environment, several servers ------------------------------------------------------


def test_where_keys_come_from_the_environment_a_new_one_is_returned_and_nothing_is_changed(
    database_url, tmp_path
):
    server = Server(database_url, tmp_path / "none", OLD.reveal())
    made = server.masters.create(actor=OPERATOR)
    assert made.line is not None
    assert (id_of(made.line), made.path) == (made.id, None)
    assert server.keyring.ids == [OLD_ID]
    assert (server.log("master"), list(tmp_path.glob("none*"))) == ([], [])
    server.database.close()


def test_servers_that_learn_the_key_last_then_first_never_lock_a_key(server, database_url, tmp_path):
    """The order of docs/operators.md: at the end everywhere, then at the front everywhere, then rotate, then take out."""
    server.database.close()
    old, new = OLD.reveal(), new_key().reveal()
    steps = [(old, old), (f"{old},{new}", old), (f"{old},{new}",) * 2, (f"{new},{old}", f"{old},{new}")]
    for number, (one, other) in enumerate(steps):
        pair = [Server(database_url, tmp_path / "none", keys) for keys in (one, other)]
        for writer, reader in (pair, pair[::-1]):
            writer.save("search", f"sk-test-search-key-{number}{id(writer) % 1000:03}")
            assert reader.opened()["search"] == writer.opened()["search"]
        for each in pair:
            each.database.close()
    last = Server(database_url, tmp_path / "none", f"{new},{old}")
    assert last.masters.rotate(actor=OPERATOR).to == id_of(Secret(new))
    assert last.masters.retire(OLD_ID, actor=OPERATOR) == 2  # its place in the variable
    after = Server(database_url, tmp_path / "none", new)
    assert set(after.opened()) == set(SLUGS)
    last.database.close()
    after.database.close()


def test_where_there_is_no_file_yet_the_new_key_is_the_one_that_encrypts(database_url, tmp_path):
    server = Server(database_url, tmp_path / "keys" / "master.key")
    with pytest.raises(MasterKeyMissing):
        server.masters.rotate(actor=OPERATOR)
    made = server.masters.create(actor=OPERATOR)
    assert made.encrypts
    assert server.keyring.first.id == made.id
    server.database.close()


# --- keys that do not open -------------------------------------------------------------------------


def test_keys_that_do_not_open_are_named_and_left_as_they_are(server):
    server.vault.sql("UPDATE provider_keys SET master_key_id = :id WHERE project_id IN "
                     "(SELECT id FROM projects WHERE slug = 'search')", id=LOST_ID)  # fmt: skip
    server.vault.sql("UPDATE provider_keys SET last4 = '9999' WHERE project_id IN "
                     "(SELECT id FROM projects WHERE slug = 'payments')")  # fmt: skip
    made = server.masters.create(actor=OPERATOR)
    status = server.masters.status(actor=OPERATOR)
    assert [(each.id, each.use, each.stored_keys) for each in status.master_keys] == [
        (OLD_ID, "encrypts", 2),
        (made.id, "next", 0),
        (LOST_ID, "missing", 1),
    ]
    assert [(each.project, each.master_key_id) for each in status.locked] == [("search", LOST_ID)]
    before = server.vault.sql("SELECT * FROM provider_keys WHERE master_key_id = :id", id=LOST_ID)
    done = server.masters.rotate(actor=OPERATOR)
    assert done.resealed == 1
    assert [(each.project, each.master_key_id) for each in done.left] == [
        ("payments", OLD_ID),
        ("search", LOST_ID),
    ]
    assert "was altered" in done.left[0].why
    assert f"does not have master key {LOST_ID}" in done.left[1].why
    assert before == server.vault.sql("SELECT * FROM provider_keys WHERE master_key_id = :id", id=LOST_ID)
    assert server.vault.opened("checkout") == key_of("checkout")
    with pytest.raises(KeyLocked):
        server.vault.opened("search")
    with pytest.raises(MasterKeyInUse, match=r"1 stored key is sealed with .* \(payments\)"):
        server.masters.retire(OLD_ID, actor=OPERATOR)


# --- what may not go -------------------------------------------------------------------------------


def test_a_master_key_that_seals_or_encrypts_or_is_not_there_is_not_retired(server):
    made = server.masters.create(actor=OPERATOR)
    before, text = server.log("master"), server.path.read_text()
    with pytest.raises(
        MasterKeyInUse, match=r"3 stored keys are sealed with mk-\w+ \(checkout, payments, search\)"
    ):
        server.masters.retire(OLD_ID, actor=OPERATOR)
    for slug in SLUGS:
        server.vault.remove(slug)
    with pytest.raises(MasterKeyInUse, match="is the master key that encrypts"):
        server.masters.retire(OLD_ID, actor=OPERATOR)
    with pytest.raises(BadInput, match=f"has no master key of that id. It has: {OLD_ID}, {made.id}"):
        server.masters.retire(LOST_ID, actor=OPERATOR)
    assert (server.log("master"), server.path.read_text()) == (before, text)


def test_what_cannot_be_audited_leaves_the_file_as_it_is(server, database_kind):
    server.masters.create(actor=OPERATOR)
    text = server.path.read_text()
    for statement in _NO_MORE_AUDIT[database_kind]:
        server.vault.sql(statement)
    for step in (
        lambda: server.masters.create(actor=OPERATOR),
        lambda: server.masters.rotate(actor=OPERATOR),
    ):
        with pytest.raises(Exception, match=r"full|database"):
            step()
    assert server.path.read_text() == text
    assert set(server.sealed_with().values()) == {OLD_ID}


_NO_MORE_AUDIT = {
    "sqlite": ["CREATE TRIGGER no_more BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END"],
    "postgresql": [
        "CREATE FUNCTION no_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full'; END $$",
        "CREATE TRIGGER no_more BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION no_more()",
    ],
}


# --- races -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["replace", "remove"])
def test_a_key_that_is_replaced_or_removed_while_it_is_handed_over_stays_so(server, another, change):
    server.masters.create(actor=OPERATOR)
    once = Event()

    @event.listens_for(server.database.engine, "before_cursor_execute")
    def _between(_connection, _cursor, statement, *_: object) -> None:
        """After the list was read and before the first row is locked, somebody else is at work."""
        if "audit_log" in statement and "INSERT" in statement and not once.is_set():
            once.set()
            change_it.start()
            change_it.join(0.3)  # it waits for us, or not: either order must do

    def _change() -> None:
        another.save("search", "sk-test-search-key-0009") if change == "replace" else another.vault.remove(
            "search"
        )

    change_it = Thread(target=_change)
    done = server.masters.rotate(actor=OPERATOR)
    change_it.join()
    assert done.left == []
    server.masters.rotate(actor=OPERATOR)
    wanted = dict(ALL)
    wanted.pop("search") if change == "remove" else wanted.update(search="sk-test-search-key-0009")
    assert server.opened() == another.opened() == wanted
    assert set(server.sealed_with().values()) == {done.to}


def test_two_rotations_and_people_who_save_at_once_end_with_every_key_on_the_new_master(server, another):
    server.masters.create(actor=OPERATOR)
    begin, failed = Barrier(3), list[Exception]()

    def work(what: Any) -> None:
        begin.wait()
        try:
            what()
        except Exception as problem:  # noqa: BLE001 - told below
            failed.append(problem)

    def save_all() -> None:
        for number in range(10):
            for slug in SLUGS:
                another.save(slug, f"sk-test-{slug}-key-1{number:03}")

    threads = [
        Thread(target=work, args=(what,))
        for what in (
            lambda: server.masters.rotate(actor=OPERATOR),
            lambda: another.masters.rotate(actor=OPERATOR),
            save_all,
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    done = server.masters.rotate(actor=OPERATOR)
    assert server.opened() == another.opened() == {slug: f"sk-test-{slug}-key-1009" for slug in SLUGS}
    assert set(server.sealed_with().values()) == {done.to}
    server.masters.retire(OLD_ID, actor=OPERATOR)


def test_a_save_that_has_begun_keeps_the_master_key_it_seals_with_from_being_retired(server):
    """Else its key would be sealed with one that nobody has after a restart."""
    for slug in SLUGS:
        server.vault.remove(slug)
    made = server.masters.create(actor=OPERATOR)
    entries = [line for line in server.path.read_text().splitlines() if id_of(Secret(line))]
    saver = Server(server.vault.url, server.path, ",".join(reversed(entries)))  # there the new one seals
    begun, told = Event(), list[str]()

    @event.listens_for(saver.database.engine, "before_cursor_execute")
    def _sealed(_connection, _cursor, statement, *_: object) -> None:
        """The key is sealed, and not yet in the database."""
        if "INSERT INTO provider_keys" in statement:
            begun.set()
            retiring.join(0.5)

    def _retire() -> None:
        begun.wait()
        try:
            server.masters.retire(made.id, actor=OPERATOR)
        except MasterKeyInUse as problem:
            told.append(problem.sentence)

    retiring = Thread(target=_retire)
    retiring.start()
    saver.save("search", key_of("search"))
    retiring.join()
    assert told == [f"1 stored key is sealed with {made.id} (search). Rotate first. Nothing was changed."]
    assert server.opened() == {"search": key_of("search")}
    saver.database.close()

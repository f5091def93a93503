"""Keys under races: the next call uses what has committed, and of two people who replace at once one wins."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from lib.errors import KeyChanged, KeyMissing
from tests.providers import PROVIDERS, in_turn
from tests.vaults import Vault, VaultProcess, open_vault
from tests.whole import whole_or

MASTER = bytes(range(100, 132))
ROUNDS = whole_or(200, 1000)


@pytest.fixture
def vault(database_url: str) -> Iterator[Vault]:
    with open_vault(database_url, MASTER, projects=("checkout",)) as opened:
        yield opened


@pytest.fixture
def other(vault: Vault, database_url: str) -> Iterator[VaultProcess]:
    """A second process over the same database."""
    with VaultProcess(database_url, MASTER) as process:
        yield process


def key(number: int, provider: str = "") -> str:
    return f"sk-test-round-{provider}-key-{number:04}"


def together(count: int, what: object) -> list[object]:
    """Do it in as many threads at once; return what each got, exceptions too."""
    start, found = threading.Barrier(count), [None] * count

    def one(number: int) -> None:
        start.wait()
        try:
            found[number] = what(number)
        except KeyChanged as problem:
            found[number] = problem

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_the_first_call_after_a_commit_in_another_process_uses_the_new_key(vault, other):
    """Saved there, used here; then saved here, used there; the providers take turns, and none sees another's."""
    for number in range(0, ROUNDS // len(PROVIDERS), 2):
        for vault.provider in PROVIDERS:
            now, then = key(number, vault.provider), key(number + 1, vault.provider)
            told = {"slug": "checkout", "provider": vault.provider}
            assert other.ask(do="save", key=now, expected=number, **told) == number + 1
            assert vault.opened("checkout") == now
            vault.save("checkout", then, number + 1)
            assert other.ask(do="opened", **told) == then


def test_the_first_call_after_a_removal_in_another_process_does_not_use_the_key(vault, other):
    for number, vault.provider in enumerate(in_turn(21)):
        told = {"do": "opened", "slug": "checkout", "provider": vault.provider}
        vault.save("checkout", key(number))
        assert other.ask(**told) == key(number)
        vault.remove("checkout")
        assert other.ask(**told)["error"] == KeyMissing.__name__


def test_of_two_processes_that_replace_at_once_one_wins_and_the_other_is_told(vault, other, database_url):
    with VaultProcess(database_url, MASTER) as third:
        assert (other.ask(do="ready"), third.ask(do="ready")) == (True, True)
        for version in range(30):
            for number, process in enumerate((other, third)):
                process.tell(do="save", slug="checkout", key=key(10 * version + number), expected=version)
            answers = [other.answer(), third.answer()]
            winner = 0 if answers[0] == version + 1 else 1
            assert answers[winner] == version + 1
            assert answers[1 - winner]["error"] == KeyChanged.__name__
            assert (
                f"•••• {key(10 * version + winner)[-4:]} in the meantime" in answers[1 - winner]["sentence"]
            )
            assert vault.opened("checkout") == key(10 * version + winner)
    assert vault.audit("checkout")[1:] == ["key:saved"] + ["key:rotated"] * 29


def test_of_ten_threads_that_save_at_once_one_wins(vault):
    for version in range(5):
        found = together(10, lambda number, seen=version: vault.save("checkout", key(number), seen))
        assert sum(isinstance(problem, KeyChanged) for problem in found) == 9
        (state,) = [state for state in found if not isinstance(state, KeyChanged)]
        assert state.version == version + 1
        assert vault.opened("checkout")[-4:] == state.last4
    assert len(vault.audit("checkout")) == 1 + 5


def test_ten_clicks_of_the_same_save_are_one_version(vault):
    states = together(10, lambda _: vault.save("checkout", key(1)))
    assert {state.version for state in states} == {1}
    assert vault.audit("checkout")[1:] == ["key:saved"]


def test_of_a_replacement_and_a_removal_at_once_the_state_is_that_of_the_last_audit_row(vault):
    for number in range(10):
        version = vault.replace("checkout", key(number)).version

        def change(who: int, version: int = version, number: int = number) -> object:
            return vault.remove("checkout") if who else vault.save("checkout", key(100 + number), version)

        together(2, change)
        last = vault.audit("checkout")[-1]
        assert vault.describe("checkout").source == ("platform" if last == "key:removed" else "byok")


def test_while_keys_are_replaced_every_look_finds_a_whole_one(vault):
    """Never neither, never half of one and half of the other."""
    vault.save("checkout", key(0))
    done, seen = threading.Event(), [set() for _ in range(3)]

    def look(found: set[str]) -> None:
        while not done.is_set():
            resolved = vault.keys.resolve("checkout")
            assert resolved.secret.last4 == resolved.last4
            found.add(resolved.secret.reveal())

    failures: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, failures.append
    threads = [threading.Thread(target=look, args=(found,)) for found in seen]
    try:
        for thread in threads:
            thread.start()
        for number in range(1, 60):
            vault.save("checkout", key(number), number)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        threading.excepthook = before
    assert failures == []
    assert set().union(*seen) <= {key(number) for number in range(60)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_uses_what_was_saved_after_the_fork(vault):
    vault.save("checkout", key(1))
    vault.opened("checkout")
    (go_receive, go_send), (said_receive, said_send) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.read(go_receive, 1)
            said = vault.opened("checkout")
        except BaseException as problem:  # noqa: BLE001 - the test reads it
            said = repr(problem)
        os.write(said_send, said.encode())
        os._exit(0)
    vault.save("checkout", key(2), 1)
    os.write(go_send, b"!")
    os.waitpid(child, 0)
    assert os.read(said_receive, 1000).decode() == key(2)
    for descriptor in (go_receive, go_send, said_receive, said_send):
        os.close(descriptor)

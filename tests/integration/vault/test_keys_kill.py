"""Killed at any point of a save or a replacement: the old key or the new one, never neither, never half."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from itertools import count

import pytest
from sqlalchemy import event

from tests.providers import PROVIDERS, in_turn
from tests.vaults import Vault, open_vault
from tests.whole import whole_or

MASTER = bytes(range(100, 132))
KILLS = whole_or(40, 100)  # on each engine


def _replace_for_ever(vault: Vault, keys: list[str], say: Callable[[dict[str, object]], object]) -> None:
    version = vault.describe("checkout").version
    for key in keys:
        say({"begin": key})
        version = vault.save("checkout", key, version).version
        say({"saved": key})


def _kill_somewhere(vault: Vault, chance: random.Random) -> None:
    """Start a process that replaces without end, and kill it in the middle of that."""
    before = vault.opened("checkout")
    keys = [f"sk-test-{chance.randrange(10**12):012}-{number}" for number in range(500)]
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        _replace_for_ever(vault, keys, lambda words: os.write(send, json.dumps(words).encode() + b"\n"))
        os._exit(1)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = [json.loads(pipe.readline())]
        # A place is wanted that nobody chose: a save takes a few milliseconds, on either engine.
        time.sleep(chance.random() * 0.015)
        os.kill(child, signal.SIGKILL)
        said += [json.loads(line) for line in pipe if line.endswith(b"\n")]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    _check(vault, before, keys, said)


def _check(vault: Vault, before: str, keys: list[str], said: list[dict[str, object]]) -> None:
    saved = [str(words["saved"]) for words in said if "saved" in words]
    done = len(saved)
    assert saved == keys[:done]
    # What it said it saved is there; what it was about to save is there whole, or not at all.
    old = saved[-1] if saved else before
    assert vault.opened("checkout") in {old, keys[done]}
    state = vault.describe("checkout")
    assert (state.status, state.last4) == ("working", vault.opened("checkout")[-4:])
    rows = vault.sql(
        "SELECT version, ended_at, sealed_value FROM provider_keys WHERE provider = :provider ORDER BY version",
        provider=vault.provider,
    )
    assert [row.version for row in rows] == list(range(1, len(rows) + 1))
    assert [row.ended_at is None for row in rows] == [False] * (len(rows) - 1) + [True]
    assert [row.sealed_value is None for row in rows] == [True] * (len(rows) - 1) + [False]
    logged = vault.sql("SELECT after FROM audit_log WHERE action IN ('key:saved', 'key:rotated') ORDER BY id")
    told = [told for row in logged if (told := json.loads(row.after))["provider"] == vault.provider]
    assert [row["version"] for row in told] == [row.version for row in rows]
    assert told[-1]["last4"] == state.last4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_again_and_again_there_is_always_exactly_one_usable_key(database_url):
    """At random places, of a key of each provider in turn."""
    seed = int(os.environ.get("KILL_SEED", "20260329"))
    chance = random.Random(seed)
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        for vault.provider in PROVIDERS:
            vault.save("checkout", f"sk-test-first-key-{vault.provider}-0001")
        for vault.provider in in_turn(KILLS):
            _kill_somewhere(vault, chance)
        assert vault.replace("checkout", "sk-test-last-key-9999").status == "working"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_after_any_statement_of_a_first_save_there_is_the_whole_key_or_none(database_url):
    platform_key, own_key = "sk-test-platform-key-0003", "sk-test-first-key-1111"
    survived = []
    for statements in range(1, 30):
        slug = f"checkout-{statements}"
        with open_vault(database_url, MASTER, platform_key=platform_key, projects=(slug,)) as vault:
            survived.append(_die_after(vault, statements, slug, own_key))
            saved = vault.audit(slug)[1:]
            assert saved in ([], ["key:saved"])
            assert vault.opened(slug) == (own_key if saved else platform_key)
            assert saved or not survived[-1]
            assert vault.save(slug, own_key).version == 1
        if survived[-1]:
            break
    assert survived == [False] * (len(survived) - 1) + [True]
    assert len(survived) > 4


def _die_after(vault: Vault, statements: int, slug: str, key: str) -> bool:
    """Save in a child that is killed right after that many statements; whether it got to the end."""
    child = os.fork()
    if not child:
        left = count(statements, -1)

        @event.listens_for(vault.database.engine, "after_cursor_execute")
        def _executed(*_: object) -> None:
            if next(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        vault.save(slug, key)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

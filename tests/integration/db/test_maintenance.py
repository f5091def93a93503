"""``db maintain``: the room of deleted rows comes back, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, insert

from lib.cli import cli
from lib.db.tables import saved_views
from lib.db.upkeep.checkup import examine
from lib.db.upkeep.maintenance import maintain
from lib.platform import Platform
from lib.usage import rollups


@pytest.fixture
def run(shop: Platform) -> Callable[..., Result]:
    """The command as an operator types it."""

    def run(*words: str) -> Result:
        assert shop.settings.master_keys
        environment = {
            "DATABASE_URL": shop.settings.database_url,
            "QODEX_MASTER_KEYS": shop.settings.master_keys.reveal(),
        }
        return CliRunner().invoke(cli, ["db", "maintain", *words], env=environment)

    return run


def leave_room(shop: Platform) -> None:
    """Write some megabytes and delete them."""
    with shop.database.write() as connection:
        rows = [
            {
                **dict.fromkeys(("owner", "page", "saved_by"), "a"),
                "scope": "-",
                "id": str(number),
                "name": str(number),
                "query": "x" * 500,
                "saved_at": 1,
            }
            for number in range(4_000)
        ]
        connection.execute(insert(saved_views), rows)
    with shop.database.write() as connection:
        connection.execute(delete(saved_views))


def call(shop: Platform) -> None:
    with shop.run("shop") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hi")


def test_in_full_the_room_of_deleted_rows_is_given_back(shop: Platform, run: Callable[..., Result]) -> None:
    call(shop)
    leave_room(shop)
    done = run("--full", "--yes", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["after"] < told["before"] - 1_000_000
    call(shop)
    assert list(rollups.verify(shop.database)) == []
    found = examine(shop.database, shop.settings.database_url)
    assert [each for each in found if each.status == "broken"] == []


def test_otherwise_calls_go_on_meanwhile(shop: Platform, run: Callable[..., Result]) -> None:
    leave_room(shop)
    with shop.run("shop") as under_way:
        under_way.openai.responses.create(model="gpt-5-mini", input="Hi")
        assert run().exit_code == 0
        under_way.openai.responses.create(model="gpt-5-mini", input="Hi")
    assert maintain(shop.database).after > 0


def test_what_keeps_everybody_waiting_asks_first(shop: Platform, run: Callable[..., Result]) -> None:
    refused = run("--full")
    assert refused.exit_code == 1
    assert "wait" in refused.stderr

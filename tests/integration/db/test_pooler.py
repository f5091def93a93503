"""Through a pooler that gives each transaction another connection, and with what DATABASE_URL may say to psycopg."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import text

from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.blocks.line import Ticket
from lib.db.blocks.pool import Pool
from lib.errors import DatabaseUnavailable
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.services import PostgresServer, pgbouncer_program, running_pgbouncer
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])
CLIENTS = 8


@pytest.fixture
def pooled_url(database_url: str, postgres: PostgresServer) -> Iterator[str]:
    """The new database through a PgBouncer with three connections to it."""
    program = pgbouncer_program()
    if program is None:
        pytest.skip("there is no pgbouncer on this machine (Debian and Ubuntu: apt-get install pgbouncer)")
    with running_pgbouncer(program, postgres, pool=3) as through:
        yield through(database_url.partition("?")[0].rpartition("/")[2])


def in_threads(act: Callable[[int], None], *, number: int = CLIENTS) -> None:
    failed: list[BaseException] = []

    def run(which: int) -> None:
        try:
            act(which)
        except BaseException as problem:  # noqa: BLE001 - the test shows it
            failed.append(problem)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_no_statement_fails_and_none_is_anothers(pooled_url: str) -> None:
    """Each client runs statements of its own, as often as psycopg would prepare them; a foreign client does prepare."""

    def ours(which: int) -> None:
        database = Database(pooled_url, limits=Limits(pool=2))
        for number in range(40):
            with database.write(durable=False) as connection:
                asked = text(f"SELECT {which} + {number % 3} * CAST(:many AS integer)")
                assert connection.execute(asked, {"many": number}).scalar_one() == which + number % 3 * number
        database.close()

    stop = threading.Event()

    def foreign() -> None:
        address = pooled_url.replace("postgresql+psycopg", "postgresql")
        while not stop.is_set():
            try:
                with psycopg.connect(address) as connection:
                    for number in range(20):
                        connection.execute("SELECT %s::integer * 1000", (number,))
                        connection.commit()
            except psycopg.Error:
                continue  # which is what becomes of who prepares

    other = threading.Thread(target=foreign)
    other.start()
    try:
        in_threads(ours)
    finally:
        stop.set()
        other.join()


def prepared(url: str, uses: int = 8) -> int:
    """How many statements a process has prepared on the server after these uses of one."""
    database = Database(url, limits=Limits(pool=1))
    with closing(database):
        for _ in range(uses):
            with database.read() as connection:
                connection.execute(text("SELECT count(*) FROM projects"))
        with database.read() as connection:
            found = connection.execute(
                text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%projects'")
            )
            return int(found.scalar_one())


def test_what_is_used_often_is_prepared_on_the_server_itself_and_never_through_a_pooler(
    database_url: str, pooled_url: str
) -> None:
    assert (prepared(database_url), prepared(pooled_url)) == (1, 0)


def test_the_url_decides_whether_statements_are_prepared(database_url: str) -> None:
    asked = [prepared(f"{database_url}&prepare_threshold={often}") for often in ("none", "0", "50")]
    assert asked == [0, 1, 0]


def test_calls_of_several_workers_are_all_settled_and_every_sum_is_right(
    pooled_url: str, settings: Settings, upstream: ScriptedUpstream
) -> None:
    through = settings.model_copy(
        update={"database_url": pooled_url, "openai_api_key": Secret(PLATFORM_KEY), "db_pool": 4}
    )
    shop = Platform(through)
    shop.projects.add("shop", actor=shop.actor)

    def work(_: int) -> None:
        worker = Platform(through)
        with worker.run("shop") as run:
            for _ in range(6):
                run.openai.responses.create(model="gpt-5-nano", input="Hello", max_output_tokens=16)
        worker.close()

    in_threads(work, number=4)
    with shop.database.read() as connection:
        found = connection.execute(text("SELECT count(*), count(cost_nano) FROM usage_events")).one()
        open_calls = connection.execute(text("SELECT count(*) FROM open_calls")).scalar_one()
        reserved = connection.execute(text("SELECT sum(reserved_nano) FROM accounts")).scalar_one()
    assert (tuple(found), open_calls, int(reserved)) == ((24, 24), 0, 0)
    assert list(rollups.verify(shop.database)) == []
    shop.close()


def test_no_transaction_of_a_new_worker_asks_for_a_second_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all of a pooler's connections hold transactions that want one more, they wait for each other."""
    given = settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)})
    with closing(Platform(given)) as first:
        for slug, key in (("platform-funded", None), ("byok", GOOD_KEY)):
            first.projects.add(slug, actor=first.actor)
            if key:
                first.keys.save(slug, key)
    enter, second = Pool.enter, []

    def watched(pool: Pool, seconds: float) -> Ticket | None:
        if pool._line.has(threading.get_ident()):
            second.append(traceback.format_stack(limit=12))
        return enter(pool, seconds)

    monkeypatch.setattr(Pool, "enter", watched)
    for slug in ("platform-funded", "byok"):
        with closing(Platform(given)) as worker, worker.run(slug) as run:
            run.openai.responses.create(model="gpt-5-nano", input="Hello", max_output_tokens=16)
    with closing(Platform(given)) as worker:
        worker.projects.add("new", actor=worker.actor)
        worker.keys.save("new", GOOD_KEY)
        worker.keys.remove("byok")
    assert second == []


@pytest.mark.parametrize(
    ("option", "asked", "found"),
    [
        ("application_name=w1", "SHOW application_name", "w1"),
        ("prepare_threshold=0", "SELECT 1", "1"),
        ("prepare_threshold=5", "SELECT 1", "1"),
        ("prepare_threshold=None", "SELECT 1", "1"),
        ("connect_timeout=3", "SELECT 1", "1"),
        ("sslmode=disable", "SELECT 1", "1"),
        ("options=-c%20work_mem%3D8MB", "SHOW work_mem", "8MB"),
    ],
)
def test_an_option_that_psycopg_knows_works_in_the_url(
    database_url: str, option: str, asked: str, found: str
) -> None:
    database = Database(f"{database_url}&{option}")
    for _ in range(8):
        with database.read() as connection:
            assert str(connection.execute(text(asked)).scalar_one()) == found
    database.close()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nonsense=1", "has an option that is not known"),
        ("prepare_threshold=many", "is a whole number, or none"),
    ],
)
def test_another_option_is_one_sentence(database_url: str, option: str, words: str) -> None:
    database = Database(f"{database_url}&{option}")
    with pytest.raises(DatabaseUnavailable, match=words) as problem, database.read():
        pass
    assert problem.value.cause == "options"
    database.close()


def test_the_servers_list_of_sessions_tells_a_worker_from_a_dashboard(settings: Settings) -> None:
    shop = Platform(settings)
    with shop.database.read() as connection:
        assert connection.execute(text("SHOW application_name")).scalar_one() == "qodex worker"
    shop.close()

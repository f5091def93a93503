"""COPY hands over what a SELECT finds, ends in SQLAlchemy's errors, and leaves the connection usable."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Select, literal, literal_column, select, text

from lib.db import Database
from lib.db.copying import copied
from lib.errors import DatabaseUnavailable

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])
MANY = 200_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def numbers(cell: str = "number") -> Select[tuple[object]]:
    series = text(f"generate_series(1, {MANY}) AS number")
    return select(literal_column(cell).label("cell")).select_from(series)


def test_all_rows_come_in_their_order(database: Database) -> None:
    with database.read() as connection:
        blocks = list(copied(connection, numbers(), delimiter=","))
    assert len(blocks) > 1
    assert b"".join(blocks) == b"".join(b"%d\n" % number for number in range(1, MANY + 1))


def test_cells_are_quoted_where_they_must_be_and_parameters_are_no_sql(database: Database) -> None:
    hostile = ["it's", 'quote "', "two\nlines", "a\x1fb", "100 %", "%s", "back\\slash", ":name", ""]
    with database.read() as connection:
        query = select(*(literal(value).label(f"cell{place}") for place, value in enumerate(hostile)))
        [block] = copied(connection, query, delimiter="\x1f")
    [cells] = csv.reader(io.StringIO(block.decode(), newline=""), delimiter="\x1f")
    assert cells == hostile


def test_what_is_given_up_in_the_middle_is_not_read_to_its_end(database: Database) -> None:
    # Among the columns: as a table PostgreSQL would make all of it before the first row.
    endless = select(literal_column("repeat('x', 1000)"), literal_column("generate_series(1, 100000000)"))
    begun = time.monotonic()
    with database.read() as connection:
        found = copied(connection, endless, delimiter=",")
        next(found)
        found.close()
    assert time.monotonic() - begun < 20  # all of it is 100 GB
    _still_works(database)


def test_an_error_before_or_between_rows_is_one_sentence(database: Database) -> None:
    for cell in ("1 / (number - 1)", f"1 / (number - {MANY})", "nothing"):
        with pytest.raises(DatabaseUnavailable, match="Nothing was changed"), database.read() as connection:
            list(copied(connection, numbers(cell), delimiter=","))
        _still_works(database)


def test_a_server_that_ends_the_connection_is_a_sentence(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="did not"), database.read() as connection:  # noqa: PT012
        found = copied(connection, numbers(), delimiter=",")
        next(found)
        own = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        with database.write() as other:
            other.execute(text(f"SELECT pg_terminate_backend({own})"))
        list(found)
    _still_works(database)


def _still_works(database: Database) -> None:
    assert database.in_use == 0
    with database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1

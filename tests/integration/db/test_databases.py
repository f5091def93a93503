"""The databases that tests get: their own, on both engines, with or without the schema."""

from __future__ import annotations

from sqlalchemy import create_engine, inspect, text


def _tables(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    assert _tables(empty_database_url) == []


def test_a_database_has_the_schema(database_url: str) -> None:
    assert "usage_events" in _tables(database_url)


def test_what_one_test_writes_no_other_test_sees(database_url: str) -> None:
    """Runs once for each engine and each time finds no table of this name."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE only_here (id integer)"))
    engine.dispose()
    assert "only_here" in _tables(database_url)

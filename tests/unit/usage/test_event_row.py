"""The usage row and its sums are defined once: what else knows their columns agrees with that."""

from __future__ import annotations

from lib.db.rollup_tables import MEASURES
from lib.db.tables import usage_daily, usage_events, usage_hourly
from lib.usage import measures
from lib.usage.event_row import COLUMNS, EventRow

ROW = EventRow(
    project_id="p",
    event_id="e",
    occurred_at=0,
    source="byok",
    provider="openai",
    model="m",
    endpoint="responses",
    status="ok",
)


def test_the_row_has_the_columns_of_its_table_in_their_order():
    assert list(COLUMNS) == [column.name for column in usage_events.columns]


def test_a_row_that_is_told_nothing_else_is_unknown_and_live():
    named = {"project_id", "event_id", "occurred_at", "source", "provider", "model", "endpoint", "status"}
    rest = {name: value for name, value in ROW.values().items() if name not in named}
    assert rest.pop("imported") is False
    assert set(rest.values()) == {None}


def test_every_measure_is_a_column_of_both_roll_ups_and_has_its_sql():
    for table in (usage_hourly, usage_daily):
        assert tuple(column.name for column in table.columns)[-len(MEASURES) :] == MEASURES
    assert tuple(measures.SQL) == tuple(measures.of_event(ROW)) == MEASURES


def test_an_event_of_unknown_cost_counts_as_unpriced_and_adds_no_money():
    assert measures.of_event(ROW)["unpriced_calls"] == 1
    assert measures.of_event(ROW)["cost_nano"] == 0
    ROW.cost_nano = 0
    assert measures.of_event(ROW)["unpriced_calls"] == 0
    ROW.cost_nano = None

"""Pages over months whose single calls are archived: what holds them all is shown, and what does not is said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.clock import to_micros
from lib.exchange.archive import Archive
from tests.events import put_anew
from tests.pages import Dashboard

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
TIMES = [to_micros(datetime(2026, month, 5, 12, tzinfo=UTC)) for month in (1, 2, 3)]
PERIOD = {"period": "custom", "from": "2026-01-01", "to": "2026-03-31"}


@pytest.fixture
def archived(dashboard: Dashboard, tmp_path: Path) -> Dashboard:
    """Three calls, of which those of January and February are archived."""
    platform = dashboard.platform
    platform.projects.add("shop", actor=platform.actor)
    event = {
        "project": "shop",
        "source": "byok",
        "model": "gpt-5-mini",
        "input_tokens": 5,
        "output_tokens": 5,
    }
    put_anew(platform.database, [{**event, "occurred_at": at, "cost_nano": 10**9} for at in TIMES])
    done = Archive(platform.database, tmp_path / "files", actor=platform.actor).run(
        to_micros(datetime(2026, 3, 1, tzinfo=UTC))
    )
    assert [month.rows for month in done] == [1, 1]
    return dashboard


@pytest.mark.parametrize("group", ["project", "key", "user"])
def test_usage_says_from_when_on_single_calls_are_here_and_sums_all_of_them(
    archived: Dashboard, group: str
) -> None:
    page = archived.open("usage", group=group, **PERIOD)
    assert not page.exception
    captions = [caption.value for caption in page.caption]
    assert any("Single calls before 1 Mar 2026 are archived" in caption for caption in captions)
    assert any(caption.startswith("3 calls.") for caption in captions)


def test_a_period_that_is_all_here_says_nothing(archived: Dashboard) -> None:
    page = archived.open("usage", period="custom", to="2026-03-31", **{"from": "2026-03-01"})
    assert not [caption for caption in page.caption if "archived" in caption.value]

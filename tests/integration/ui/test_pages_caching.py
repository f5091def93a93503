"""What caching saves, on Usage: in money from each call's own prices; unknown stays unknown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.clock import HOUR, iso
from lib.exchange.imports.import_usage import import_usage
from lib.formatting import MINUS
from lib.ui.base import loaders
from tests.pages import ADMIN, Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
HEADER = (
    "occurred_at,project,source,model,input_tokens,cached_input_tokens,cache_write_tokens,output_tokens,cost_usd,"
    "price_input,price_cached_input,price_cache_write"
)


@pytest.fixture(autouse=True)
def _fresh(dashboard: Dashboard) -> None:
    """What other tests loaded is forgotten."""
    loaders.forget()


def use(dashboard: Dashboard, *rows: str) -> None:
    """Import an hour ago: project, source, model, input, read, written, price of plain, read and written input."""
    platform = dashboard.platform
    with platform.database.read() as connection:
        at = iso(platform.database.now(connection) - HOUR)
    lines = [HEADER]
    for number, row in enumerate(rows):
        project, source, model, asked, read, written, *prices = row.split(",")
        lines.append(
            f"{at},{project},{source},{model},{asked},{read},{written},{number},1,{','.join(prices)}"
        )
    file = io.BytesIO("\n".join(lines).encode())
    result = import_usage(platform.database, platform.prices, file, name="test.csv", actor=ADMIN)
    assert result.added == len(rows)


def table(page: AppTest) -> Any:
    [found] = [each for each in page.dataframe if each.proto.alt.startswith("What caching saves")]
    return found.value


def test_each_model_says_what_was_saved_what_was_paid_and_from_where_on_a_write_pays(dashboard: Dashboard):
    for slug in ("one", "two"):
        dashboard.add(slug)
    use(
        dashboard,
        "one,platform,reader,2000000,1000000,0,2,0.5,",
        "two,byok,writer,2000000,1000000,500000,4,1,5",
        "two,byok,wasted,2000000,0,1000000,4,1,5",
        "two,byok,mystery,2000000,1000000,0,,,",
    )
    page = dashboard.open("usage")
    found = table(page)
    assert found["Model"].tolist() == ["writer", "reader", "wasted", "mystery"]
    assert found["Saved by reads"].tolist()[:3] == pytest.approx([3, 1.5, 0])
    assert found["Paid for writes"].tolist()[:3] == pytest.approx([0.5, 0, 1])
    assert found["Net"].tolist() == ["$2.50", "$1.50", f"{MINUS}$1.00", ""]
    assert found["Reads per written token"].tolist() == ["2.0, pays from 0.33", "", "0.00", ""]
    assert found["Not known"].tolist() == [0, 0, 0, 1]
    said = texts(page)
    assert "**$3.00 saved**" in said
    assert "Platform-funded $1.50" in said
    assert "BYOK $1.50" in said
    assert "42.9% of what would have been spent without it." in said
    assert "Reads saved $4.50, writes cost $1.50 more than plain input. Not known of 1 call" in said


def test_the_card_follows_the_filters(dashboard: Dashboard):
    dashboard.add("one")
    use(dashboard, "one,platform,reader,2000000,1000000,0,2,0.5,", "one,byok,other,2000000,1000000,0,4,1,")
    page = dashboard.open("usage", source="byok")
    assert table(page)["Model"].tolist() == ["other"]
    assert "Writes to the cache were not charged for." in texts(page)


def test_without_any_use_of_a_cache_it_says_so(dashboard: Dashboard):
    dashboard.add("one")
    use(dashboard, "one,platform,plain,2000000,0,0,2,0.5,")
    assert "No input was read from a provider's cache, and none was written to one." in texts(
        dashboard.open("usage")
    )

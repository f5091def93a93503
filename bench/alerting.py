"""What alerts cost a platform-funded call: opened and settled with them, against the same ledger without."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import bindparam, literal

from bench.measure import interleaved, median, ratio, table, verdict
from bench.workplace import database_urls
from lib.db.migrate import migrate
from lib.db.tables import accounts
from lib.ledger import ledger
from lib.usage import events
from tests.spending import Shop

COST, CALLS = 1_000, 20
ROUNDS = 60


def main() -> None:
    """Print the table."""
    rows = []
    with database_urls() as urls:
        for engine, url in urls.items():
            shop = Shop(url)
            migrate(shop.database)
            rows.append((engine, *_measured(shop)))
            shop.close()
    header = ("engine", "without, µs", "with, µs", "with / without")
    table("A platform-funded call with alerts, across all of its thresholds", header, rows)


def _measured(shop: Shop) -> tuple[str, ...]:
    # Half of the calls, which is what one of the two makes, cross all thresholds.
    cap = (ROUNDS * CALLS + CALLS) * COST
    works = {name: _spending(shop, name, cap) for name in ("without", "with")}
    works["without"] = _without_alerts(works["without"])
    times = interleaved(works, ROUNDS, CALLS)
    return (
        f"{median(times['without']):.0f}",
        f"{median(times['with']):.0f}",
        verdict(ratio(times, "with", "without"), 1.05),
    )


def _spending(shop: Shop, slug: str, cap: int) -> Callable[[], None]:
    shop.add(slug, cap_5h=cap, cap_7d=cap)
    run = shop.start(slug=slug)
    return lambda: (shop.spend(run, COST), None)[1]


_COUNTS = (accounts.c.sequence, accounts.c.counted_nano, accounts.c.unknown_nano, accounts.c.last_settled_at)
_NEVER = (literal(0).label("reserved_nano"), literal(2**62).label("alert_above_nano"))


def _without_alerts(work: Callable[[], None]) -> Callable[[], None]:
    """The statements as they would be without: nothing asked of the account, and nothing compared."""
    count = events._COUNT._generate()  # noqa: SLF001 - a copy whose RETURNING is another one
    count._returning = ()  # noqa: SLF001
    count = count.returning(*_COUNTS, *_NEVER, literal(None).label("alert_after"))
    reserve = ledger._RESERVE.values(last_settled_at=bindparam("now"))  # noqa: SLF001 - as it was before alerts
    changed = {(ledger, "_RESERVE_NOW"): reserve, (events, "_COUNT"): count}

    def without() -> None:
        kept = {place: getattr(*place) for place in changed}
        for (module, name), statement in changed.items():
            setattr(module, name, statement)
        try:
            work()
        finally:
            for (module, name), statement in kept.items():
                setattr(module, name, statement)

    return without

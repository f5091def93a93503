"""Spending as tests do it: the ledger without the network, and books that are added up again.

Amounts are whole numbers: the model ``unit`` costs one nano-USD a token.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Row, func, insert, select, text, update

from lib.access.projects import Projects, find
from lib.access.roles import Origin, local_administrator
from lib.alerts import thresholds
from lib.caps.plans import Plans
from lib.caps.reading import CapsView
from lib.caps.windows import WINDOWS, Headroom
from lib.clock import MINUTE, Micros
from lib.db import Database
from lib.db.tables import accounts, open_calls, projects, provider_keys, usage_events
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.price_file import FilePrice, PriceFile
from lib.pricing.prices import PriceBook, Tokens
from lib.providers import DEFAULT, known
from lib.runs.lifecycle import RunStore, StartedRun
from lib.runs.log import RunDetail, RunLog
from lib.secret import Secret
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import MasterKey
from lib.vault.seals import ProjectSeals
from lib.vault.states import KeyState, Verdict

ADMIN = local_administrator(Origin.WORKER, "worker")
PLATFORM_KEY, OWN_KEY = "sk-test-platform-0001PLAT", "sk-test-own-key-0000000001"
_MASTER = b"a master key for tests, 32 bytes"
_A_NANO_A_TOKEN = 1_000_000  # nano-USD per million tokens
UNIT = FilePrice(_A_NANO_A_TOKEN, None, None, _A_NANO_A_TOKEN, 1_000)
PRICES = PriceBook(PriceFile({(provider, "unit"): [UNIT] for provider in known.facts}))
FRAMING = 64  # the ceiling of a request without a single byte
LEASE: Micros = 5 * MINUTE
NOON: Micros = 1_790_000_000_000_000
PLENTY = 10**15


class Clock:
    """A clock that stands still until it is moved. Call it for the time."""

    def __init__(self, now: Micros = NOON) -> None:
        self.now = now

    def __call__(self) -> Micros:
        return self.now


def asking(ceiling: int, **more: Any) -> RequestProfile:
    """A request with exactly this ceiling in nano-USD, at least ``FRAMING``; nothing is free."""
    told = {"endpoint": "responses", "model": "unit", "input_bytes": 0, "output_limit": ceiling - FRAMING}
    rest = {
        "choices": 1,
        "uses_context_window": False,
        "cost_unbounded": None,
        "free": ceiling == 0,
        "streaming": False,
    }
    return RequestProfile(**(told | rest | more))


def answer(cost: int, **more: Any) -> AttemptResult:
    """An answer that cost exactly this."""
    return AttemptResult("ok", Tokens(cost, 0, 0, 0), 200, key_verdict="fine", **more)


UNKNOWN = AttemptResult("unknown", None)


class Shop:
    """The parts that spend, over one database, and the project ``shop``."""

    def __init__(
        self, url: str, clock: Callable[[], Micros] | None = None, *, platform_key: bool = True
    ) -> None:
        self.url = url
        self.database = Database(url, clock=clock)
        self.keyring = Keyring([MasterKey(_MASTER)])
        platform = dict.fromkeys(known.facts, Secret(PLATFORM_KEY)) if platform_key else {}
        self.keys = KeyStore(self.database, self.keyring, platform)
        self.projects = Projects(self.database, ProjectSeals(self.database, self.keyring))
        self.plans = Plans(self.database)
        self.ledger = Ledger(self.database, self.keys, PRICES, ADMIN)
        self.runs = RunStore(self.database, thresholds.refused)
        self.log = RunLog(self.database)
        self.view = CapsView(self.database, ADMIN)

    def add(self, slug: str = "shop", *, cap_5h: int = PLENTY, cap_7d: int = PLENTY) -> str:
        """Add a project with these caps; returns its id."""
        project_id = self.projects.add(slug, actor=ADMIN).id
        self.cap(cap_5h, cap_7d, slug=slug)
        return project_id

    def cap(self, cap_5h: int, cap_7d: int, *, slug: str = "shop", ends_at: Micros | None = None) -> None:
        """Give the project caps of its own."""
        self.plans.set_caps(
            slug, cap_5h_nano=cap_5h, cap_7d_nano=cap_7d, reason="a test", ends_at=ends_at, actor=ADMIN
        )

    def start(self, kind: str = "scan", *, slug: str = "shop", token_budget: int | None = None) -> StartedRun:
        return self.runs.start(slug, kind, actor=ADMIN, token_budget=token_budget)

    def open(
        self, run: StartedRun, ceiling: int, *, lease: Micros = LEASE, provider: str = DEFAULT, **more: Any
    ) -> OpenAttempt:
        return self.ledger.open(run, asking(ceiling, provider=provider), lease=lease, **more)

    def release(self, call: OpenAttempt) -> None:
        """The request never left."""
        self.ledger.release(call.project_id, call.id)

    def spend(self, run: StartedRun, cost: int, *, ceiling: int | None = None) -> OpenAttempt:
        """One whole call."""
        call = self.open(run, ceiling or max(cost, FRAMING))
        self.ledger.settle(call, answer(cost))
        return call

    def save_key(self, slug: str = "shop", key: str = OWN_KEY) -> KeyState:
        seen = self.keys.describe(slug, actor=ADMIN).version
        return self.keys.save(slug, Secret(key), actor=ADMIN, expected_version=seen, verdict=Verdict())

    def remove_key(self, slug: str = "shop") -> None:
        self.keys.remove(slug, actor=ADMIN)

    def headroom(self, slug: str = "shop") -> Headroom:
        return self.view.headroom(slug, actor=ADMIN)

    def show(self, run: StartedRun) -> RunDetail:
        return self.log.show(run.run_id, actor=ADMIN)

    def lock_up(self, slug: str = "shop") -> None:
        """Make the project's key one that no master key here opens, and sealed as such."""
        seals = ProjectSeals(self.database, self.keyring)
        with self.database.write() as connection:
            project_id = find(connection, slug, lock=True).id
            seals.verified(connection, project_id)
            connection.execute(
                update(provider_keys)
                .where(provider_keys.c.project_id == project_id, provider_keys.c.ended_at.is_(None))
                .values(master_key_id="mk-elsewhere")
            )
            seals.write(connection, project_id, seals.in_use(connection, project_id))

    def events(self) -> list[Row[Any]]:
        """All usage rows; those that count in the order in which they did."""
        with self.database.read() as connection:
            order = usage_events.c.project_id, usage_events.c.sequence, usage_events.c.event_id
            return list(connection.execute(select(usage_events).order_by(*order)))

    def account(self, slug: str = "shop") -> Row[Any]:
        with self.database.read() as connection:
            of_project = projects.c.id == accounts.c.project_id
            return connection.execute(
                select(accounts).join(projects, of_project).where(projects.c.slug == slug)
            ).one()

    def open_now(self) -> int:
        """How many calls are open."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(open_calls)).scalar_one()

    def close(self) -> None:
        self.database.close()


@contextmanager
def open_shop(url: str, clock: Callable[[], Micros] | None = None, **caps: int) -> Iterator[Shop]:
    """The project ``shop`` with these caps, else without any that matter; its books are checked at the end."""
    shop = Shop(url, clock)
    shop.add(**caps)
    yield shop
    check_books(shop)
    shop.close()


def at_once(count: int, act: Callable[[int], object]) -> None:
    """Call ``act(0)``, ``act(1)`` … from as many threads at the same moment; raises what any of them raised."""
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait()
        act(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))


def check_books(shop: Shop) -> None:
    """Re-add everything: no account, reservation or running total differs from its rows by one nano-USD."""
    with shop.database.read() as connection:
        rows = connection.execute(select(usage_events).order_by(usage_events.c.sequence)).all()
        held = connection.execute(select(open_calls)).all()
        for account in connection.execute(select(accounts)).all():
            counted = [
                row for row in rows if row.project_id == account.project_id and row.sequence is not None
            ]
            assert [row.sequence for row in counted] == list(range(1, len(counted) + 1))
            assert [row.occurred_at for row in counted] == sorted(row.occurred_at for row in counted)
            total = unknown = 0
            for row in counted:
                amount = row.counted_after_nano - total
                assert amount == row.cost_nano or (row.cost_nano is None and amount >= 0)
                unknown += amount if row.cost_nano is None else 0
                total += amount
                assert (row.counted_after_nano, row.unknown_after_nano) == (total, unknown)
            assert (account.counted_nano, account.unknown_nano) == (total, unknown)
            mine = [call.ceiling_nano or 0 for call in held if call.project_id == account.project_id]
            assert account.reserved_nano == sum(mine)


# --- every state an account has ever been in -------------------------------------------------------

_HISTORY = """CREATE TABLE account_history (
    n {serial} PRIMARY KEY, project_id text, counted bigint, reserved bigint, at bigint)"""
_KEEP = "INSERT INTO account_history (project_id, counted, reserved, at) VALUES (NEW.project_id, NEW.counted_nano, "
_SQLITE = (
    f"CREATE TRIGGER keep AFTER UPDATE ON accounts BEGIN {_KEEP} NEW.reserved_nano, NEW.last_settled_at); END"
)
_POSTGRES = (
    f"""CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {_KEEP} NEW.reserved_nano, NEW.last_settled_at); RETURN NULL; END $$""",
    "CREATE TRIGGER keep AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION keep()",
)


def keep_history(shop: Shop) -> None:
    """From now on keep each state of each account, in the order of its changes."""
    sqlite = shop.database.is_sqlite
    with shop.database.write() as connection:
        serial = "integer" if sqlite else "bigserial"
        for statement in (_HISTORY.format(serial=serial), *((_SQLITE,) if sqlite else _POSTGRES)):
            connection.exec_driver_sql(statement)


def check_history(shop: Shop, project_id: str, caps: dict[str, int]) -> int:
    """Replay all states: settled, counted and reserved never passed a cap. Returns how many states there were."""
    with shop.database.read() as connection:
        states = connection.execute(
            text("SELECT counted, reserved, at FROM account_history WHERE project_id = :id ORDER BY n"),
            {"id": project_id},
        ).all()
        settled = connection.execute(
            select(usage_events.c.occurred_at, usage_events.c.counted_after_nano)
            .where(usage_events.c.project_id == project_id, usage_events.c.sequence.is_not(None))
            .order_by(usage_events.c.sequence)
        ).all()
    for state in states:
        for name, length in WINDOWS.items():
            left = [row.counted_after_nano for row in settled if row.occurred_at <= state.at - length]
            used = state.counted - (left[-1] if left else 0)
            assert used + state.reserved <= caps[name]
    return len(states)


PLATFORM_CALL = {
    "source": "platform",
    "provider": "openai",
    "model": "unit",
    "endpoint": "responses",
    "status": "ok",
}


def add_past_calls(shop: Shop, project_id: str, moments: list[Micros], cost: int) -> None:
    """Calls that settled in the past, as the ledger would have left them."""
    rows = [
        PLATFORM_CALL
        | {"project_id": project_id, "event_id": f"past-{n}", "occurred_at": at, "cost_nano": cost}
        | {"sequence": n, "counted_after_nano": n * cost, "unknown_after_nano": 0}
        for n, at in enumerate(moments, start=1)
    ]
    with shop.database.write() as connection:
        connection.execute(insert(usage_events), rows)
        connection.execute(
            update(accounts)
            .where(accounts.c.project_id == project_id)
            .values(sequence=len(rows), counted_nano=len(rows) * cost, last_settled_at=moments[-1])
        )

"""The caps against a model that adds everything up again: equal to the nano-USD, whatever happens in whatever order."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import insert

from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros, to_micros
from lib.db.tables import usage_events
from lib.errors import CapExceeded, LeaseLost
from lib.ledger.open_attempt import OpenAttempt
from lib.providers import DEFAULT, known
from lib.usage.clock_leaps import LEAP
from tests.spending import ADMIN, FRAMING, LEASE, UNKNOWN, Clock, Shop, answer, check_books

PLANS = {"small": {"5h": 1_000, "7d": 2_500}, "large": {"5h": 4_000, "7d": 6_000}, "none": {"5h": 0, "7d": 0}}
AMOUNTS = st.integers(0, 1_500)
STEPS = st.sampled_from([1, SECOND, MINUTE, LEASE, LEASE + 1, HOUR, 4 * HOUR, DAY, 3 * DAY])
EXAMPLES = {"sqlite": 12, "postgresql": 6}


@dataclass
class Spent:
    """One call that counts."""

    at: Micros
    nano: int
    unknown: bool


@dataclass
class Held:
    """One call that is open; ``ceiling`` is None on the project's own key."""

    call: OpenAttempt
    ceiling: int | None
    lease_until: Micros


@dataclass
class Model:
    """What should be so, by plain sums over everything that ever happened."""

    plan: str = "small"
    override: tuple[dict[str, int], Micros | None] | None = None
    spent: list[Spent] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    own_calls: int = 0
    latest: Micros = 0

    def caps(self, at: Micros) -> dict[str, int]:
        if self.override and (self.override[1] is None or at < self.override[1]):
            return self.override[0]
        return PLANS[self.plan]

    def used(self, window: str, at: Micros, *, unknown_only: bool = False) -> int:
        counted = (spent for spent in self.spent if spent.at > at - WINDOWS[window])
        return sum(spent.nano for spent in counted if spent.unknown or not unknown_only)

    @property
    def reserved(self) -> int:
        return sum(held.ceiling or 0 for held in self.held)

    def fits(self, ceiling: int, at: Micros, windows: Iterable[str] = WINDOWS) -> bool:
        caps = self.caps(at)
        return all(self.used(name, at) + self.reserved + ceiling <= caps[name] for name in windows)

    def fits_first(self, ceiling: int, at: Micros, windows: Iterable[str] = WINDOWS) -> Micros | None:
        """The first moment from ``at`` on when it fits, if nothing but time happens: try them all."""
        moments = {at} | {spent.at + length for spent in self.spent for length in WINDOWS.values()}
        if self.override and self.override[1] is not None:
            moments.add(self.override[1])
        return next((t for t in sorted(moments) if t >= at and self.fits(ceiling, t, windows)), None)

    def next_to_leave(self, window: str, at: Micros) -> tuple[Micros, int] | None:
        inside = [spent for spent in self.spent if spent.at > at - WINDOWS[window] and spent.nano]
        if not inside:
            return None
        first = min(spent.at for spent in inside)
        return first + WINDOWS[window], sum(spent.nano for spent in inside if spent.at == first)

    def leapt(self, now: Micros) -> bool:
        """A wrong clock set the project's time: far ahead of now, and what was spent before that is not."""
        before = [spent.at for spent in self.spent if spent.at <= now + LEAP]
        return self.latest > now + LEAP and max(before, default=now) <= now

    def time(self, now: Micros) -> Micros:
        """The project's time: it never goes back, unless it was a wrong clock that set it."""
        return now if self.leapt(now) else max(self.latest, now)

    def take_back(self, now: Micros) -> None:
        """What a wrong clock has dated ahead is dated to now."""
        if self.leapt(now):
            self.latest = now
            self.spent[:] = [replace(spent, at=min(spent.at, now)) for spent in self.spent]

    def seen_from(self, now: Micros) -> Model:
        """As a reader sees it, who dates nothing anew."""
        seen = replace(self, spent=list(self.spent))
        seen.take_back(now)
        return seen

    def touch(self, now: Micros) -> Micros:
        """Something is written of the platform's money."""
        self.take_back(now)
        self.latest = max(self.latest, now)
        return self.latest

    def expire(self, now: Micros) -> None:
        for held in [held for held in self.held if held.lease_until < now]:
            self.held.remove(held)
            if held.ceiling is None:
                self.own_calls += 1
            else:
                self.spent.append(Spent(self.touch(now), held.ceiling, unknown=True))


class CapsMachine(RuleBasedStateMachine):
    shop: Shop
    clock: Clock

    @initialize()
    def begin(self) -> None:
        self.slug = f"shop-{uuid.uuid4()}"
        self.project_id = self.shop.projects.add(self.slug, actor=ADMIN, plan="small").id
        self.run = self.shop.start(slug=self.slug)
        self.model = Model()
        self.has_key, self.provider = False, DEFAULT
        self.ended: list[OpenAttempt] = []

    # --- calls

    @rule(ceiling=AMOUNTS.map(lambda nano: max(nano, FRAMING)), provider=st.sampled_from(list(known.facts)))
    def reserve(self, ceiling: int, provider: str) -> None:
        """Caps count all providers together; the project's own key, where it has one, is of one of them."""
        self.provider = provider
        self.model.expire(self.clock.now)
        if not self.pays_itself:
            self.model.take_back(self.clock.now)
        at = self.model.time(self.clock.now)
        if self.pays_itself or self.model.fits(ceiling, at):
            self.admitted(ceiling)
        else:
            self.refused(ceiling, at)

    @property
    def pays_itself(self) -> bool:
        return self.has_key and self.provider == DEFAULT

    def open(self, ceiling: int) -> OpenAttempt:
        return self.shop.open(self.run, ceiling, provider=self.provider)

    def refused(self, ceiling: int, at: Micros) -> None:
        with pytest.raises(CapExceeded) as refusal:
            self.open(ceiling)
        if self.model.reserved:
            return  # when running calls end is anybody's guess
        promised = self.model.fits_first(ceiling, at)
        told = refusal.value.returns_at
        assert (None if told is None else to_micros(told)) == promised
        if promised is not None:
            self.clock.now = promised - 1
            self.model.expire(self.clock.now)
            with pytest.raises(CapExceeded):
                self.open(ceiling)
            self.clock.now = promised
            self.admitted(ceiling)

    @rule(beyond=st.sampled_from([0, 1]), provider=st.sampled_from(list(known.facts)))
    def reserve_all_the_room(self, beyond: int, provider: str) -> None:
        """To the last nano-USD, or one more."""
        at = self.model.time(self.clock.now)
        used = {name: self.model.used(name, at) + self.model.reserved for name in WINDOWS}
        room = min(cap - used[name] for name, cap in self.model.caps(at).items())
        self.reserve(max(room + beyond, FRAMING), provider)

    def admitted(self, ceiling: int) -> None:
        self.model.expire(self.clock.now)
        call = self.open(ceiling)
        assert (call.source, call.provider) == ("byok" if self.pays_itself else "platform", self.provider)
        if not self.pays_itself:
            self.model.touch(self.clock.now)
        self.model.held.append(Held(call, None if self.pays_itself else ceiling, self.clock.now + LEASE))

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), cost=AMOUNTS, known=st.booleans())
    def settle(self, data: st.DataObject, cost: int, known: bool) -> None:
        held = data.draw(st.sampled_from(self.model.held))
        self.model.held.remove(held)
        self.shop.ledger.settle(held.call, answer(cost) if known else UNKNOWN)
        self.ended.append(held.call)
        if held.ceiling is None:
            self.model.own_calls += 1
        else:
            counted = cost if known else held.ceiling
            self.model.spent.append(Spent(self.model.touch(self.clock.now), counted, unknown=not known))

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.model.held))
        self.model.held.remove(held)
        self.shop.release(held.call)
        self.shop.release(held.call)  # a second time changes nothing

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.model.held))
        self.shop.ledger.renew(held.call, LEASE)
        held.lease_until = self.clock.now + LEASE

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), cost=AMOUNTS)
    def settle_again(self, data: st.DataObject, cost: int) -> None:
        call = data.draw(st.sampled_from(self.ended))
        self.shop.ledger.settle(call, answer(cost))
        self.shop.release(call)
        with pytest.raises(LeaseLost):
            self.shop.ledger.renew(call, LEASE)

    @rule()
    def look(self) -> None:
        """What a page does first; it also finds the run lost after a while, and its next call revives it."""
        self.shop.show(self.run)
        self.model.expire(self.clock.now)

    # --- time

    @rule(step=STEPS)
    def forward(self, step: Micros) -> None:
        self.clock.now += step

    @rule(step=STEPS)
    def backward(self, step: Micros) -> None:
        self.clock.now -= step

    @precondition(lambda self: self.model.spent)
    @rule(data=st.data(), window=st.sampled_from(list(WINDOWS)), offset=st.sampled_from([-1, 0]))
    def to_an_edge(self, data: st.DataObject, window: str, offset: int) -> None:
        spent = data.draw(st.sampled_from(self.model.spent))
        self.clock.now = spent.at + WINDOWS[window] + offset

    # --- what others change meanwhile

    @rule(plan=st.sampled_from(sorted(PLANS)))
    def change_plan(self, plan: str) -> None:
        self.shop.projects.set_plan(self.slug, plan, actor=ADMIN)
        self.model.plan = plan

    @rule(cap_5h=AMOUNTS, cap_7d=AMOUNTS, ends_in=st.none() | STEPS)
    def override(self, cap_5h: int, cap_7d: int, ends_in: Micros | None) -> None:
        ends_at = None if ends_in is None else self.clock.now + ends_in
        self.shop.cap(cap_5h, cap_7d, slug=self.slug, ends_at=ends_at)
        self.model.override = {"5h": cap_5h, "7d": cap_7d}, ends_at

    @rule()
    def own_key(self) -> None:
        if self.has_key:
            self.shop.remove_key(self.slug)
        else:
            self.shop.save_key(self.slug)
        self.has_key = not self.has_key

    @rule(nano=AMOUNTS, ago=STEPS)
    def import_usage(self, nano: int, ago: Micros) -> None:
        row = {
            "project_id": self.project_id,
            "event_id": f"imported-{uuid.uuid4()}",
            "occurred_at": self.clock.now - ago,
            "source": "platform",
            "provider": "openai",
            "model": "unit",
            "endpoint": "responses",
            "status": "ok",
            "cost_nano": nano,
            "imported": True,
        }
        with self.shop.database.write() as connection:
            connection.execute(insert(usage_events), row)

    # --- must hold after every step

    @invariant()
    def the_model_says_the_same(self) -> None:
        headroom = self.shop.headroom(self.slug)
        self.model.expire(self.clock.now)
        model, at = self.model.seen_from(self.clock.now), self.model.time(self.clock.now)
        for name, window in headroom.windows.items():
            cap = model.caps(at)[name]
            assert window.cap_nano == cap
            assert window.used_nano == model.used(name, at)
            assert window.unknown_nano == model.used(name, at, unknown_only=True)
            assert window.reserved_nano == model.reserved
            assert window.free_nano == max(0, cap - model.used(name, at) - model.reserved)
            leaves = model.next_to_leave(name, at)
            assert (window.rolls_off_at, window.rolls_off_nano) == (leaves or (None, 0))
            if window.free_nano:
                assert window.returns_at is None
            elif not model.reserved:
                assert window.returns_at == model.fits_first(1, at, [name])

    def teardown(self) -> None:
        if hasattr(self, "model"):
            check_books(self.shop)
            events = [row for row in self.shop.events() if row.project_id == self.project_id]
            assert sum(row.source == "byok" for row in events) == self.model.own_calls
            assert sum(row.sequence is not None for row in events) == len(self.model.spent)


def test_caps_agree_with_a_model_that_adds_everything_up_again(database_url: str, database_kind: str) -> None:
    clock = Clock()
    shop = Shop(database_url, clock)
    for name, caps in PLANS.items():
        shop.plans.set(name, cap_5h_nano=caps["5h"], cap_7d_nano=caps["7d"], actor=ADMIN)
    machine = type("Machine", (CapsMachine,), {"shop": shop, "clock": clock})
    how = settings(max_examples=EXAMPLES[database_kind], stateful_step_count=40)
    run_state_machine_as_test(machine, settings=how)  # type: ignore[no-untyped-call]
    shop.close()

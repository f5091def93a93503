"""The search of the run log: by a run's id or a provider's request id, or the beginning of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.access.roles import Actor, Origin, Role
from lib.errors import BadInput
from lib.runs.log import RunFilter
from tests.spending import ADMIN, Clock, Shop, answer, open_shop

CAP = 1_000_000
REQUEST = "req_0aB%_é"


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=CAP) as shop:
        yield shop


def made(shop: Shop, request: str, slug: str = "shop") -> str:
    """A run with two calls whose ids begin alike."""
    run = shop.start(slug=slug)
    for end in "12":
        call = shop.open(run, 64)
        shop.ledger.settle(call, answer(64, upstream_request_id=request + end))
    return run.run_id


def found(shop: Shop, search: str, actor: Actor = ADMIN, **more: object) -> list[str]:
    rows, total = shop.log.list(RunFilter(search=search, **more), actor=actor)  # type: ignore[arg-type]
    assert total == len(rows)
    return [row.run_id for row in rows]


@pytest.mark.parametrize("search", [REQUEST, f"{REQUEST}1", "req_0a", f"  {REQUEST} "])
def test_a_run_is_found_once_by_its_calls_or_their_beginning(shop: Shop, search: str) -> None:
    run_id = made(shop, REQUEST)
    made(shop, "req_1")
    assert found(shop, search) == [run_id]


@pytest.mark.parametrize("search", ["%", "_", "req_0aBx", "req_0ab", "eq_0a", f"{REQUEST}12", "\U0010ffff"])
def test_nothing_is_found_by_what_it_does_not_begin_with(shop: Shop, search: str) -> None:
    """Wildcards are letters like others, and so are capitals."""
    made(shop, REQUEST)
    assert found(shop, search) == []


def test_a_run_is_found_by_its_id_or_the_beginning_of_it(shop: Shop) -> None:
    first, second = made(shop, "req_1"), made(shop, "req_2")
    assert found(shop, first) == found(shop, first[:-1]) == [first]
    assert sorted(found(shop, "r-")) == sorted([first, second])


def test_the_other_filters_go_on_to_count(shop: Shop) -> None:
    run_id = made(shop, REQUEST)
    assert found(shop, REQUEST, statuses=("running",)) == found(shop, REQUEST, source="platform") == [run_id]
    assert found(shop, REQUEST, statuses=("passed",)) == found(shop, REQUEST, source="byok") == []
    assert found(shop, REQUEST, since=shop.log.show(run_id, actor=ADMIN).run.started_at + 1) == []


def test_nobody_finds_the_run_of_a_project_that_is_not_theirs(shop: Shop) -> None:
    other = shop.add("other", cap_5h=CAP, cap_7d=CAP)
    eve = Actor("eve@example.com", Origin.BROWSER, projects={other: Role.LEAD})
    mine, hers = made(shop, REQUEST), made(shop, REQUEST, slug="other")
    assert found(shop, REQUEST, eve) == [hers]
    assert found(shop, mine, eve) == []
    assert found(shop, REQUEST, projects=("shop",)) == [mine]


def test_half_a_character_is_refused_in_a_sentence(shop: Shop) -> None:
    """A terminal's bytes that are no UTF-8 arrive so."""
    with pytest.raises(BadInput, match="cannot keep"):
        found(shop, "\udcff")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_nul_is_refused_in_a_sentence(shop: Shop) -> None:
    """An address can hold it."""
    for ask in (lambda: found(shop, "\0"), lambda: shop.log.show("r-\0", actor=ADMIN)):
        with pytest.raises(BadInput, match="cannot keep"):
            ask()

"""Why spend changed: the causes add up to the change to the nano-USD, and nothing unknown counts as zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lib.reports.changes import Causes, SpendChange, grouped, rank_changes, split_change, with_causes
from lib.reports.models import Totals

DOLLAR = 10**9


def sums(calls: int, dollars: int, tokens: int = 0, *, unpriced: int = 0, errors: int = 0) -> Totals:
    return Totals(
        calls=calls,
        platform_calls=calls,
        error_calls=errors,
        platform_unpriced_calls=unpriced,
        platform_nano=dollars * DOLLAR,
        input_tokens=tokens,
    )


@st.composite
def any_sums(draw: st.DrawFn) -> Totals:
    """Sums as they can be, and some that cannot: the causes add up all the same."""
    calls = draw(st.integers(0, 50))
    return Totals(
        calls=calls,
        error_calls=draw(st.integers(0, calls)),
        byok_unpriced_calls=draw(st.integers(0, calls)),
        platform_nano=draw(st.integers(0, 10**15)),
        byok_nano=draw(st.integers(0, 10**15)),
        input_tokens=draw(st.integers(0, 10**12)),
        output_tokens=draw(st.integers(0, 10**9)),
    )


cells = st.dictionaries(st.sampled_from("abcdef"), any_sums(), max_size=6)


def whole(several: dict[str, Totals]) -> int:
    return sum(each.total_nano for each in several.values())


saved = st.dictionaries(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(-(10**12), 10**15)))


@given(cells, cells, saved, saved)
def test_the_causes_add_up_to_the_change(
    now: dict[str, Totals],
    before: dict[str, Totals],
    saved_now: dict[str, int | None],
    saved_before: dict[str, int | None],
):
    assert sum(split_change(now, before, saved_now, saved_before)) == whole(now) - whole(before)


@given(cells, cells, st.integers(1, 4))
def test_what_is_shown_and_the_others_are_the_whole_change(
    now: dict[str, Totals], before: dict[str, Totals], most: int
):
    shown, others = rank_changes(now, before, most=most)
    rows = [*shown, *([others] if others else [])]
    assert sum(each.change_nano for each in rows) == whole(now) - whole(before)
    assert sum(each.now.calls for each in rows) == sum(each.calls for each in now.values())
    assert len(shown) + (others.others if others else 0) == len(now.keys() | before.keys())
    sizes = [abs(each.change_nano) for each in shown]
    assert sizes == sorted(sizes, reverse=True)
    assert len(rows) <= most + 1


def test_twice_the_calls_of_the_same_size_are_calls_alone():
    assert split_change({"m": sums(20, 10, 2000)}, {"m": sums(10, 5, 1000)}) == Causes(calls=5 * DOLLAR)


def test_twice_the_tokens_in_as_many_calls_are_tokens_alone():
    assert split_change({"m": sums(10, 10, 2000)}, {"m": sums(10, 5, 1000)}) == Causes(tokens=5 * DOLLAR)


def test_the_same_tokens_at_twice_the_price_are_cost_per_token_alone():
    assert split_change({"m": sums(10, 10, 1000)}, {"m": sums(10, 5, 1000)}) == Causes(token_cost=5 * DOLLAR)


def test_less_input_from_the_cache_at_the_same_prices_is_the_share_cached_alone():
    """The same tokens, which would have cost $20 both times: half of that was saved before, a quarter now."""
    now, before = {"m": sums(10, 15, 1000)}, {"m": sums(10, 10, 1000)}
    found = split_change(now, before, {"m": 5 * DOLLAR}, {"m": 10 * DOLLAR})
    assert found == Causes(cache=5 * DOLLAR)


def test_a_higher_price_at_the_same_share_cached_is_cost_per_token_alone():
    now, before = {"m": sums(10, 20, 1000)}, {"m": sums(10, 10, 1000)}
    found = split_change(now, before, {"m": 20 * DOLLAR}, {"m": 10 * DOLLAR})
    assert found == Causes(token_cost=10 * DOLLAR)


def test_where_it_is_not_known_what_was_saved_the_share_cached_is_part_of_the_cost_per_token():
    now, before = {"m": sums(10, 15, 1000)}, {"m": sums(10, 10, 1000)}
    assert split_change(now, before, {"m": None}, {"m": 10 * DOLLAR}) == Causes(token_cost=5 * DOLLAR)


def test_calls_that_moved_to_a_dearer_model_are_the_choice_of_models_alone():
    before = {"cheap": sums(10, 10, 1000), "dear": sums(10, 100, 1000)}
    now = {"cheap": sums(5, 5, 500), "dear": sums(15, 150, 1500)}
    assert split_change(now, before) == Causes(models=45 * DOLLAR)


def test_a_model_that_takes_the_place_of_another_is_the_choice_of_models():
    found = split_change({"new": sums(10, 90, 1000)}, {"old": sums(10, 10, 1000)})
    assert found == Causes(models=80 * DOLLAR)


def test_error_answers_are_no_calls_that_cost():
    assert split_change({"m": sums(30, 5, 1000, errors=20)}, {"m": sums(10, 5, 1000)}) == Causes()


def test_where_some_calls_have_no_known_cost_tokens_and_their_price_are_not_told_apart():
    found = split_change({"m": sums(20, 30, 9000, unpriced=10)}, {"m": sums(10, 10, 1000)})
    assert found == Causes(call_cost=20 * DOLLAR)


def test_few_calls_without_a_known_cost_leave_the_causes_told():
    found = split_change({"m": sums(101, 20, 2000, unpriced=1)}, {"m": sums(100, 10, 1000)})
    assert found == Causes(tokens=10 * DOLLAR)


def test_a_cause_is_the_main_one_only_where_it_outweighs_all_others():
    assert Causes(calls=7, tokens=-2, token_cost=4).main == "calls"
    assert Causes(calls=7, tokens=-3, token_cost=4).main is None
    assert Causes().main is None


def test_what_is_new_or_gone_or_wholly_unknown_has_no_causes():
    one, unknown = {"m": sums(1, 5, 10)}, {"m": sums(3, 0, 10, unpriced=3)}
    for now, before in ((one, {}), ({}, one), (unknown, one), (one, unknown)):
        totals = SpendChange("p", now.get("m") or Totals(), before.get("m") or Totals())
        assert with_causes(totals, now, before).causes is None


def test_unknown_costs_come_before_what_did_not_change():
    shown, _ = rank_changes(
        {"a": sums(1, 1), "b": sums(2, 1, unpriced=1)}, {"a": sums(1, 1), "b": sums(1, 1)}, most=5
    )
    assert [each.name for each in shown] == ["b", "a"]


def test_cells_are_grouped_by_the_first_part_of_their_keys():
    cell = sums(1, 1)
    assert grouped({("p", "m"): cell, ("p", "n"): cell, ("q", "m"): cell}) == {
        "p": {"m": cell, "n": cell},
        "q": {"m": cell},
    }

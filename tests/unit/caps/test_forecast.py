"""Forecasts say only what the past allows, and are better than going on at today's pace."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.caps.forecast import backtest, month_end
from lib.caps.forecast.hourly import day_lags
from lib.caps.forecast.spend_forecast import LEVELS, calibrate, pinball, quantiles
from lib.caps.forecast.spend_model import FEWEST_HOURS, Floats, Origins, SpendHistory, by_pace, by_profile
from lib.caps.forecast.time_to_cap import AHEAD_HOURS, spend_paths, time_to_cap

WEEKS = 24 * 7

amounts = st.one_of(st.just(0.0), st.floats(0.0, 1e12, allow_nan=False))


def working_days(days: int, seed: int = 1) -> Floats:
    """Spend of office hours, with chance; calm at night and on two days of seven."""
    chance = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    busy = np.where((hours % 24 >= 8) & (hours % 24 < 18) & (hours // 24 % 7 < 5), 10.0, 1.0)
    return busy * chance.gamma(2.0, 0.5, days * 24)


@pytest.mark.parametrize("hours", [0, 1, FEWEST_HOURS - 1])
def test_less_than_three_days_are_no_history(hours: int):
    assert quantiles(SpendHistory(np.ones(hours)), 1, LEVELS) is None
    assert spend_paths(SpendHistory(np.ones(hours))) is None


@given(hours=st.lists(amounts, min_size=72, max_size=400), horizon=st.sampled_from([1, 5, 24, 48]))
def test_quantiles_ascend_and_are_amounts(hours: list[float], horizon: int):
    found = quantiles(SpendHistory(np.array(hours)), horizon, LEVELS)
    if found is None:
        assert len(hours) < 6 + horizon or len(hours) < 72
        return
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (np.diff(found) >= -1e-6 * (1 + found[:-1])).all()


def test_next_to_nothing_is_no_pace():
    """A ratio to next to nothing would be no number."""
    hours = np.array([5e-324] * 6 + [1e12] * 80)
    found = quantiles(SpendHistory(hours), 5, LEVELS)
    assert found is not None
    assert np.isfinite(found).all()


def test_what_comes_later_changes_no_forecast_of_a_back_test():
    """A look-ahead would meet NaN, which makes whatever it touches NaN."""
    hours = working_days(20)
    for origin in (120, 200, 301):
        known = quantiles(SpendHistory(hours[:origin]), 24, LEVELS)
        spoiled = np.concatenate((hours[:origin], np.full(24, math.nan)))
        histories = [each for each, _ in backtest._origins(spoiled, 24, 0) if each.length == origin]
        for history in histories:
            again = quantiles(history, 24, LEVELS)
            assert known is not None
            assert again is not None
            assert np.array_equal(known, again)


@pytest.mark.parametrize("model", [by_pace, by_profile])
@pytest.mark.parametrize("days", [9, 40])
def test_a_model_tells_of_the_past_what_it_told_then(model: Callable[..., Floats], days: int):
    hours = working_days(days)
    at = np.arange(len(hours) - 60, len(hours), 7)
    for horizon in (1, 5, 24):
        told = [
            model(Origins(history, np.array([history.length]), np.array([horizon])), LEVELS)[0]
            for history in (SpendHistory(hours[:each], each // 24 % 7, hour=each % 24) for each in at)
        ]
        today = Origins(SpendHistory(hours, weekday=days % 7), at, np.full(len(at), horizon))
        assert model(today, LEVELS) == pytest.approx(np.array(told))


@pytest.mark.parametrize("after", [(10, 28), (4, 2)])
def test_the_days_before_an_origin_of_the_past_are_those_of_its_clock(after: tuple[int, int]):
    """Clocks went back on 25 October and forward on 29 March."""
    now = datetime(2026, *after, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    lags = day_lags(now, 24 * 9)
    history = SpendHistory(np.ones(24 * 9), lags=lags)
    for days, lag in enumerate(lags[:4], start=1):
        then = day_lags(now - timedelta(days=days), 24 * 9 - lag)
        found = Origins(history, np.array([history.length - lag]), np.ones(1)).days_back[0]
        assert tuple(history.length - lag - found[found >= 0]) == then


# --- learned from the past -------------------------------------------------------------------------


def walk(days: int, seed: int) -> Floats:
    """Spend that drifts without any habit of the day."""
    chance = np.random.default_rng(seed)
    return np.exp(np.cumsum(chance.normal(0, 0.12, days * 24))) * chance.gamma(4.0, 0.25, days * 24)


def growth(days: int, seed: int) -> Floats:
    return working_days(days, seed) * 1.05 ** np.arange(days).repeat(24)


def noise(days: int, seed: int) -> Floats:
    return np.random.default_rng(seed).gamma(0.5, 2.0, days * 24)


@pytest.mark.parametrize("kind", [walk, growth, noise, working_days])
@pytest.mark.parametrize("horizon", [1, 5, 24])
def test_a_range_holds_four_of_five_outcomes_and_no_forecast_is_worse_than_the_pace(
    kind: Callable[[int, int], Floats], horizon: int
):
    scores = [backtest.score(kind(28, seed), horizon) for seed in (3, 4, 5, 6)]
    found = [each for each in scores if each is not None]
    assert len(found) == 4
    assert all(each.to_pace is not None and each.to_pace < 0.85 for each in found)
    assert 73 <= np.mean([each.held[80] for each in found]) <= 87


def test_the_model_that_was_better_weighs_more():
    drifting = calibrate(SpendHistory(walk(14, 1)), 5)
    every_day_the_same = calibrate(SpendHistory(np.tile(np.arange(24.0), 14)), 5)
    assert drifting.weight > 0.7
    assert every_day_the_same.weight < 0.1


def test_a_range_is_wider_after_surprises_and_narrower_after_calm():
    by_chance = np.random.default_rng(1).choice([0.1, 5.0], 20).repeat(6)
    surprising = np.concatenate((working_days(16), working_days(5) * by_chance))
    calm = np.concatenate((noise(16, 1), np.ones(24 * 5)))
    assert calibrate(SpendHistory(surprising), 5).spread > 1.2
    assert calibrate(SpendHistory(calm), 5).spread < 0.6


def test_with_three_days_there_is_nothing_to_learn_from_and_a_range_is_wide():
    found = calibrate(SpendHistory(working_days(3)), 24)
    assert found.weight == 0.5
    assert found.spread > 2


def test_steady_spend_is_forecast_as_it_is():
    found = quantiles(SpendHistory(np.full(24 * 10, 3.0)), 5, LEVELS)
    assert found is not None
    assert found == pytest.approx(np.full(len(LEVELS), 15.0))


def test_a_project_without_calls_stays_at_nothing():
    found = quantiles(SpendHistory(np.zeros(24 * 10)), 24, LEVELS)
    assert found is not None
    assert (found == 0).all()


def test_a_job_once_a_week_is_expected_on_its_weekday_only():
    hours = np.zeros(24 * 7 * 8)
    hours[3::WEEKS] = 100.0  # at 03:00 of the first weekday
    before_it = SpendHistory(np.concatenate((hours, np.zeros(2))), weekday=0)
    other_day = SpendHistory(np.concatenate((hours, np.zeros(24 * 2 + 2))), weekday=2)
    soon, later = (quantiles(each, 5, np.array([0.5, 0.9])) for each in (before_it, other_day))
    assert soon is not None
    assert later is not None
    assert soon[0] > later[1]


def test_a_burst_of_a_hundred_times_is_bounded_in_what_it_does_to_the_profile():
    hours = working_days(21)
    calm = quantiles(SpendHistory(hours), 5, np.array([0.5]))
    burst = quantiles(SpendHistory(np.concatenate((hours[:-1], hours[-1:] * 100))), 5, np.array([0.5]))
    assert calm is not None
    assert burst is not None
    assert calm[0] < burst[0] < calm[0] * 100


# --- time to a cap ---------------------------------------------------------------------------------


def room(amount: float) -> list[float]:
    return [amount] * len(AHEAD_HOURS)


def test_steady_spend_reaches_the_cap_when_the_room_is_used():
    paths = spend_paths(SpendHistory(np.full(24 * 10, 2.0)))
    assert paths is not None
    found = time_to_cap(paths, 9.0, room(9.0), length_hours=168)
    assert (found.chance, found.chance_soon, found.verdict) == (1.0, 1.0, "will")
    assert (found.earliest, found.median, found.latest) == pytest.approx((4.5, 4.5, 4.5))


def test_in_a_short_window_new_spend_leaves_again_so_that_a_wide_cap_is_never_reached():
    paths = spend_paths(SpendHistory(np.full(24 * 10, 2.0)))
    assert paths is not None
    found = time_to_cap(paths, 10.5, room(10.5), length_hours=5)
    assert (found.chance, found.verdict, found.median) == (0.0, None, None)


def test_at_the_cap_it_is_reached_now():
    paths = spend_paths(SpendHistory(np.full(24 * 10, 2.0)))
    assert paths is not None
    assert time_to_cap(paths, 0.0, room(0.0), length_hours=5).median == 0.0


@given(free=st.floats(0.1, 1e4), seed=st.integers(0, 20), more=st.floats(1.0, 100.0))
def test_more_room_is_never_reached_sooner_nor_likelier(free: float, seed: int, more: float):
    paths = spend_paths(SpendHistory(working_days(9, seed)))
    assert paths is not None
    tight = time_to_cap(paths, free, room(free), length_hours=168)
    wide = time_to_cap(paths, free * more, room(free * more), length_hours=168)
    assert wide.chance <= tight.chance
    assert (wide.median or math.inf) >= (tight.median or -math.inf) - 1e-9


def test_a_time_is_never_without_its_range():
    for seed in range(20):
        paths = spend_paths(SpendHistory(working_days(9, seed)))
        assert paths is not None
        for free in (1.0, 20.0, 80.0, 200.0):
            found = time_to_cap(paths, free, room(free), length_hours=168)
            if found.verdict == "will" and found.latest is not None:
                assert found.earliest is not None
                assert found.median is not None
                assert found.earliest <= found.median <= found.latest


# --- the month -------------------------------------------------------------------------------------


def test_a_month_needs_three_whole_days():
    assert month_end.rest_of_month(np.ones(2), 0.0, 10) is None


def test_a_steady_month_ends_as_it_went():
    found = month_end.rest_of_month(np.full(60, 4.0), today=1.0, days_left=9)
    assert found == pytest.approx((3.0 + 9 * 4.0,) * 3)


def test_weekends_are_expected_where_they_fall():
    days = np.array([10.0, 10.0, 10.0, 10.0, 10.0, 0.0, 0.0] * 8)  # today is the first of five
    found = month_end.rest_of_month(days, today=10.0, days_left=6)
    assert found == pytest.approx((40.0, 40.0, 40.0))


@given(days=st.lists(amounts, min_size=3, max_size=120), today=amounts, left=st.integers(0, 30))
def test_a_range_is_in_order_and_the_same_every_time(days: list[float], today: float, left: int):
    found = month_end.rest_of_month(np.array(days), today, left)
    assert found is not None
    assert 0 <= found.low <= found.middle <= found.high
    assert month_end.rest_of_month(np.array(days), today, left) == found


# --- the back-test ---------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 5, 24])
def test_on_a_working_week_it_beats_the_pace_and_holds_what_it_promises(horizon: int):
    found = backtest.score(working_days(28), horizon)
    assert found is not None
    assert found.to_pace is not None
    assert found.to_pace < 0.7
    assert 65 <= found.held[80] <= 95
    assert found.held[50] <= found.held[80] <= found.held[90]


def test_a_perfect_forecast_has_no_loss():
    assert pinball(5.0, np.full(len(LEVELS), 5.0)) == 0.0


def test_too_short_a_history_is_no_score():
    assert backtest.score(np.ones(100), 24) is None


def test_an_alarm_that_nothing_follows_is_false():
    rising = np.concatenate((np.full(24 * 6, 1.0), np.full(48, 1.0)))
    assert backtest.alarms(rising, cap=100.0, length_hours=5).given == 0
    tight = backtest.alarms(working_days(20), cap=30.0, length_hours=5)
    assert 0 <= tight.false <= tight.given

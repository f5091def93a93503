"""What deserves attention on Overview: in words, worst first, and only where it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from lib.access.roles import Action, Actor, allows
from lib.caps.forecast.forecasts import CapForecast
from lib.caps.windows import NEAR_CAP, TITLES, Window
from lib.formatting import count, duration, exact, money
from lib.platform import Platform
from lib.providers import DEFAULT, known
from lib.reports import spikes
from lib.reports.models import UsageFilter
from lib.ui.base import loaders
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import INTEGRATIONS, PLAN, USAGE
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.overview.table import ProjectStatus
from lib.ui.parts.cards import Attention
from lib.ui.parts.forecast import cap_sentence
from lib.ui.parts.key_attention import failing_key, failing_platform_key
from lib.usage.periods import day_of, midnight

_MOST_LINES = 8


def attention_of(
    platform: Platform,
    found: Sequence[ProjectStatus],
    forecasts: Mapping[str, CapForecast],
    wanted: UsageFilter,
    actor: Actor,
    chosen: Chosen,
) -> list[Attention]:
    """What is true and matters, worst first. ``forecasts``: when the nearest cap is reached, by slug."""
    lines = _platform_key(platform, found, chosen)
    for each in found:
        for key in each.keys:
            if key.status in {"failing", "locked"} or key.obstacle:
                line = failing_key(each.project, key, actor, chosen.zone)
                address = {"project": each.project.slug}
                lines.append(replace(line, link="Fix key", page=INTEGRATIONS, address=address))
    lines += _requests(platform, actor, chosen)
    for each in found:
        if each.nearest >= NEAR_CAP:
            lines += _caps(each, forecasts.get(each.project.slug), chosen)
    lines += _jumps(wanted, actor, chosen)
    return _cut(lines + _unpriced(found, wanted, actor))


def _unpriced(found: Sequence[ProjectStatus], wanted: UsageFilter, actor: Actor) -> list[Attention]:
    """Projects with answered calls of unknown price: where the outcome is unknown, no price is missing."""
    slugs = tuple(each.project.slug for each in found if each.sums.unpriced_calls)
    if not slugs:
        return []
    answered = replace(wanted, projects=slugs, statuses=("ok",))
    lines = []
    for slug, calls in sorted(
        loaders.cached(front_door().reports.without_price, answered, actor=actor).items()
    ):
        whose = "Its cost is" if calls == 1 else "Their cost is"
        text = f"**{escape(slug)}**: {count(calls, 'call')} without a known price. {whose} in no total."
        lines.append(Attention("No price", "gray", text, "Show usage", USAGE, {"project": slug}))
    return lines


def _platform_key(platform: Platform, found: Sequence[ProjectStatus], chosen: Chosen) -> list[Attention]:
    fundings = platform.keys.platform_states()
    depending = sum(each.headroom is not None for each in found)
    if any(funding.status != "none" for funding in fundings):
        failing = [funding for funding in fundings if funding.status == "failing"]
        return [failing_platform_key(funding, chosen.zone) for funding in failing]
    if depending:
        who = (
            "1 project without a key of its own"
            if depending == 1
            else f"{depending} projects without a key of their own"
        )
        text = (
            f"{who} cannot make calls: this server has no platform key. An operator sets "
            f"{escape(known.facts[DEFAULT].key_variable)}."
        )
        return [Attention("No platform key", "red", text)]
    return []


def _requests(platform: Platform, actor: Actor, chosen: Chosen) -> list[Attention]:
    """What leads ask for and administrators decide on."""
    if not allows(actor, Action.SET_PLAN, None):
        return []
    lines = []
    for asked in platform.cap_requests.waiting(actor=actor):
        last = day_of(asked.wanted_until - 1, chosen.zone)
        caps = f"{money(asked.cap_5h_nano)} in 5 hours and {money(asked.cap_7d_nano)} in 7 days"
        text = escape(f"{asked.asked_by} asks for {caps} until {last.day} {last:%b}: {asked.reason}")
        where = {"project": asked.project}
        lines.append(
            Attention("Request", "orange", f"**{escape(asked.project)}**: {text}", "Decide", PLAN, where)
        )
    return lines


def _caps(each: ProjectStatus, forecast: CapForecast | None, chosen: Chosen) -> list[Attention]:
    """The window that is full, or else the one nearest to it."""
    if each.headroom is None:
        return []
    window = each.headroom.nearest
    slug, cap = escape(each.project.slug), escape(money(window.cap_nano))
    where = {"project": each.project.slug}
    if window.free_nano:
        text = f"**{slug}** has used {window.percent}% of its {TITLES[window.name]} cap of {cap}."
        text += f" {cap_sentence(forecast, chosen.zone)}" if forecast else ""
        return [Attention("Near cap", "orange", text.strip(), "Open plan", PLAN, where)]
    text = f"**{slug}** has used its {TITLES[window.name]} cap of {cap}. {_returns(window, chosen)}"
    return [Attention("At cap", "red", text, "Open plan", PLAN, where)]


def _jumps(wanted: UsageFilter, actor: Actor, chosen: Chosen) -> list[Attention]:
    """Projects whose spend jumped on the last full day, the largest first; the method is in the words."""
    day = chosen.today - timedelta(days=1)
    since = midnight(day - timedelta(days=spikes.DAYS_BEFORE), chosen.zone)
    # Days that are over change by imports alone, and are the same whatever period is chosen.
    days = loaders.cached_for_a_minute(
        front_door().reports.project_days,
        replace(wanted, since=since, until=midnight(chosen.today, chosen.zone)),
        actor=actor,
    )
    found = [(slug, jumped) for slug, series in days.items() if (jumped := spikes.detect_spike(series, day))]
    found.sort(key=lambda each: (-each[1].total_nano, each[0]))
    return [
        Attention("Jump", "gray", _jump(*each), "Show usage", USAGE, _around(each[0], day, chosen))
        for each in found
    ]


def _jump(slug: str, found: spikes.Spike) -> str:
    by_source = {"platform-funded": found.platform_nano, "BYOK": found.byok_nano}
    whose = " and ".join(f"{money(nano)} {source}" for source, nano in by_source.items() if nano)
    spent = whose if list(by_source.values()).count(0) else f"{money(found.total_nano)} ({whose})"
    times = found.total_nano * 10 // found.median_nano / 10
    text = (
        f"spent {spent} on {found.day:%a} {found.day.day} {found.day:%b}, {times:g} times the "
        f"{money(found.median_nano)} median of the {spikes.DAYS_BEFORE} days before."
    )
    return f"**{escape(slug)}** {escape(text)}"


def _around(slug: str, day: date, chosen: Chosen) -> dict[str, str]:
    """The address of the days that are compared."""
    first = day - timedelta(days=spikes.DAYS_BEFORE)
    return {
        "project": slug,
        "period": "custom",
        "from": first.isoformat(),
        "to": day.isoformat(),
        "zone": chosen.zone.key,
    }


def _returns(window: Window, chosen: Chosen) -> str:
    if window.returns_at is None:
        return "No room returns by itself."
    moment = exact(window.returns_at, chosen.zone, now=chosen.now)
    return f"Room returns in {duration(window.returns_at - chosen.now)} ({moment})."


def _cut(lines: list[Attention]) -> list[Attention]:
    if len(lines) <= _MOST_LINES:
        return lines
    more = len(lines) - _MOST_LINES + 1
    return [
        *lines[: _MOST_LINES - 1],
        Attention("More", "gray", f"{more} more projects need a look, in the table below."),
    ]

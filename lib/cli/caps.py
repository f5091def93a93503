"""``caps show|set`` and ``plans list|set``: what projects may spend on the platform key."""

from __future__ import annotations

from datetime import date

import click

from lib.caps.plans import Plans
from lib.caps.windows import Headroom, Window
from lib.cli.base.inputs import DAY, USD
from lib.cli.base.output import clock_time, json_option, moment, plain, say, show_json, show_table
from lib.cli.base.session import Session
from lib.pricing.amounts import plain_usd
from lib.usage.periods import midnight


@click.group()
def caps() -> None:
    """Rolling caps of a project's platform-funded spend. A project's own key is never capped."""


@caps.command("show")
@click.argument("slug")
@json_option
@click.pass_obj
def show(session: Session, slug: str, *, as_json: bool) -> None:
    """Show how much of each cap is used, reserved and free, and when room returns."""
    headroom = session.platform.caps.headroom(slug, actor=session.actor)
    if as_json:
        show_json(_public(headroom))
        return
    header = ("window", "cap USD", "used", "of it unknown", "reserved", "free", "taken", "room returns")
    show_table(header, [_for_people(window) for window in headroom.windows.values()])


@caps.command("set")
@click.argument("slug")
@click.option("--5h", "cap_5h", type=USD, required=True, help="USD in 5 hours.")
@click.option("--7d", "cap_7d", type=USD, required=True, help="USD in 7 days.")
@click.option("--reason", required=True, help="Why; for the audit log.")
@click.option("--until", type=DAY, help="The day at whose beginning the plan's caps come back.")
@click.pass_obj
def override(session: Session, slug: str, cap_5h: int, cap_7d: int, reason: str, until: date | None) -> None:
    """Give one project caps of its own."""
    ends_at = midnight(until, session.platform.settings.zone) if until else None
    Plans(session.platform.database).set_caps(
        slug, cap_5h_nano=cap_5h, cap_7d_nano=cap_7d, reason=reason, ends_at=ends_at, actor=session.actor
    )
    end = f", until {clock_time(ends_at)}" if ends_at else ""
    say(f"{slug} may spend {plain_usd(cap_5h)} USD in 5 hours and {plain_usd(cap_7d)} USD in 7 days{end}.")


@click.group()
def plans() -> None:
    """Caps that projects share."""


@plans.command("list")
@json_option
@click.pass_obj
def show_plans(session: Session, *, as_json: bool) -> None:
    """List the plans."""
    found = Plans(session.platform.database).list()
    if as_json:
        show_json([plain(plan) for plan in found])
        return
    rows = [
        (each.name, plain_usd(each.cap_5h_nano), plain_usd(each.cap_7d_nano), each.default_output_limit)
        for each in found
    ]
    show_table(("plan", "USD in 5 h", "USD in 7 d", "output tokens by default"), rows)


@plans.command("set")
@click.argument("name")
@click.option("--5h", "cap_5h", type=USD, required=True, help="USD in 5 hours.")
@click.option("--7d", "cap_7d", type=USD, required=True, help="USD in 7 days.")
@click.pass_obj
def set_plan(session: Session, name: str, cap_5h: int, cap_7d: int) -> None:
    """Change a plan's caps, or make a new plan."""
    plan = Plans(session.platform.database).set(
        name, cap_5h_nano=cap_5h, cap_7d_nano=cap_7d, actor=session.actor
    )
    say(f"{plan.name}: {plain_usd(cap_5h)} USD in 5 hours, {plain_usd(cap_7d)} USD in 7 days.")


def _public(headroom: Headroom) -> dict[str, object]:
    return {
        "project": headroom.project,
        "plan": headroom.plan,
        "at": moment(headroom.at),
        "free_usd": plain_usd(headroom.free_nano),
        "windows": {
            name: {
                **{field: value for field, value in plain(window).items() if field != "name"},
                "free_usd": plain_usd(window.free_nano),
                "percent": window.percent,
            }
            for name, window in headroom.windows.items()
        },
    }


def _for_people(window: Window) -> tuple[object, ...]:
    amounts = (window.cap_nano, window.used_nano, window.unknown_nano, window.reserved_nano, window.free_nano)
    returns = clock_time(window.returns_at) if window.returns_at else "there is room"
    return (window.name, *(plain_usd(nano) for nano in amounts), f"{window.percent} %", returns)

"""``notify run|once|test|list``: sending alerts, and what was sent."""

from __future__ import annotations

import signal
import threading

import click

from lib.alerts.channel_list import Channel
from lib.alerts.history import SentAlert
from lib.cli.base.output import clock_time, counted, json_option, plain, say, show_json, show_table
from lib.cli.base.session import Session
from lib.errors import BadInput

_where = click.argument("slug", required=False)


@click.group()
def notify() -> None:
    """Alerts: sending what is due, trying a channel, and what was sent. Without a project: the platform's own."""


@notify.command("run")
@click.pass_obj
def run(session: Session) -> None:
    """Send alerts until it is stopped. Dashboards do the same while they run; any number of senders may."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    say("Sending alerts. Stop it with Ctrl-C.")
    platform = session.platform
    platform.serve_metrics()
    platform.alerts.sender.run(stop, check=platform.alert_watch.check, told=_say_counts)
    say("Stopped.")


@notify.command("once")
@click.pass_obj
def once(session: Session) -> None:
    """Send what is due now, and end: for cron. The exit status is 1 where a message was not accepted."""
    session.platform.alert_watch.check()
    sent, failed = session.platform.alerts.sender.once()
    _say_counts(sent, failed)
    if failed:
        raise click.exceptions.Exit(1)


@notify.command("test")
@_where
@click.option(
    "--channel", "channel_id", metavar="ID", help="Only this channel; list --channels shows the ids."
)
@click.pass_obj
def test(session: Session, slug: str | None, channel_id: str | None) -> None:
    """Send a test to the channels of a project. The exit status is 1 where one was not accepted."""
    alerts = session.platform.alerts
    channels = alerts.channels.list(slug, actor=session.actor)
    chosen = [each for each in channels if channel_id in {None, each.id}]
    if not chosen:
        raise BadInput("There is no such channel. Add one in the dashboard, on Settings > Alerts.")
    answers = {each: alerts.history.send_test(slug, each.id, actor=session.actor) for each in chosen}
    for channel, answer in answers.items():
        say(f"{channel.masked}: {'accepted' if answer.ok else 'NOT accepted'} ({answer.said})")
    if not all(answer.ok for answer in answers.values()):
        raise click.exceptions.Exit(1)


@notify.command("list")
@_where
@click.option("--channels", is_flag=True, help="The channels themselves, without their addresses.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="So many alerts.")
@json_option
@click.pass_obj
def show_all(session: Session, slug: str | None, limit: int, *, channels: bool, as_json: bool) -> None:
    """List the last alerts of a project, to whom they went and what was answered; the newest first."""
    alerts = session.platform.alerts
    if channels:
        found = alerts.channels.list(slug, actor=session.actor)
        _show_channels(found, as_json=as_json)
        return
    told = alerts.history.recent(slug, actor=session.actor, limit=limit)
    if as_json:
        show_json([plain(each) for each in told])
        return
    header = ("at", "severity", "alert", "to", "state", "answer")
    show_table(header, [row for each in told for row in _rows(each)])


def _show_channels(found: list[Channel], *, as_json: bool) -> None:
    if as_json:
        show_json([plain(each) for each in found])
        return
    header = ("id", "kind", "address", "from", "state")
    rows = [(each.id, each.kind, each.masked, each.least_severity, each.off_why or "on") for each in found]
    show_table(header, rows)


def _rows(told: SentAlert) -> list[tuple[object, ...]]:
    first = (clock_time(told.at), told.severity, told.title)
    if not told.deliveries:
        return [(*first, "nobody", "muted" if told.muted else "", "")]
    return [(*first, each.to, each.state, each.answer) for each in told.deliveries]


def _say_counts(sent: int, failed: int) -> None:
    say(f"Sent {counted(sent, 'message')}; {counted(failed, 'attempt')} failed.")

"""``db copy|check|maintain|partition|archive``: from SQLite to PostgreSQL, what is wrong with either, events by months."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lib.cli.base.inputs import DAY
from lib.cli.base.output import counted, json_option, plain, say, show_findings, show_json, yes_option
from lib.cli.base.session import Session
from lib.clock import to_micros
from lib.db import Database
from lib.db.months.partitioning import make_next_months, size
from lib.db.months.partitioning import partition as move_into_months
from lib.db.upkeep.checkup import examine
from lib.db.upkeep.health import files_of
from lib.db.upkeep.maintenance import maintain as maintain_database
from lib.db.upkeep.moving import CopiedTable, copy_database, has_schema
from lib.errors import BadInput
from lib.platform import Platform
from lib.pricing.amounts import plain_usd
from lib.settings import COMMAND, ROOT, Settings

if TYPE_CHECKING:
    from lib.exchange.archive import ArchivedMonth


@click.group()
def db() -> None:
    """The database itself."""


@db.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
@click.pass_obj
def copy(session: Session, source: str, target: str, *, as_json: bool) -> None:
    """Copy all of a SQLite database (FROM, a URL) into an empty PostgreSQL one (TO, a URL), and verify it.

    Stop the dashboard and the workers before. FROM stays as it is. Interrupted or killed it leaves no row in TO: run it
    again, it begins at the beginning.
    """
    named = [Settings.from_env(database_url=url) for url in (source, target)]
    with ExitStack() as opened:
        from_, to = (
            opened.enter_context(closing(Database.from_settings(each, application="qodex command line")))
            for each in named
        )
        if not to.is_sqlite and has_schema(to):
            say(
                "TO has the tables already, as an interrupted copy leaves them. The copy begins at the beginning."
            )
        copied = copy_database(from_, to, progress=_progress)
    if as_json:
        show_json([plain(table) for table in copied])
    say(f"Copied {counted(sum(table.rows for table in copied), 'row')}; every count and sum is the same.")
    _require_open(session, named[1])
    say("Now name it in DATABASE_URL for the dashboard and every worker, and start them.")


def _progress(copied: CopiedTable) -> None:
    say(f"{copied.table}: {counted(copied.rows, 'row')}")


def _require_open(session: Session, settings: Settings) -> None:
    with closing(Platform(settings, actor=session.actor)) as platform:
        status = platform.masters.status(actor=session.actor)
    locked = [*status.locked, *status.altered]
    if locked:
        raise BadInput(
            f"{counted(len(locked), 'project')} of the copy cannot be opened with the master keys of this machine. "
            f"With DATABASE_URL set to it, {COMMAND} master status says which."
        )
    say("Every key opens, and every project is as it was sealed.")


@db.command("check")
@json_option
def check(*, as_json: bool) -> None:
    """Look for what is wrong with a database that works. Changes nothing.

    Missing tables, indexes, rules and triggers. On PostgreSQL transactions that do not end, dead rows, and this machine's clock
    against the server's; on SQLite the whole file is read. Sums are a matter of usage verify.
    """
    settings = Settings.from_env()
    if settings.is_sqlite and not files_of(settings.database_url):
        raise BadInput("There is no database yet. The first start makes it.")
    with closing(Database.from_settings(settings, application="qodex command line")) as database:
        show_findings(examine(database, settings.database_url), as_json=as_json)


@db.command("maintain")
@click.option(
    "--full", is_flag=True, help="Give room back to the disk, too; whoever reads or writes waits meanwhile."
)
@yes_option
@json_option
@click.pass_obj
def maintain(session: Session, *, full: bool, yes: bool, as_json: bool) -> None:
    """Make the room of deleted rows usable, and bring up to date what the planner knows of the data.

    Both engines do this by themselves; after much was deleted it is worth doing at once. On PostgreSQL it makes the next
    months of events as well, as dashboards do when they start. May be stopped and run again.
    """
    if full and not yes:
        click.confirm(
            "Calls and pages wait until it is done, for minutes where there is much. Go on?",
            abort=True,
            err=True,
        )
    database = session.platform.database
    if made := make_next_months(database):
        say(f"Made {counted(len(made), 'part')} of the events: {', '.join(part.name for part in made)}.")
    done = maintain_database(database, full=full)
    if as_json:
        show_json(plain(done))
    say(f"The database takes {done.after / 1e6:,.1f} MB; it took {done.before / 1e6:,.1f} MB.")


@db.command("partition")
@yes_option
@click.pass_obj
def partition(session: Session, *, yes: bool) -> None:
    """Move the events of a PostgreSQL database of before into months, while calls go on.

    Needs room for a second copy of them. May be stopped and run again at any time: it goes on from there. Restart
    dashboards of the version before first: they take no imports afterwards. New databases have months from the start.
    """
    database = session.platform.database
    room = size(database)
    if room is None and not database.is_sqlite:
        say("The events are in months already.")
        return
    if room and not yes:
        click.confirm(
            f"This needs {room / 1e6:,.0f} MB of room meanwhile. Are all dashboards of this version?",
            abort=True,
            err=True,
        )
    move_into_months(database, progress=_carried)
    say("The events are in months.")


def _carried(events: int) -> None:
    say(f"{counted(events, 'event')} carried over")


@db.command("archive")
@click.option(
    "--before", type=DAY, required=True, help="The first day of a month of UTC; all before it are archived."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "var" / "archive",
    show_default="var/archive",
    help="Where the files go, and where those of an interrupted archive are.",
)
@yes_option
@json_option
@click.pass_obj
def archive(session: Session, before: date, folder: Path, *, yes: bool, as_json: bool) -> None:
    """Write old months of calls to Parquet, verify the files, and delete these calls from the database.

    Sums by hour and day, caps and runs stay. May be stopped and run again at any time. Keep the files: the calls are
    nowhere else then.
    """
    from lib.exchange.archive import Archive  # noqa: PLC0415 - loads pyarrow

    platform = session.platform
    if not yes:
        question = (
            f"All calls before {before} will be in files of {folder} only. Is there a backup of the database?"
        )
        click.confirm(question, abort=True, err=True)
    moment = to_micros(datetime(before.year, before.month, before.day, tzinfo=UTC))
    done = Archive(platform.database, folder, actor=session.actor).run(moment, _say)
    if as_json:
        show_json([plain(month) for month in done])
    if not done:
        say(f"There is nothing to archive before {before}.")


def _say(month: ArchivedMonth) -> None:
    platform, byok = plain_usd(month.platform_nano), plain_usd(month.byok_nano)
    say(
        f"{month.month}: {counted(month.rows, 'call')}, {platform} USD platform-funded, {byok} USD BYOK, in {month.file}"
    )

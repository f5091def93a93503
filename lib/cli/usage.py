"""``usage import|verify``, and the group that ``usage export`` (lib.cli.usage_export) belongs to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click

from lib.cli.base.output import counted, json_option, plain_fields, progress, say, show_json, visible
from lib.cli.base.session import Session
from lib.cli.db import archive
from lib.cli.usage_export import export
from lib.clock import iso
from lib.db import Database
from lib.errors import ImportRejected
from lib.exchange.imports.import_result import ImportResult
from lib.exchange.imports.import_usage import import_usage
from lib.pricing.amounts import plain_usd
from lib.usage import rollups
from lib.usage.clock_leaps import Misdated, mend, misdated

_PROBLEMS_SHOWN = 20


@click.group()
def usage() -> None:
    """What calls used and cost."""


usage.add_command(export)
usage.add_command(archive)

# --- import ----------------------------------------------------------------------------------------


@usage.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out instead of refusing the whole file.")
@json_option
@click.pass_obj
def import_(session: Session, file: IO[bytes], *, skip_bad: bool, as_json: bool) -> None:
    """Add the usage of FILE (CSV or Parquet; - for standard input). Importing it again adds nothing."""
    platform = session.platform
    name = "standard input" if file is sys.stdin.buffer else Path(str(file.name)).name
    try:
        result = import_usage(
            platform.database,
            platform.prices,
            file,
            name=name,
            actor=session.actor,
            skip_bad=skip_bad,
            progress=progress("rows read"),
        )
    except ImportRejected as rejected:
        _say_problems(rejected.problems)
        say(f"{rejected.sentence} (--skip-bad leaves them out.)")
        click.get_current_context().exit(1)
    _say_problems(result.bad)
    _say_result(result)
    if as_json:
        show_json(asdict(result))


def _say_problems(problems: list[tuple[int, str]]) -> None:
    for line, reason in problems[:_PROBLEMS_SHOWN]:
        say(f"line {line}: {reason}")
    if len(problems) > _PROBLEMS_SHOWN:
        say(f"… and more of them; the first {_PROBLEMS_SHOWN} are shown.")


def _say_result(result: ImportResult) -> None:
    for sentence in result.sentences():
        say(sentence)


# --- verify ----------------------------------------------------------------------------------------


@usage.command("verify")
@click.option(
    "--repair",
    is_flag=True,
    help="Make the roll-ups again from the events where they differ, and date to now what is dated into the future.",
)
@json_option
@click.pass_obj
def verify(session: Session, *, repair: bool, as_json: bool) -> None:
    """Compare the sums that pages read with the events themselves; ends with 1 where they differ."""
    database = session.platform.database
    ahead, found = list(misdated(database)), list(rollups.verify(database))
    if as_json:
        show_json([*map(_public_misdated, ahead), *map(_public, found)])
    else:
        for line in [*map(_misdated, ahead), *map(_line, found)][:_PROBLEMS_SHOWN]:
            click.echo(visible(line))
    if (ahead or found) and repair:
        _repair(database, ahead, found)
        ahead, found = list(misdated(database)), list(rollups.verify(database))
    if ahead:
        say(
            f"Calls of {counted(len(ahead), 'project')} are dated into the future, by a clock that was wrong."
        )
    say(
        "The sums agree with the events."
        if not found
        else f"{counted(len(found), 'sum')} differ{'s' if len(found) == 1 else ''} from the events."
    )
    if ahead or found:
        raise click.exceptions.Exit(1)


def _repair(database: Database, ahead: Sequence[Misdated], found: Sequence[rollups.Difference]) -> None:
    for project in ahead:
        mend(database, project)
    if ahead:
        say("Dated to now the calls that were dated into the future.")
    if found:
        rollups.repair(database)
        say("Made the sums again from the events.")


def _misdated(found: Misdated) -> str:
    return f"{found.project}: {counted(found.calls, 'call')} dated into the future, up to {iso(found.latest)}"


def _public_misdated(found: Misdated) -> dict[str, object]:
    return {
        "project": found.project,
        "table": "usage_events",
        "dated_ahead": found.calls,
        "latest": iso(found.latest),
    }


def _public(found: rollups.Difference) -> dict[str, object]:
    sums = {
        side: None if values is None else plain_fields(zip(found.sums, values, strict=True))
        for side, values in (("stored", found.stored), ("events", found.events))
    }
    key = plain_fields(zip(found.columns, found.key, strict=True))
    return {"project": found.project, "table": found.table, **key, **sums}


def _line(found: rollups.Difference) -> str:
    moment, *what = found.key
    stored = "missing" if found.stored is None else _said(found, found.stored)
    events = "none" if found.events is None else _said(found, found.events)
    return (
        f"{found.project}, {found.table} {iso(moment)}, {' '.join(what)}: {stored}; the events say {events}"
    )


def _said(found: rollups.Difference, values: rollups.Sums) -> str:
    sums = dict(zip(found.sums, values, strict=True))
    nano = sums["cost_nano"] if "cost_nano" in sums else sums["saved_nano"] - sums["extra_nano"]
    return f"{plain_usd(nano)} USD in {counted(sums['calls'], 'call')}"

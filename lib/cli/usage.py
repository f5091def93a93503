"""``usage import|export|verify``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import IO

import click

from lib.cli.destination import destination, is_stream
from lib.cli.inputs import DAY, require_order
from lib.cli.output import counted, json_option, plain_fields, progress, say, show_json, visible
from lib.cli.session import Session
from lib.clock import iso
from lib.db.tables import SOURCES
from lib.errors import ImportRejected
from lib.exchange.export import FORMATS, Exported, export_usage
from lib.exchange.import_usage import ImportResult, import_usage
from lib.pricing.prices import plain_usd
from lib.reports.spend import UsageFilter
from lib.usage import rollups
from lib.usage.periods import midnight, zone_named

_PROBLEMS_SHOWN = 20


@click.group()
def usage() -> None:
    """What calls used and cost."""


# --- import ----------------------------------------------------------------------------------------


@usage.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out instead of refusing the whole file.")
@json_option
@click.pass_obj
def bring(session: Session, file: IO[bytes], *, skip_bad: bool, as_json: bool) -> None:
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
    counts = f"{result.added:,} added, {result.already_there:,} already there, {result.skipped:,} bad"
    say(f"{counted(result.rows, 'row')} read: {counts}.")
    if result.unpriced:
        say(f"The cost of {counted(result.unpriced, 'row')} is unknown.")


# --- export ----------------------------------------------------------------------------------------


@usage.command("export")
@click.option("--project", "projects", multiple=True, help="Only this project; may be given again.")
@click.option("--from", "since", type=DAY, help="First day; all history by default.")
@click.option("--to", "until", type=DAY, help="The day after the last one.")
@click.option(
    "--source", "sources", multiple=True, type=click.Choice(SOURCES), help="Only what this key paid."
)
@click.option("--tz", "zone", help="Time zone of the days; QODEX_TIMEZONE by default.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option(
    "--raw",
    is_flag=True,
    help="Leave text as it is, also where a spreadsheet would run it; not for an import.",
)
@click.option("--bom", is_flag=True, help="Begin with a byte-order mark, for Excel.")
@click.option("--meta", is_flag=True, help="Write FILE.meta.json too: filter, zone, rows, sums, SHA-256.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file, written whole or not at all.",
)
@click.pass_obj
def take(  # noqa: PLR0913 - click hands over each option
    session: Session,
    projects: tuple[str, ...],
    since: date | None,
    until: date | None,
    sources: tuple[str, ...],
    zone: str | None,
    kind: str,
    output: Path | None,
    *,
    raw: bool,
    bom: bool,
    meta: bool,
) -> None:
    """Write usage events, or their daily summary, to standard output or a file."""
    to_file = None if output is None or str(output) == "-" else output
    require_order(since, until)
    _require_sense(kind, to_file, bom=bom, meta=meta)
    days = zone_named(zone or session.platform.settings.timezone)
    wanted = UsageFilter(
        projects=projects,
        sources=sources,
        since=midnight(since, days) if since else None,
        until=midnight(until, days) if until else None,
        zone=days.key,
    )
    with destination(to_file) as file:
        done = export_usage(
            session.platform.database,
            wanted,
            file,
            actor=session.actor,
            format=kind,
            raw=raw,
            bom=bom,
            progress=progress("rows written") if sys.stderr.isatty() else None,
        )
    if to_file is not None:
        if meta:
            _write_meta(to_file, done)
        say(f"{counted(done.rows, 'row')} in {to_file.name}.")


def _require_sense(kind: str, to_file: Path | None, *, bom: bool, meta: bool) -> None:
    if bom and kind == "parquet":
        raise click.UsageError("--bom is for CSV.")
    if meta and (to_file is None or is_stream(to_file)):
        raise click.UsageError("--meta needs a file: -o FILE.")
    if kind == "parquet" and to_file is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal: -o FILE.")


def _write_meta(beside: Path, done: Exported) -> None:
    content = json.dumps(done.meta() | {"file": beside.name}, indent=2, ensure_ascii=False)
    with destination(beside.with_name(f"{beside.name}.meta.json")) as file:
        file.write(f"{content}\n".encode())


# --- verify ----------------------------------------------------------------------------------------


@usage.command("verify")
@click.option("--repair", is_flag=True, help="Make the roll-ups again from the events where they differ.")
@json_option
@click.pass_obj
def verify(session: Session, *, repair: bool, as_json: bool) -> None:
    """Compare the sums that pages read with the events themselves; ends with 1 where they differ."""
    database = session.platform.database
    found = list(rollups.verify(database))
    if as_json:
        show_json([_public(difference) for difference in found])
    else:
        for difference in found[:_PROBLEMS_SHOWN]:
            click.echo(visible(_line(difference)))
    if found and repair:
        rollups.repair(database)
        found = list(rollups.verify(database))
        say("Made the sums again from the events.")
    say(
        "The sums agree with the events."
        if not found
        else f"{counted(len(found), 'sum')} differ{'s' if len(found) == 1 else ''} from the events."
    )
    if found:
        raise click.exceptions.Exit(1)


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
    return f"{plain_usd(sums['cost_nano'])} USD in {counted(sums['calls'], 'call')}"

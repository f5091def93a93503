"""``usage export``: the same filter as the page Usage, into a file or to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from lib.cli.base.destination import destination, is_stream, own_files, require_not_own
from lib.cli.base.inputs import DAY, require_order
from lib.cli.base.output import counted, progress, say
from lib.cli.base.session import Session
from lib.db.tables import EVENT_STATUSES, RUN_KINDS, SOURCES
from lib.exchange.export import FORMATS, ExportResult, export_usage
from lib.reports.labels import split
from lib.reports.models import UsageFilter
from lib.usage.periods import midnight, zone_named


@click.command("export")
@click.option("--project", "projects", multiple=True, help="Only this project; may be given again.")
@click.option("--from", "since", type=DAY, help="First day; all history by default.")
@click.option("--to", "until", type=DAY, help="The day after the last one.")
@click.option(
    "--source", "sources", multiple=True, type=click.Choice(SOURCES), help="Only what this key paid."
)
@click.option("--provider", "providers", multiple=True, help="Only calls of this provider.")
@click.option("--model", "models", multiple=True, help="Only calls of this model; may be given again.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(RUN_KINDS), help="Only calls of runs of this kind."
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(EVENT_STATUSES),
    help="Only calls that ended so.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only projects with this label on the day of the call; KEY= without it. May be given again.",
)
@click.option(
    "--user", "users", multiple=True, help="Only calls of runs that this person started; '' for nobody known."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="Only calls that the key with these last four characters paid; '' for none known.",
)
@click.option("--tz", "zone", help="Time zone of the days; QODEX_TIMEZONE by default.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option(
    "--raw",
    is_flag=True,
    help="Leave text as it is, also where a spreadsheet would run it; not for an import.",
)
@click.option(
    "--labels",
    "with_labels",
    is_flag=True,
    help="A column for each label of the projects, behind all others.",
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
def export(
    session: Session,
    /,
    kind: str,
    output: Path | None,
    *,
    raw: bool,
    bom: bool,
    meta: bool,
    with_labels: bool,
    **asked: Any,
) -> None:
    """Write usage events, or their daily summary, to standard output or a file."""
    to_file = None if output is None or str(output) == "-" else output
    require_order(asked["since"], asked["until"])
    _require_sense(kind, to_file, bom=bom, meta=meta)
    wanted, own = _filter(session, **asked), own_files(session.platform.settings)
    if meta and to_file is not None:
        require_not_own(_meta_name(to_file), own)
    with destination(to_file, own) as file:
        done = export_usage(
            session.platform.database,
            wanted,
            file,
            actor=session.actor,
            format=kind,
            raw=raw,
            bom=bom,
            labels=with_labels,
            progress=progress("rows written") if sys.stderr.isatty() else None,
        )
    if to_file is not None:
        if meta:
            _write_meta(to_file, own, done)
        say(f"{counted(done.rows, 'row')} in {to_file.name}.")
    _say_what_no_call_has(session, wanted)


def _filter(session: Session, *, zone: str | None, **asked: Any) -> UsageFilter:
    days = zone_named(zone or session.platform.settings.timezone)
    for label in asked["labels"]:
        if "=" not in label:
            raise click.UsageError(f"A label is KEY=VALUE, not {label!r}.")
    for name in ("since", "until"):
        asked[name] = midnight(asked[name], days) if asked[name] else None
    return UsageFilter(**asked, zone=days.key)


def _say_what_no_call_has(session: Session, wanted: UsageFilter) -> None:
    """A model or provider is free text, so a slip of the pen would look like a period without calls."""
    known = session.platform.reports.filter_options(actor=session.actor)
    pairs = (("model", wanted.models, known.models), ("provider", wanted.providers, known.providers))
    for name, value in map(split, wanted.labels):
        if value and value not in known.labels.get(name, ()):
            say(f"No project ever had the label {name}={value}.")
    for noun, names, have in pairs:
        for name in sorted(set(names) - set(have)):
            say(f"No call of any project names the {noun} {name}.")


def _require_sense(kind: str, to_file: Path | None, *, bom: bool, meta: bool) -> None:
    if bom and kind == "parquet":
        raise click.UsageError("--bom is for CSV.")
    if meta and (to_file is None or is_stream(to_file)):
        raise click.UsageError("--meta needs a file: -o FILE.")
    if kind == "parquet" and to_file is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal: -o FILE.")


def _meta_name(beside: Path) -> Path:
    return beside.with_name(f"{beside.name}.meta.json")


def _write_meta(beside: Path, own: list[Path], done: ExportResult) -> None:
    content = json.dumps(done.meta() | {"file": beside.name}, indent=2, ensure_ascii=False)
    with destination(_meta_name(beside), own) as file:
        file.write(f"{content}\n".encode())

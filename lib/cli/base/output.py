"""How the command line shows things: tables for people, JSON for scripts, progress on standard error."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import click

from lib.clock import SECOND, Micros, iso
from lib.db.upkeep.checkup import BROKEN, Finding
from lib.pricing.amounts import plain_usd

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def say(message: str) -> None:
    """A message to the person, on standard error."""
    click.echo(visible(message), err=True)


def show_json(value: object) -> None:
    """Data for scripts, on standard output: whole whatever it can write, so as escapes where it is no UTF-8."""
    is_utf_8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=not is_utf_8))


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Data for people, on standard output, in columns."""
    table = [[visible(_shown(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def show_findings(found: Iterable[Finding], *, as_json: bool) -> None:
    """What an examination found, a line each; the exit status is 1 where something is broken."""
    findings = list(found)
    if as_json:
        show_json([asdict(each) for each in findings])
    else:
        show_table(
            ("status", "check", "message"), [(each.status, each.check, each.message) for each in findings]
        )
    if any(each.status == BROKEN for each in findings):
        click.get_current_context().exit(1)


def show_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One thing for people: a name and a value a line."""
    pairs = [(name, visible(_shown(value))) for name, value in fields]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {value}".rstrip())


def plain(row: Any) -> dict[str, object]:
    """A dataclass for JSON: times (``…_at``) as ISO 8601, money (``…_nano``) as ``…_usd`` in plain decimals."""
    return plain_fields(asdict(row).items())


def plain_fields(fields: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Names and values for JSON, as ``plain`` writes those of a dataclass."""
    return dict(_plain(name, value) for name, value in fields)


def _plain(name: str, value: Any) -> tuple[str, object]:
    if name.endswith("_nano"):
        return f"{name.removesuffix('_nano')}_usd", None if value is None else plain_usd(value)
    if name == "at" or name.endswith("_at"):
        return name, moment(value)
    return name, value


def moment(micros: Micros | None) -> str | None:
    """A time in ISO 8601 with ``Z``."""
    return None if micros is None else iso(micros)


def clock_time(micros: Micros | None) -> str | None:
    """A time for people, to the second."""
    return None if micros is None else iso(micros - micros % SECOND).replace("T", " ")


def counted(number: int, what: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def visible(text: str) -> str:
    """Text that cannot move a terminal's cursor, colour it or turn its writing direction."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def progress(what: str) -> Callable[[int], None] | None:
    """Counts rows on standard error: a line that changes on a terminal, else one every 100,000 rows."""
    return _Terminal(what) if sys.stderr.isatty() else _Log(what)


class _Terminal:
    def __init__(self, what: str) -> None:
        self._what, self._next = what, 0.0

    def __call__(self, rows: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.2
            click.echo(f"\r{rows:,} {self._what}\x1b[K\r", err=True, nl=False)


class _Log:
    def __init__(self, what: str) -> None:
        self._what, self._next = what, 100_000

    def __call__(self, rows: int) -> None:
        if rows >= self._next:
            self._next = rows + 100_000
            say(f"{rows:,} {self._what}")

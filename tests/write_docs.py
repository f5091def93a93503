"""Writes what the documentation takes from the code: ``python -m tests.write_docs``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from lib.cli import cli
from lib.exchange.columns import DAILY_HEADER, EVENT_COLUMNS, NEEDED, ColumnKind
from lib.settings import Settings
from tests.colors import SIGHTS, THEMES, contrast, distance, theme

ROOT = Path(__file__).resolve().parents[1]
_KINDS = {
    ColumnKind.TIME: "time, ISO 8601 in UTC with `Z`",
    ColumnKind.TEXT: "text",
    ColumnKind.COUNT: "whole number",
    ColumnKind.USD: "plain decimal, USD, up to nine places",
}
_MEANINGS = {
    "violet": "platform-funded",
    "blue": "BYOK",
    "green": "fine",
    "orange": "soon, waiting, stopped by a limit",
    "red": "failing, at cap",
    "gray": "neutral",
}


def environment() -> str:
    """The environment, from the fields of Settings."""
    rows = []
    for field in Settings.model_fields.values():
        default, alias = field.default, field.validation_alias
        name = alias.choices[0] if isinstance(alias, AliasChoices) else alias
        shown = (
            "`no`"
            if default is False
            else "none"
            if default in (None, [], PydanticUndefined)
            else f"`{default}`"
        )
        rows.append((f"`{name}`", field.description, shown))
    return _table(("variable", "meaning", "default"), rows)


def commands() -> str:
    """Each command with its arguments, options and help, from the commands themselves."""
    parts = []
    for names, command in _commands((), cli):
        usage = " ".join(command.collect_usage_pieces(click.Context(command)))
        parts.append(f"### `{' '.join(names)} {usage}`".replace(" [OPTIONS]", "") + "\n")
        parts.append(_paragraphs(command.help or ""))
        options = [
            (f"`{', '.join(option.opts)}`", option.help or "")
            for option in command.params
            if isinstance(option, click.Option)
        ]
        parts += [_table(("option", "meaning"), options)] if options else []
    return "\n".join(parts)


def _commands(names: Sequence[str], command: click.Command) -> Iterator[tuple[Sequence[str], click.Command]]:
    if isinstance(command, click.Group):
        for name, part in sorted(command.commands.items()):
            yield from _commands((*names, name), part)
    else:
        yield names, command


def _paragraphs(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", text.replace("\b", "").strip())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs) + "\n"


def columns() -> str:
    """The columns of a usage event."""
    rows = [
        (f"`{column.name}`", _KINDS[column.kind], "needed" if column.name in NEEDED else "")
        for column in EVENT_COLUMNS
    ]
    return _table(("column", "holds", "for an import"), rows)


def days() -> str:
    """The columns of the daily summary."""
    return ", ".join(f"`{name}`" for name in DAILY_HEADER) + "\n"


def contrasts() -> str:
    """Each meaning's colour on the page, and its badge."""
    rows = []
    for key, meaning in _MEANINGS.items():
        cells = []
        for colors in map(theme, THEMES):
            graphic = contrast(colors[f"{key}Color"], colors["backgroundColor"])
            badge = contrast(colors[f"{key}TextColor"], colors[f"{key}BackgroundColor"])
            cells += [f"{graphic:.2f}", f"{badge:.2f}"]
        rows.append((meaning, *cells))
    header = ("meaning", *(f"{theme}, {part}" for theme in THEMES for part in ("graphic", "badge text")))
    return _table(header, rows)


def distances() -> str:
    """How far apart the two sources are, for each kind of sight."""
    rows = []
    for name in THEMES:
        colors = theme(name)
        apart = (distance(colors["violetColor"], colors["blueColor"], sight) for sight in SIGHTS)
        rows.append((name, *(f"{each:.1f}" for each in apart)))
    return _table(("theme", *SIGHTS), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return (
        "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)
        .replace("| --- ", "|---")
        .replace("|--- |", "|---|")
    )


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"settings": environment},
    "docs/commands.md": {"commands": commands},
    "docs/exports.md": {"columns": columns, "days": days},
    "docs/look.md": {"contrasts": contrasts, "distances": distances},
}
"""File -> mark -> what stands between ``<!-- mark: … -->`` and ``<!-- /mark -->`` there."""


def marked(text: str, name: str, content: str) -> str:
    """The text with that content between the marks; it must have them."""
    marks = re.compile(rf"(<!-- {name}:.*?-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    found, times = marks.subn(lambda match: match[1] + content + match[2], text)
    if times != 1:
        raise ValueError(f"The marks of {name} are there {times} times.")
    return found


def written(file: str) -> str:
    """The file as it should be."""
    text = (ROOT / file).read_text()
    for name, content in BLOCKS[file].items():
        text = marked(text, name, content())
    return text


def main() -> None:
    """Write all blocks."""
    for file in BLOCKS:
        (ROOT / file).write_text(written(file))


if __name__ == "__main__":
    main()

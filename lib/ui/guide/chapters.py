"""The documents of ``docs/`` as chapters and sections, and where words stand in them. Pure but for reading the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from lib.settings import ROOT

CHAPTERS: Mapping[str, str] = {
    "keys": "What happens with my key",
    "caps": "Caps",
    "usage": "Reading Overview and Usage",
    "alerts": "Alerts",
    "views": "Views and links",
    "exports": "Exports and imports",
    "workers": "Writing a worker",
    "operators": "For operators",
    "commands": "Commands",
}
"""File of ``docs/`` without its ending -> its name, in the order in which people meet them."""

_TITLE = re.compile(r"^# .*\n", re.MULTILINE)
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)[^)]*\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n?")

_FENCE = re.compile(r"^```\w+", re.MULTILINE)  # colours of code are too faint on its grey


@dataclass(frozen=True)
class Section:
    """One part of a chapter; ``title`` is empty for what stands before the first heading."""

    chapter: str
    title: str
    text: str


@cache
def sections(chapter: str) -> Sequence[Section]:
    """The parts of a chapter, as Markdown without its title, pictures, and links to files that are no pages."""
    whole = (ROOT / "docs" / f"{chapter}.md").read_text(encoding="utf-8")
    plain = _FENCE.sub("```", _LINK.sub(r"\1", _IMAGE.sub("", _TITLE.sub("", whole, count=1))))
    return [_section(chapter, part) for part in _SECTION.split(plain) if part.strip()]


def search(words: str) -> Sequence[Section]:
    """Every section that holds all the words, those with them in their title first."""
    wanted = words.lower().split()
    found = [
        section
        for chapter in CHAPTERS
        for section in sections(chapter)
        if all(word in f"{section.title} {section.text}".lower() for word in wanted)
    ]
    return sorted(found, key=lambda each: not any(word in each.title.lower() for word in wanted))


def _section(chapter: str, part: str) -> Section:
    if not part.startswith("## "):
        return Section(chapter, "", part.strip())
    title, _, text = part.partition("\n")
    return Section(chapter, title.removeprefix("## ").strip(), text.strip())

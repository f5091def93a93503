"""Help > Guide: what stands in ``docs/``, to be read and searched where one works."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lib.formatting import count
from lib.ui.base import query_state
from lib.ui.base.wording import escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.guide.chapters import CHAPTERS, Section, search, sections
from lib.ui.parts import cards
from lib.ui.shell.guards import guard

_MOST_FOUND = 20


def main() -> None:
    """Guard, inputs, load, draw."""
    guard()
    head = cards.header("Guide")
    with head.right:
        chapter = query_state.select(
            "Chapter",
            "chapter",
            list(CHAPTERS),
            default=next(iter(CHAPTERS)),
            width=250,
            format_func=CHAPTERS.__getitem__,
        )
    wanted = query_state.search("Search", "q", placeholder="Search all chapters", width=320).strip()
    draw_wrong_links()
    if wanted:
        found = search(wanted)
        head.context(f"{count(len(found), 'section')} with these words")
        _found(found[:_MOST_FOUND])
        return
    head.context(escape(CHAPTERS[chapter]))
    with cards.card():
        for section in sections(chapter):
            if section.title:
                st.header(escape(section.title), anchor=False)
            st.markdown(section.text)


def _found(found: Sequence[Section]) -> None:
    if not found:
        cards.empty("No section has all of these words. Try fewer.")
    for section in found:
        title = CHAPTERS[section.chapter] + (f": {section.title}" if section.title else "")
        with st.expander(escape(title)):
            st.markdown(section.text)


main()

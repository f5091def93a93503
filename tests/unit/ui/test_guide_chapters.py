"""The documents that Help > Guide shows."""

from __future__ import annotations

from lib.ui.guide.chapters import CHAPTERS, sections


def test_no_chapter_leads_to_a_file_that_is_no_page():
    for chapter in CHAPTERS:
        for section in sections(chapter):
            assert ".md)" not in section.text
            assert "![" not in section.text

"""Documentation that can be generated is: these tests keep it so."""

from __future__ import annotations

import re
from pathlib import Path

from lib.settings import Settings
from tests.write_docs import environment_table

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_lists_every_variable_of_the_settings():
    text = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- settings:.*?-->\n(.*?)<!-- /settings -->", text, re.DOTALL)

    assert block, "README.md has lost its settings block"
    assert block[1] == environment_table(), "run: python -m tests.write_docs"


def test_every_setting_has_a_variable_and_a_description():
    for name, field in Settings.model_fields.items():
        assert field.validation_alias, name
        assert field.description, name


def test_links_of_the_docs_lead_to_files():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"

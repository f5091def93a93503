"""Writes what the documentation takes from the code: ``python -m tests.write_docs``."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from lib.settings import Settings

README = Path(__file__).resolve().parents[1] / "README.md"


def environment_table() -> str:
    """The environment as a Markdown table, from the fields of Settings."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for field in Settings.model_fields.values():
        default = field.default
        shown = "none" if default in (None, [], PydanticUndefined) else f"`{default}`"
        rows.append(f"| `{field.validation_alias}` | {field.description} | {shown} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Put the table between its marks."""
    text = README.read_text()
    marks = re.compile(r"(<!-- settings:.*?-->\n).*?(<!-- /settings -->)", re.DOTALL)
    README.write_text(marks.sub(lambda match: match[1] + environment_table() + match[2], text))


if __name__ == "__main__":
    main()

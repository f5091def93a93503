"""Documentation that can be generated is: these tests keep it so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import click
import pytest

from lib.cli import cli
from lib.settings import COMMAND, Settings
from tests.write_docs import BLOCKS, ROOT, written


@pytest.mark.parametrize("file", BLOCKS)
def test_what_the_code_says_stands_in_the_docs(file: str):
    assert (ROOT / file).read_text() == written(file), "run: python -m tests.write_docs"


def test_every_setting_has_a_variable_and_a_description():
    for name, field in Settings.model_fields.items():
        assert field.validation_alias, name
        assert field.description, name


def test_links_of_the_docs_lead_to_files():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


# --- commands that people are told to type ---------------------------------------------------------

_SHOWN = re.compile(r"(?:bin/qodex|\{COMMAND\})((?: +(?:\\\n *)?[^ `\"'\n,;|]+)+)")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z.|-]*|…|\{.*|\.+")


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line that a document, a page or a message shows."""
    sources = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    sources += [path for room in ("lib", "pages") for path in (ROOT / room).rglob("*.py")]
    for path in sorted(sources):
        for found in _SHOWN.findall(path.read_text()):
            yield f"{path.relative_to(ROOT)}:{found}", found.split()


def test_every_command_that_is_shown_exists_with_its_options():
    shown = list(shown_commands())
    assert len(shown) > 10
    for where, words in shown:
        command: click.Command = cli
        for word in words:
            if word.startswith("-"):
                known = {option for each in (command, cli) for part in each.params for option in part.opts}
                assert word in known, where
            elif isinstance(command, click.Group) and not _PLACEHOLDER.fullmatch(word):
                assert word in command.commands, where
                command = command.commands[word]


def test_no_command_is_shown_that_takes_an_activated_environment_first():
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "lib").rglob("*.py")]:
        told = re.findall(r".*(?<!/)\bpython3? -m (?:lib|streamlit|uvicorn)\b.*", path.read_text())
        assert [line for line in told if COMMAND not in line and not line.startswith('"""')] == [], path


def test_the_python_of_the_docs_can_be_compiled():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for code in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
            compile(code, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

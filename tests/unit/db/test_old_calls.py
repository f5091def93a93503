"""Upgrades are tried under workers of every schema that was ever released."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from lib.db import migrations
from lib.db.migrate import HEAD
from tests.old_calls import SCHEMAS


def test_the_calls_of_every_schema_before_this_one_are_recorded() -> None:
    """Where one is missing: run ``python -m tests.record_calls`` in a checkout of the commit before the migration."""
    steps = (Path(migrations.__file__).parent / "versions").glob("v[0-9]*.py")
    earlier = {step.name[1:5] for step in steps} - {HEAD}
    assert earlier <= set(SCHEMAS)


def test_every_step_of_the_schema_follows_the_one_before_it() -> None:
    """Two branches that took the same number merge without a conflict: the second one takes the next."""
    files = sorted((Path(migrations.__file__).parent / "versions").glob("v[0-9]*.py"))
    steps = [import_module(f"lib.db.migrations.versions.{file.stem}") for file in files]
    assert [file.name[1:5] for file in files] == [step.revision for step in steps]
    assert [step.down_revision for step in steps] == [None, *(step.revision for step in steps[:-1])]
    assert steps[-1].revision == HEAD

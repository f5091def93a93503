"""Upgrades are tried under workers of every schema that was ever released."""

from __future__ import annotations

from pathlib import Path

from lib.db import migrations
from lib.db.migrate import HEAD
from tests.old_calls import SCHEMAS


def test_the_calls_of_every_schema_before_this_one_are_recorded() -> None:
    """Where one is missing: run ``python -m tests.record_calls`` in a checkout of the commit before the migration."""
    steps = (Path(migrations.__file__).parent / "versions").glob("v[0-9]*.py")
    earlier = {step.name[1:5] for step in steps} - {HEAD}
    assert earlier <= set(SCHEMAS)

"""``demo load|remove``: sample data, apart from all that is real."""

from __future__ import annotations

import click

from lib.cli.output import counted, say, yes_option
from lib.cli.session import Session
from lib.sample import load as sample
from lib.settings import COMMAND


@click.group()
def demo() -> None:
    """Sample data: eight projects that show every page in use, in no real total."""


@demo.command("load")
@click.pass_obj
def load(session: Session) -> None:
    """Load the sample projects, with 120 days of calls up to now."""
    say("Making 120 days of sample data; this takes a few seconds.")
    platform = session.platform
    loaded = sample.load(platform.database, platform.keyring, session.actor)
    say(f"Loaded {_counts(loaded)}: {', '.join(loaded.projects)}.")
    say(f"They are in no real total, and make no calls. To remove them: {COMMAND} demo remove")


@demo.command("remove")
@yes_option
@click.pass_obj
def remove(session: Session, *, yes: bool) -> None:
    """Remove the sample projects, and all that belongs to them."""
    if not yes:
        click.confirm("Remove the sample projects, their runs and their calls?", abort=True, err=True)
    removed = sample.remove(session.platform.database, session.actor)
    say(f"Removed {_counts(removed)}.")


def _counts(data: sample.SampleData) -> str:
    return f"{counted(len(data.projects), 'sample project')} with {counted(data.calls, 'call')}"

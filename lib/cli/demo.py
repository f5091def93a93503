"""``demo load|remove``: sample data, in a deployment of its own."""

from __future__ import annotations

import click

from lib.cli.base.output import counted, say, yes_option
from lib.cli.base.session import Session
from lib.sample import deployment
from lib.settings import COMMAND


@click.group()
def demo() -> None:
    """Sample data: eight projects that show every page in use, in a database of their own."""


@demo.command("load")
@click.pass_obj
def load(session: Session) -> None:
    """Load the sample projects, with 120 days of calls up to now."""
    say("Making 120 days of sample data; this takes a few seconds.")
    loaded = deployment.load(session.platform, session.actor)
    calls, slugs = counted(loaded.calls, "call"), ", ".join(loaded.projects)
    say(f"Loaded {counted(len(loaded.projects), 'sample project')} with {calls}: {slugs}.")
    say(
        f"They are in a database of their own; the dashboard shows it with ?sample=1. To remove it: {COMMAND} demo remove"
    )


@demo.command("remove")
@yes_option
@click.pass_obj
def remove(session: Session, *, yes: bool) -> None:
    """Remove the sample projects, and all that belongs to them."""
    if not yes:
        click.confirm("Remove the sample projects, their runs and their calls?", abort=True, err=True)
    deployment.remove(session.platform, session.actor)
    say("Removed the sample data.")

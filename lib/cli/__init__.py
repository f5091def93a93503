"""The command line, for operators and scripts: ``python -m lib …``. One module a noun."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from lib.cli.caps import caps, plans
from lib.cli.demo import demo
from lib.cli.doctor import doctor
from lib.cli.keys import keys
from lib.cli.master import master
from lib.cli.members import members
from lib.cli.projects import projects
from lib.cli.runs import runs
from lib.cli.session import Guarded, Session
from lib.cli.usage import usage

__all__ = ["cli", "main"]


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the details of an error of Qodex itself.")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Qodex BYOK: projects, their keys, usage and caps.

    Data goes to standard output, messages to standard error; the exit status is 0 only if all went well.
    """
    context.obj = context.with_resource(Session(debug=debug))


for command in (projects, keys, members, runs, usage, caps, plans, master, demo, doctor):
    cli.add_command(command)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without UTF-8 shows ? for a dot, and no traceback
            stream.reconfigure(errors="replace")
    cli(prog_name="python -m lib")

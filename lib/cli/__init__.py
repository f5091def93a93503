"""The command line, for operators and scripts: ``bin/qodex …``, or ``python -m lib …``. One module a noun."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper

import click

from lib.cli.base.session import Guarded, Session
from lib.cli.caps import caps, plans
from lib.cli.db import db
from lib.cli.demo import demo
from lib.cli.doctor import doctor
from lib.cli.forecast import forecast
from lib.cli.keys import keys
from lib.cli.master import master
from lib.cli.members import members
from lib.cli.notify import notify
from lib.cli.projects import projects
from lib.cli.runs import runs
from lib.cli.usage import usage
from lib.settings import COMMAND

__all__ = ["cli", "main"]


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the details of an error of Qodex itself.")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Qodex BYOK: projects, their keys, usage and caps.

    Data goes to standard output, messages to standard error; the exit status is 0 only if all went well.
    """
    context.obj = context.with_resource(Session(debug=debug))


for command in (projects, keys, members, runs, usage, caps, plans, master, notify, db, demo, doctor):
    cli.add_command(command)
usage.add_command(forecast)


def main() -> None:
    """Run the command line of this process."""
    signal.signal(signal.SIGTERM, _end)
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without UTF-8 shows ? for a dot, and no traceback
            stream.reconfigure(errors="replace")
    cli(prog_name=COMMAND)


def _end(number: int, _frame: object) -> None:
    """End so that files that are half written are removed; told twice, at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)


def _open_what_is_closed() -> None:
    """No file of ours may become a standard stream; and what no reader can receive is no success."""
    refused = sys.stdout is None
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    if refused:
        sys.exit("Standard output is closed. Write it to a file, or to /dev/null.")

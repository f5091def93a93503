"""What all commands share: the front door, opened when it is first needed, and errors as one sentence."""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from lib.access.roles import Actor, Origin, local_administrator
from lib.errors import QodexError
from lib.secret import Secret, redact
from lib.settings import COMMAND

if TYPE_CHECKING:
    from lib.platform import Platform


class Session(AbstractContextManager["Session"]):
    """One call of the command line. A person who may start it on this machine is an administrator."""

    def __init__(self, *, debug: bool) -> None:
        self.debug = debug

    @cached_property
    def actor(self) -> Actor:
        """The person of the operating system, as the audit log names them."""
        try:
            # Not getpass.getuser, which takes any name that the environment gives.
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a number without a name, in a container for one
            name = "operator"
        return local_administrator(Origin.COMMAND_LINE, name)

    @cached_property
    def platform(self) -> Platform:
        """The deployment that the environment names. Raises SettingsError, DatabaseUnavailable."""
        from lib.llm.http import install_log_redaction  # noqa: PLC0415 - takes a while to load
        from lib.platform import Platform  # noqa: PLC0415

        install_log_redaction(everywhere=True)
        return Platform.from_env(actor=self.actor)

    def secrets(self) -> list[Secret]:
        """Keys that must be in no message even if they do not look like one."""
        platform: Platform | None = self.__dict__.get("platform")
        return list(platform.settings.platform_keys.values()) if platform else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "platform" in self.__dict__:
            self.platform.close()


class Guarded(click.Group):
    """Turns every failure into a sentence on standard error and an exit status that is not 0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options before the command."""
        with _without_keys():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with _without_keys():
                return super().invoke(ctx)
        except QodexError as problem:
            click.echo(problem.sentence, err=True)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # the reader had enough; click ends quietly
                raise
            click.echo(
                f"Reading or writing failed: {problem.strerror or 'the reason is not known'}.", err=True
            )
            _debug(ctx, problem)
        except Exception as problem:  # noqa: BLE001 - no person sees a traceback, which may hold a key
            click.echo(f"Something went wrong inside Qodex (error {secrets.token_hex(4)}).", err=True)
            _debug(ctx, problem)
        return ctx.exit(1)


@contextmanager
def _without_keys() -> Iterator[None]:
    """A person may type a key where none belongs."""
    try:
        yield
    except click.UsageError as problem:
        raise click.UsageError(redact(problem.format_message()), problem.ctx) from None


def _debug(ctx: click.Context, problem: Exception) -> None:
    session: Session | None = ctx.obj
    if session is None or not session.debug:
        click.echo(f"For the details run it again as: {COMMAND} --debug …", err=True)
        return
    told = "".join(traceback.format_exception(problem))
    click.echo(redact(told, *session.secrets()).rstrip(), err=True)

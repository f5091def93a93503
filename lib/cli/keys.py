"""``keys set|show|check|remove``. A key is read from standard input, never from the command line."""

from __future__ import annotations

import sys

import click

from lib.cli.base.output import (
    clock_time,
    json_option,
    moment,
    say,
    show_fields,
    show_json,
    show_table,
    yes_option,
)
from lib.cli.base.session import Session
from lib.errors import BadInput, KeyUnusable, QodexError
from lib.providers import DEFAULT, known, title, titles
from lib.secret import Secret
from lib.vault.states import KeyState

_LARGEST_INPUT = 64 * 1024
_BROKEN = {"failing", "locked"}
_NAMES = list(known.facts)
_TITLES = titles(_NAMES)
provider_option = click.option(
    "--provider",
    type=click.Choice(_NAMES),
    default=DEFAULT,
    show_default=True,
    help="Whose key it is.",
)


@click.group(
    help=f"The {_TITLES} keys of projects. No command shows more of a key than its last four characters."
)
def keys() -> None:
    """Everything about the keys of projects."""


@keys.command(
    "set",
    help=f"""Check a key with its provider ({_TITLES}) and put it in use. The key is read from standard input.

    A key that cannot be used now (no money, this address not allowed) replaces one that works only if you say so:
    when asked at a terminal, or with --yes.
    """,
)
@click.argument("slug")
@provider_option
@yes_option
@click.pass_obj
def save(session: Session, slug: str, provider: str, *, yes: bool) -> None:
    """Save a key."""
    keys, typed = session.platform.keys, _typed_key(provider)
    try:
        state = keys.save(slug, typed.reveal(), actor=session.actor, accept_unusable=yes, provider=provider)
    except KeyUnusable as problem:
        if not sys.stdin.isatty():
            raise BadInput(f"{problem.sentence} To do so, say --yes.") from None
        say(problem.message)
        click.confirm("The key in use works. Replace it all the same?", abort=True, err=True)
        state = keys.save(slug, typed.reveal(), actor=session.actor, accept_unusable=True, provider=provider)
    say(f"{slug} uses its own {title(provider)} key •••• {state.last4} from its next call on.")
    if state.status == "warning":
        say(f"Warning: {state.check_message}")


@keys.command("show")
@click.argument("slug")
@provider_option
@json_option
@click.pass_obj
def show(session: Session, slug: str, provider: str, *, as_json: bool) -> None:
    """Show whose key a project uses and how it is doing."""
    state = session.platform.keys.describe(slug, actor=session.actor, provider=provider)
    if as_json:
        show_json(_public(state))
    else:
        show_fields(_for_people(state))


@keys.command(
    "check",
    help="Ask its provider about a saved key again. The exit status is 1 where one fails or cannot be checked.",
)
@click.argument("slug", required=False)
@provider_option
@click.option("--all", "every", is_flag=True, help="Check the keys of all projects, of every provider.")
@json_option
@click.pass_obj
def check(session: Session, slug: str | None, provider: str, *, every: bool, as_json: bool) -> None:
    """Check saved keys."""
    if every == (slug is not None):
        raise click.UsageError("Name one project, or say --all.")
    wanted = [(slug, provider)] if slug else _with_keys(session)
    states = [state for each in wanted if (state := _checked(session, *each))]
    if as_json:
        public = [_public(state) for state in states]
        show_json(public if every else public[0] if public else None)
    else:
        rows = [
            (state.project, state.provider, state.last4, state.status, _trouble(state)) for state in states
        ]
        show_table(("project", "provider", "last4", "status", "why"), rows)
    if len(states) < len(wanted) or any(state.status in _BROKEN for state in states):
        click.get_current_context().exit(1)


@keys.command("remove")
@click.argument("slug")
@provider_option
@yes_option
@click.pass_obj
def remove(session: Session, slug: str, provider: str, *, yes: bool) -> None:
    """Destroy a project's key. Its calls are platform-funded again, and its caps apply."""
    state = session.platform.keys.describe(slug, actor=session.actor, provider=provider)
    if state.version == 0 and state.status != "locked":
        say(f"{slug} has no key of its own; nothing was changed.")
        return
    if not yes:
        which = f"the key •••• {state.last4}" if state.version else "what is left of its key"
        question = f"{slug} will use the platform-funded key, and its caps apply. Remove {which}?"
        click.confirm(question, abort=True, err=True)
    session.platform.keys.remove(slug, actor=session.actor, expected_version=state.version, provider=provider)
    say(f"Removed. {slug} uses the platform-funded key from its next call on.")


def _typed_key(provider: str) -> Secret:
    if sys.stdin.isatty():
        return Secret(str(click.prompt(f"{title(provider)} API key", hide_input=True, err=True)))
    return Secret(sys.stdin.buffer.read(_LARGEST_INPUT).decode("utf-8", "replace"))


def _with_keys(session: Session) -> list[tuple[str, str]]:
    found = [
        (slug, name)
        for name in _NAMES
        for slug, state in session.platform.keys.describe_all(actor=session.actor, provider=name).items()
        if state.version or state.status == "locked"
    ]
    return sorted(found, key=lambda each: (each[0], _NAMES.index(each[1])))


def _checked(session: Session, slug: str, provider: str) -> KeyState | None:
    try:
        return session.platform.keys.check(slug, actor=session.actor, provider=provider)
    except QodexError as problem:
        say(f"{slug}: {problem.sentence}")
        return None


def _public(state: KeyState) -> dict[str, object]:
    return {
        "project": state.project,
        "provider": state.provider,
        "source": state.source,
        "last4": state.last4,
        "status": state.status,
        "saved_at": moment(state.saved_at),
        "saved_by": state.saved_by,
        "last_checked_at": moment(state.last_checked_at),
        "last_used_at": moment(state.last_used_at),
    }


def _for_people(state: KeyState) -> list[tuple[str, object]]:
    times = {"saved_at", "last_checked_at", "last_used_at"}
    fields = [
        (name.replace("_", " "), clock_time(getattr(state, name)) if name in times else value)
        for name, value in _public(state).items()
    ]
    more = [("workspace", state.workspace), ("why", _trouble(state))]
    return fields + [(name, value) for name, value in more if value]


def _trouble(state: KeyState) -> str:
    if state.status == "locked":
        return state.lock_reason or ""
    if state.status == "failing":
        since = clock_time(state.failing_since)
        return f"failing since {since}: {state.failure_message or state.failure_code or state.failure}"
    return (state.check_message or "") if state.status == "warning" else ""

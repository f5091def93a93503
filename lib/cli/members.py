"""``members add|list|remove``."""

from __future__ import annotations

import click

from lib.access.members import Member
from lib.cli.base.output import clock_time, json_option, plain, say, show_json, show_table
from lib.cli.base.session import Session

_where = click.argument("slug", required=False)
_everywhere = click.option("--all-projects", "everywhere", is_flag=True, help="In all projects.")


@click.group()
def members() -> None:
    """Who has which role, in a project or in all of them."""


@members.command("add")
@click.argument("names", nargs=-1, required=True, metavar="SLUG|--all-projects EMAIL")
@_everywhere
@click.option(
    "--role",
    required=True,
    type=click.Choice(["admin", "lead", "manager", "analyst"]),
    help="Each role includes what the next one has.",
)
@click.pass_obj
def add(session: Session, names: tuple[str, ...], role: str, *, everywhere: bool) -> None:
    """Give EMAIL a role in the project SLUG, or in all projects; a member's role is changed."""
    slug, email = _slug_and_email(names, everywhere=everywhere)
    member = session.platform.members.put(email, role, slug=slug, actor=session.actor)
    say(f"{member.email} is {member.role.name.lower()} in {slug or 'all projects'}.")


@members.command("list")
@_where
@_everywhere
@json_option
@click.pass_obj
def show_all(session: Session, slug: str | None, *, everywhere: bool, as_json: bool) -> None:
    """List the members of a project, or --all-projects: who has a role in all of them. Without: everybody."""
    if slug and everywhere:
        raise click.UsageError("Name a project or --all-projects, not both.")
    book = session.platform.members
    one_list = slug is not None or everywhere
    found = book.list(slug=slug, actor=session.actor) if one_list else book.everybody(actor=session.actor)
    if as_json:
        show_json([_public(member) for member in found])
        return
    rows = [
        (
            each.email,
            each.role.name.lower(),
            each.project or "all projects",
            clock_time(each.added_at),
            each.added_by,
        )
        for each in found
    ]
    show_table(("e-mail", "role", "in", "added", "by"), rows)


@members.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="SLUG|--all-projects EMAIL")
@_everywhere
@click.pass_obj
def remove(session: Session, names: tuple[str, ...], *, everywhere: bool) -> None:
    """Take EMAIL's role in the project SLUG, or the one in all projects, away."""
    slug, email = _slug_and_email(names, everywhere=everywhere)
    session.platform.members.remove(email, slug=slug, actor=session.actor)
    say(f"{email} is no longer a member of {slug or 'all projects'}.")


def _slug_and_email(names: tuple[str, ...], *, everywhere: bool) -> tuple[str | None, str]:
    if len(names) != (1 if everywhere else 2):
        raise click.UsageError("Say in which project, or --all-projects; and whose e-mail.")
    return (None, names[0]) if everywhere else (names[0], names[1])


def _public(member: Member) -> dict[str, object]:
    return plain(member) | {"role": member.role.name.lower()}

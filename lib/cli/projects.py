"""``projects add|list|set``."""

from __future__ import annotations

import click

from lib.access.projects import DEFAULT_PLAN, POLICIES, Project
from lib.cli.output import clock_time, json_option, plain, say, show_json, show_table
from lib.cli.session import Session


@click.group()
def projects() -> None:
    """What everything else belongs to."""


@projects.command("add")
@click.argument("slug")
@click.option("--name", help="Its title; the short name by default.")
@click.option(
    "--plan", default=DEFAULT_PLAN, show_default=True, help="What it may spend on the platform key."
)
@click.pass_obj
def add(session: Session, slug: str, name: str | None, plan: str) -> None:
    """Create a project, named SLUG wherever it appears."""
    project = session.platform.projects.add(slug, name=name, plan=plan, actor=session.actor)
    say(f"Created {project.slug} on the plan {project.plan}.")


@projects.command("list")
@json_option
@click.pass_obj
def show_all(session: Session, *, as_json: bool) -> None:
    """List all projects."""
    found = session.platform.projects.list(actor=session.actor)
    if as_json:
        show_json([_public(project) for project in found])
        return
    header = ("project", "name", "plan", "on key failure", "created", "by")
    rows = [
        (each.slug, each.name, each.plan, each.on_key_failure, clock_time(each.created_at), each.created_by)
        for each in found
    ]
    show_table(header, rows)


@projects.command("set")
@click.argument("slug")
@click.option(
    "--on-key-failure", type=click.Choice(POLICIES), help="Stop, or go on with the platform-funded key."
)
@click.option("--plan", help="What it may spend on the platform key.")
@click.pass_obj
def change(session: Session, slug: str, on_key_failure: str | None, plan: str | None) -> None:
    """Change a project: what happens when its key fails, or its plan."""
    if on_key_failure is None and plan is None:
        raise click.UsageError("Say what to change: --on-key-failure or --plan.")
    projects = session.platform.projects
    if plan is not None:
        say(f"{projects.set_plan(slug, plan, actor=session.actor).slug} is on the plan {plan}.")
    if on_key_failure is not None:
        projects.set_policy(slug, on_key_failure, actor=session.actor)
        what = "stop" if on_key_failure == "stop" else "go on with the platform-funded key"
        say(f"When the key of {slug} fails, its calls {what}.")


def _public(project: Project) -> dict[str, object]:
    fields = plain(project)
    del fields["id"]
    return fields

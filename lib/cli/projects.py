"""``projects add|list|set``."""

from __future__ import annotations

import click

from lib.access.projects import DEFAULT_PLAN, POLICIES, Project
from lib.cli.base.output import clock_time, json_option, plain, say, show_json, show_table
from lib.cli.base.session import Session
from lib.providers import DEFAULT, known, title


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
    header = ("project", "name", "plan", "on key failure", "created", "by", "archived")
    rows = [
        (
            each.slug,
            each.name,
            each.plan,
            each.on_key_failure,
            clock_time(each.created_at),
            each.created_by,
            clock_time(each.archived_at) if each.archived_at else "",
        )
        for each in found
    ]
    show_table(header, rows)


@projects.command("set")
@click.argument("slug")
@click.option(
    "--on-key-failure", type=click.Choice(POLICIES), help="Stop, or go on with the platform-funded key."
)
@click.option(
    "--provider",
    type=click.Choice(list(known.facts)),
    default=DEFAULT,
    show_default=True,
    help="Whose key --on-key-failure is about.",
)
@click.option("--plan", help="What it may spend on the platform key.")
@click.option("--name", help="Its title.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="From today on; KEY= takes it away. Can be given several times.",
)
@click.pass_obj
def change(
    session: Session,
    slug: str,
    on_key_failure: str | None,
    provider: str,
    plan: str | None,
    name: str | None,
    labels: tuple[str, ...],
) -> None:
    """Change a project: its title, its labels, what happens when its key fails, or its plan."""
    if (on_key_failure, plan, name, labels) == (None, None, None, ()):
        raise click.UsageError("Say what to change: --name, --label, --on-key-failure or --plan.")
    projects, changes = session.platform.projects, session.platform.project_changes
    pairs = dict(_pair(label) for label in labels)
    if name is not None or pairs:
        changes.describe(slug, title=name, labels=pairs, actor=session.actor)
    if name is not None:
        say(f"{slug} has the title {name.strip()}.")
    for key, value in pairs.items():
        say(f"{slug}: {key} is {value} from today on." if value else f"{slug} has no label {key} any more.")
    if plan is not None:
        say(f"{projects.set_plan(slug, plan, actor=session.actor).slug} is on the plan {plan}.")
    if on_key_failure is not None:
        projects.set_policy(slug, on_key_failure, actor=session.actor, provider=provider)
        what = "stop" if on_key_failure == "stop" else "go on with the platform-funded key"
        say(f"When the {title(provider)} key of {slug} fails, its calls {what}.")


@projects.command("archive")
@click.argument("slug")
@click.option("--destroy-key", is_flag=True, help="Remove the project's own keys, too.")
@click.pass_obj
def archive(session: Session, slug: str, *, destroy_key: bool) -> None:
    """Let a project take no more runs; its history and exports stay."""
    session.platform.project_changes.archive(slug, actor=session.actor)
    say(f"{slug} is archived.")
    if destroy_key:
        for state in session.platform.keys.describe_each(slug, actor=session.actor):
            session.platform.keys.remove(slug, actor=session.actor, provider=state.provider)
        say("Its keys were destroyed.")


@projects.command("restore")
@click.argument("slug")
@click.pass_obj
def restore(session: Session, slug: str) -> None:
    """Let an archived project take runs again."""
    session.platform.project_changes.restore(slug, actor=session.actor)
    say(f"{slug} takes runs again.")


@projects.command("delete")
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(session: Session, slug: str, *, yes: bool) -> None:
    """Delete a project that was never used: no calls, no runs, no keys."""
    if not yes:
        click.confirm(f"Delete the project {slug}?", abort=True, err=True)
    session.platform.project_changes.delete(slug, actor=session.actor)
    say(f"{slug} was deleted.")


def _pair(label: str) -> tuple[str, str]:
    key, mark, value = label.partition("=")
    if not mark:
        raise click.UsageError(f"A label is KEY=VALUE, not {label!r}.")
    return key, value


def _public(project: Project) -> dict[str, object]:
    fields = plain(project)
    del fields["id"]
    return fields

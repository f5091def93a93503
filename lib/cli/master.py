"""``master status|new|rotate|retire|seal``: the master keys that seal everybody's keys."""

from __future__ import annotations

import click

from lib.cli.base.output import counted, json_option, plain, progress, say, show_json, show_table, yes_option
from lib.cli.base.session import Session
from lib.vault.master_keys.rotation import NewMasterKey
from lib.vault.states import Rotated, RotationPlan
from lib.vault.unsealed import Unsealed

_USES = {
    "encrypts": "encrypts",
    "opens": "opens",
    "next": 'opens; encrypts from "master rotate" on',
    "missing": "NOT HERE: what it seals is locked",
    "withheld": "NOT GIVEN by its key service: what it seals is locked",
}


@click.group()
def master() -> None:
    """The master keys that seal the keys of projects. No command shows one, but "new" where you must place it.

    A rotation is: new; give it to every server; rotate; retire the old one. docs/operators.md has the steps.
    """


@master.command("status")
@json_option
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show this server's master keys by id, and what each one seals. The exit status is 1 while a key is locked."""
    found = session.platform.masters.status(actor=session.actor)
    stopped = [*found.locked, *found.altered]
    if as_json:
        show_json(plain(found))
    else:
        rows = [(each.id, _USES[each.use], each.stored_keys, each.projects) for each in found.master_keys]
        show_table(("master key", "here it", "stored keys", "projects"), rows)
        say(f"From {found.source}.")
        for key in stopped:
            say(f"{key.project}: {key.why}")
    if stopped:
        raise click.exceptions.Exit(1)


@master.command("new")
@click.pass_obj
def new(session: Session) -> None:
    """Make a master key. It opens, and encrypts from "master rotate" on."""
    made = session.platform.masters.create(actor=session.actor)
    if made.line is not None:
        click.echo(made.line.reveal())
        _say_where(made)
        return
    wrapped = ", wrapped" if made.is_wrapped else ""
    say(
        f"Added {made.id}{wrapped} to {made.path}. Back it up: without it nothing that it seals can be opened."
    )
    if made.encrypts:
        say("It is the only one there, and encrypts from now on.")
        return
    say("It does not encrypt yet. Give the file to every other server first; then run: master rotate")


def _say_where(made: NewMasterKey) -> None:
    keep = (
        "It is wrapped: only its key service opens it. Back it up"
        if made.is_wrapped
        else "Back it up, and keep it out of shell histories and logs"
    )
    say(f"That is {made.id}. {keep}. Nothing was changed yet.")
    say("1. Put it at the END of QODEX_MASTER_KEYS, after a comma, on every server; restart them.")
    say("2. Move it to the FRONT on every server; restart them. Then run: master rotate")


@master.command("rotate")
@yes_option
@click.pass_obj
def rotate(session: Session, *, yes: bool) -> None:
    """Re-seal every stored key with the first master key. May be stopped and run again at any time."""
    masters = session.platform.masters
    plan = masters.plan(actor=session.actor)
    if not plan.promotes and not plan.stored_keys and not plan.projects:
        say(f"Every stored key is sealed with {plan.to} already.")
        return
    if not yes:
        click.confirm(_question(plan), abort=True, err=True)
    done = masters.rotate(actor=session.actor, progress=progress("keys re-sealed"))
    _report(done)


def _question(plan: RotationPlan) -> str:
    first = f"{plan.to} becomes the master key that encrypts. " if plan.promotes else ""
    return (
        f"{first}{counted(plan.stored_keys, 'stored key')} will be sealed with it, and what points at the keys of "
        f"{counted(plan.projects, 'project')}: on a server that does not have {plan.to} their calls stop. "
        "Does every server have it?"
    )


def _report(done: Rotated) -> None:
    say(f"Sealed {counted(done.resealed, 'key')} with {done.to}.")
    for key in done.left:
        say(f"{key.project}: left as it is. {key.why}")
    if done.left:
        raise click.exceptions.Exit(1)


@master.command("seal")
@yes_option
@click.pass_obj
def seal(session: Session, *, yes: bool) -> None:
    """Seal projects as the database has them now: those that are not as they were sealed, and so are stopped.

    For a database that was upgraded without a master key, or after somebody changed it past Qodex and you have
    put right what was changed. What is sealed here is believed from then on: look at each line.
    """
    found = session.platform.unsealed.find(actor=session.actor)
    if not found:
        say("Every project is as it was sealed. Nothing was changed.")
        return
    rows = [(each.project, _paid_by(each), each.on_key_failure) for each in found]
    show_table(("project", "own keys", "on key failure"), rows)
    for each in found:
        say(f"{each.project}: {each.why}")
    if not yes:
        question = f"Is each of these lines right? Then {counted(len(found), 'project')} will be sealed so."
        click.confirm(question, abort=True, err=True)
    session.platform.unsealed.seal(found, actor=session.actor)
    say(f"Sealed {counted(len(found), 'project')}.")


def _paid_by(found: Unsealed) -> str:
    return ", ".join(f"{name} •••• {last4}" for name, last4 in sorted(found.keys.items())) or "none"


@master.command("retire")
@click.argument("key_id", metavar="ID")
@yes_option
@click.pass_obj
def retire(session: Session, key_id: str, *, yes: bool) -> None:
    """Take a master key out of use, if no stored key is sealed with it."""
    masters = session.platform.masters
    place = masters.retire(key_id, actor=session.actor, dry=True)
    if place is not None:
        say(f"No stored key is sealed with {key_id}. Nothing was changed: take entry {place} out of")
        say("QODEX_MASTER_KEYS on every server, and restart them. Backups from before still need it.")
        return
    if not yes:
        click.confirm(
            f"Backups of the database from before the rotation still need {key_id}. Take it out of the file?",
            abort=True,
            err=True,
        )
    masters.retire(key_id, actor=session.actor)
    say(f"Took {key_id} out. Do the same on every other server that has a file of its own.")

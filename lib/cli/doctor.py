"""``doctor``: one line for each thing that must be right before a person or a worker can work."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from lib.cli.base.output import clock_time, counted, json_option, show_findings
from lib.cli.base.session import Session
from lib.clock import from_micros
from lib.db import Database
from lib.db.upkeep.checkup import Finding
from lib.db.upkeep.health import describe, files_of
from lib.environment import ambient
from lib.errors import KeyRejected, KeyUnchecked, QodexError
from lib.ledger.open_calls import LOOKED_BACK, count_open_calls, count_passed_ceilings
from lib.pricing import table
from lib.pricing.amounts import usd
from lib.pricing.prices import PriceBook
from lib.providers import known
from lib.providers import title as provider_title
from lib.settings import Settings
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import Keyring, load_keyring
from lib.vault.states import CAN_ADMINISTER
from lib.vault.unsealed import last_sealed_as_found

if TYPE_CHECKING:
    from lib.llm.provider import Provider

_OLD_TABLE = 60  # days


@click.command()
@json_option
@click.pass_obj
def doctor(session: Session, *, as_json: bool) -> None:
    """Check settings, database, files, master keys, upstream and prices. Changes nothing."""
    show_findings(_examined(session), as_json=as_json)


def _examined(session: Session) -> Iterator[Finding]:
    try:
        settings = Settings.from_env()
    except QodexError as problem:
        yield Finding("settings", "broken", problem.sentence)
        return
    yield Finding("settings", "ok", f"reporting time zone {settings.timezone}")
    if warning := ambient.key_warning():
        yield Finding("environment", "note", warning)
    yield from _database(session, settings)
    yield from _modes(settings)
    yield from _upstreams(settings)
    yield _sentence("prices", lambda: _prices(settings))


def _sentence(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except QodexError as problem:
        return Finding(check, "broken", problem.sentence)


# --- database and keys -----------------------------------------------------------------------------


def _database(session: Session, settings: Settings) -> Iterator[Finding]:
    if settings.is_sqlite and not files_of(settings.database_url):
        yield Finding("database", "note", "there is none yet; the first start makes it")
        return
    try:
        database = Database.from_settings(settings, application="qodex doctor")
        try:
            yield Finding("database", "ok", f"{describe(database)}, can be written")
            yield from _keys(session, settings, database)
            yield _calls(database)
            yield _ceilings(database)
        finally:
            database.close()
    except QodexError as problem:
        yield Finding("database", "broken", problem.sentence)


def _keys(session: Session, settings: Settings, database: Database) -> Iterator[Finding]:
    try:
        ring = load_keyring(settings, may_create=False)
    except QodexError as problem:
        yield Finding("master keys", "broken", problem.sentence)
        ring = Keyring()
    else:
        first = ", ".join(ring.ids)
        yield Finding(
            "master keys", "ok" if first else "note", first or "none; no project can be created, no key saved"
        )
        withheld = filter(None, map(ring.withheld, ring.ids))
        yield from (Finding("key service", "broken", problem.sentence) for problem in withheld)
    store = KeyStore(database, ring, settings.platform_keys)
    states = [store.describe_all(actor=session.actor, provider=name) for name in known.facts]
    saved = {slug for found in states for slug, state in found.items() if state.version}
    locked = {slug: state for found in states for slug, state in found.items() if state.status == "locked"}
    for slug, state in sorted(locked.items()):
        yield Finding("keys", "broken", f"{slug}: {state.lock_reason}")
    if not locked:
        yield Finding(
            "keys", "ok", f"{len(saved)} of {len(states[0])} projects have a key, all can be opened"
        )
    yield _seals(database)


def _seals(database: Database) -> Finding:
    """What only a person can judge: which projects were sealed as they were found."""
    newest = last_sealed_as_found(database)
    if newest is None:
        return Finding("seals", "ok", "every project was sealed when it was created")
    when = f"{clock_time(newest.at)} by {newest.actor}"
    count = counted(newest.projects, "project")
    return Finding(
        "seals", "note", f"{count} sealed as found in the database, last {when}: see the audit log"
    )


def _calls(database: Database) -> Finding:
    found = count_open_calls(database)
    message = f"{found.count} open, ${usd(found.reserved_nano):.2f} reserved"
    if found.owed_until is None:
        return Finding("calls", "ok", message)
    until = f"{from_micros(found.owed_until):%H:%M UTC on %d %b}"
    owed = f"{found.owed} of ended runs: their workers owe the results, or died; unknown after {until}"
    return Finding("calls", "note", f"{message}; {owed}")


def _ceilings(database: Database) -> Finding:
    """Calls that cost more than what was reserved for them: a bound of a provider's that does not hold."""
    passed = count_passed_ceilings(database)
    if not passed:
        return Finding("ceilings", "ok", f"no call has passed its ceiling in {LOOKED_BACK} days")
    told = ", ".join(f"{counted(each.calls, 'call')} to {provider_title(each.provider)}" for each in passed)
    newest = f"the last on {clock_time(max(each.newest for each in passed))}"
    return Finding(
        "ceilings",
        "note",
        f"in {LOOKED_BACK} days {told} cost more than what was reserved, {newest}: see the run logs",
    )


# --- files, upstream, prices -----------------------------------------------------------------------


def _modes(settings: Settings) -> Iterator[Finding]:
    files = files_of(settings.database_url)
    if not settings.master_keys and settings.master_key_file.exists():
        files.append(settings.master_key_file)
    wide = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in wide:
        yield Finding("files", "broken", f"others can read {path.name}. Run: chmod 600 {quote(str(path))}")
    if files and not wide:
        yield Finding("files", "ok", f"nobody else can read {_names(files)}")


def _names(files: list[Path]) -> str:
    return ", ".join(path.name for path in files)


def _upstreams(settings: Settings) -> Iterator[Finding]:
    from lib.llm import registry  # noqa: PLC0415 - takes a while to load

    if not settings.platform_keys:
        none = "none; projects without a key of their own cannot make calls"
        yield Finding("platform key", "note", none)
        return
    for provider in registry.live():
        yield _sentence("upstream", partial(_platform_key, provider, settings))


def _platform_key(provider: Provider, settings: Settings) -> Finding:
    from lib.llm.key_check import check_key  # noqa: PLC0415 - takes a while to load

    title = provider.facts.title
    key = settings.provider(provider.facts.name).key
    if key is None:
        return Finding(
            "platform key", "ok", f"none for {title}: only projects with a key of their own call it"
        )
    name = f"platform key •••• {key.last4}"
    try:
        result = check_key(provider, key, settings)
    except KeyRejected as problem:
        return Finding(name, "broken", f"{title} rejected it: {problem.message}")
    except KeyUnchecked as problem:
        return Finding(name, "broken", f"{title} could not be asked. {problem.reason}")
    usable = "note" if result.code == CAN_ADMINISTER else "broken"
    return Finding(name, "ok" if result.status == "working" else usable, result.message)


def _prices(settings: Settings) -> Finding:
    own = PriceBook.load(settings.prices_file).own_source
    name = settings.prices_file.name if settings.prices_file else ""
    first = f"{own} ({name}) before {table.SOURCE}" if own else f"{table.SOURCE}, no prices of your own"
    return table_finding(first, table.MADE, datetime.now(UTC).date())


def table_finding(tables: str, made: date | None, today: date) -> Finding:
    """Say which tables give prices; a note where the built-in one is old, or of an unknown day."""
    if made is None:
        return Finding("prices", "note", f"{tables}; how old this version of the table is, is not known")
    days = (today - made).days
    if days > _OLD_TABLE:
        newer = "Prices may have changed since: update Qodex, or name them in QODEX_PRICES_FILE."
        return Finding("prices", "note", f"{tables}; the table is {days} days old. {newer}")
    return Finding("prices", "ok", f"{tables}; the table is of {made:%Y-%m-%d}")

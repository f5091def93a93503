"""One sentence for each cause of a failure of the database, and the cause itself for the log.

What the driver says holds SQL, and may hold values: it never goes past ``lib.db``. The log gets it whole, redacted.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from sqlalchemy.exc import StatementError

from lib.db.blocks.line import WaitedTooLong
from lib.db.blocks.writer_lock import WriterLockUnusable
from lib.errors import BadInput, DatabaseConflict, DatabaseUnavailable
from lib.secret import redact

log = logging.getLogger(__name__)

_UNCHANGED = "Nothing was changed"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A kind of failure: how it is recognised, and what a person reads."""

    name: str
    sentence: str
    states: tuple[str, ...] = ()
    """SQLSTATEs of PostgreSQL, or the beginnings of them."""
    words: tuple[str, ...] = ()
    """What SQLite, or a server that refuses a connection, says."""


# The first that fits. SQLite's words are those of its own list (sqlite.org/rescode.html).
_CAUSES = (
    _Cause(
        "overflow",
        f"A sum of cost or tokens is larger than the database can hold. {_UNCHANGED}.",
        ("22003",),
        ("integer overflow", "too large to convert to sqlite"),
    ),
    _Cause(
        "too_many_connections",
        f"The database server takes no more connections. {_UNCHANGED}; lower QODEX_DB_POOL or the number of "
        "processes, raise the server's max_connections, or put a pooler in front of it.",
        ("53300",),
        (
            "too many clients",
            "too many connections",
            "remaining connection slots",
            "no more connections allowed",
        ),
    ),
    _Cause(
        "deadlock",
        f"Two transactions waited for each other, and the database ended this one. {_UNCHANGED}; try again.",
        ("40P01", "40001"),
    ),
    _Cause(
        "busy",
        f"The database is busy: a lock or a statement took longer than it may. {_UNCHANGED}; try again in a moment.",
        ("55P03", "57014", "25P03"),
        ("locked", "interrupted"),
    ),
    _Cause(
        "full",
        f"The disk of the database is full. {_UNCHANGED}; free some space and try again.",
        ("53100",),
        ("no space left", "is full"),
    ),
    _Cause(
        "read_only",
        f"The database can only be read. {_UNCHANGED}; check the rights of its folder, or that this is no replica.",
        ("25006",),
        ("readonly", "read-only"),
    ),
    _Cause(
        "unreachable",
        f"The database file cannot be opened. {_UNCHANGED}; check DATABASE_URL and the rights of its folder.",
        (),
        ("unable to open database file",),
    ),
    _Cause(
        "damaged",
        "The database file is damaged or no database. Restore it from a backup.",
        (),
        ("not a database",),
    ),
    _Cause("damaged", "The database file is damaged. Restore it from a backup.", (), ("malformed",)),
    _Cause(
        "refused",
        f"The database server did not accept the user or the password of DATABASE_URL. {_UNCHANGED}.",
        ("28",),
        ("authentication failed", "no password supplied", "no pg_hba.conf entry"),
    ),
    _Cause(
        "refused",
        f"The database server has no database of the name in DATABASE_URL. {_UNCHANGED}; create it first.",
        ("3D000",),
        ("does not exist",),
    ),
    _Cause(
        "options",
        f"DATABASE_URL has an option that is not known, or that the server refuses. {_UNCHANGED}; correct it.",
        ("08P01",),
        ("invalid connection option", "unsupported startup parameter", "invalid uri query parameter"),
    ),
    _Cause(
        "schema",
        f"The database does not have the tables that this program needs. {_UNCHANGED}; start the dashboard once, "
        "or restore a backup.",
        ("42P01", "42703", "42883", "3F000"),
        ("no such table", "no such column"),
    ),
    _Cause(
        "rights",
        f"The user of DATABASE_URL may not do this in the database. {_UNCHANGED}; give it the rights of the owner.",
        ("42501",),
    ),
    _Cause(
        "disk",
        f"The disk of the database failed. {_UNCHANGED}; look at the disk and into the system's log.",
        ("58030",),
        ("disk i/o error",),
    ),
    _Cause(
        "damaged",
        f"The database server does not work: a part of it cannot be loaded or read. {_UNCHANGED}; restart the "
        "server, and look into its own log.",
        ("58", "XX", "F0"),
    ),
    _Cause(
        "refused",
        f"The database did not take a statement of Qodex. {_UNCHANGED}; the log has what it said.",
        ("0A", "0B", "2", "4", "54", "55", "P"),
    ),
)
_BUSY = next(cause for cause in _CAUSES if cause.name == "busy")
_POOL = _Cause(
    "pool",
    f"All database connections of this process are in use. {_UNCHANGED}; try again in a moment, or raise QODEX_DB_POOL.",
)
_UNREACHABLE = _Cause(
    "unreachable",
    f"The database did not answer. {_UNCHANGED}; check DATABASE_URL and that the server runs.",
)
_NUL = re.compile(r"\bNUL\b")  # in psycopg's own words; a server's may show a statement with NULL in it
_PASSWORDS = re.compile(r"(://[^:/@\s]*:)[^@\s]*@|(password=)\S+")


class PoolExhausted(WaitedTooLong):
    """No connection of this process became free in time."""


def translate(problem: BaseException) -> BaseException | None:
    """What to raise instead, where this is a failure of the database; its cause goes into the log.

    None for whatever is none: our own errors, and exceptions from outside.
    """
    origin = _origin(problem)
    if isinstance(origin, UnicodeEncodeError) or (is_driver_error(origin) and _NUL.search(str(origin))):
        return BadInput("A text holds a character that the database cannot keep. Type it again.")
    if not is_driver_error(origin):
        return None if origin is problem else origin  # without the SQL that SQLAlchemy wraps around it
    if type(origin).__name__ == "IntegrityError" or _state(origin).startswith("23"):
        log.info("The database refused a row: %s", described(problem))
        return DatabaseConflict(f"The database refused a row that breaks a rule of its tables. {_UNCHANGED}.")
    cause = _cause(origin)
    log.warning("The database failed (%s): %s", cause.name, described(problem))
    return DatabaseUnavailable(cause.sentence, cause=cause.name)


def is_driver_error(problem: BaseException) -> bool:
    """Whether a driver or lib.db says that the database failed."""
    problem = _origin(problem)
    if isinstance(problem, WaitedTooLong | WriterLockUnusable):
        return True
    # By name: psycopg is not loaded for SQLite.
    return any(
        kind.__name__ == "Error" and kind.__module__.partition(".")[0] in {"psycopg", "sqlite3"}
        for kind in type(problem).__mro__
    )


def described(problem: BaseException) -> str:
    """All that the driver said, for the log: without values, passwords and keys."""
    origin = _origin(problem)
    statement = f" [{problem.statement}]" if isinstance(problem, StatementError) and problem.statement else ""
    told = (
        f"{type(origin).__name__} {_state(origin)}".strip() + f": {' '.join(str(origin).split())}{statement}"
    )
    return redact(_PASSWORDS.sub(r"\1\2…", told))


def _origin(problem: BaseException) -> BaseException:
    """The driver's own error under SQLAlchemy's."""
    return (problem.orig or problem) if isinstance(problem, StatementError) else problem


def _cause(problem: BaseException) -> _Cause:
    if isinstance(problem, WaitedTooLong):
        return _POOL if isinstance(problem, PoolExhausted) else _BUSY
    state, words = _state(problem), str(problem).lower()
    for cause in _CAUSES:
        if any(map(state.startswith, cause.states)) if state else any(word in words for word in cause.words):
            return cause
    return _UNREACHABLE


def _state(problem: BaseException) -> str:
    return str(getattr(problem, "sqlstate", None) or "")

"""What may be shown of a key. No type here has a field for a secret."""

from __future__ import annotations

from dataclasses import dataclass

from lib.clock import Micros
from lib.db import AnyRow

CAN_ADMINISTER = "can_administer"
"""The code of a warning that stands in no call's way, so that no call ends it: the key can do more than run models."""


@dataclass(frozen=True)
class Verdict:
    """What the provider said when the key was checked; ``code`` is set where it works with a warning.

    ``obstacle``: the key is genuine, but cannot be used now: ``money`` or ``address``. ``workspace``: who pays at
    the provider, where it said so.
    """

    code: str | None = None
    message: str | None = None
    obstacle: str | None = None
    workspace: str | None = None


@dataclass(frozen=True)
class KeyState:
    """All that may be shown of a project's key. There is no field for the secret.

    ``status``: none, working, warning, failing or locked. ``obstacle``: money or address, where the key cannot be
    used now, until a call succeeds; ``worked_at``: when one last did. ``source``: who pays, byok or platform.
    ``on_key_failure`` is what happens when it fails: stop or platform.
    ``version`` is 0 without a key; a project without one is locked, too, where the database was changed past
    Qodex. Times in microseconds.
    """

    project: str
    provider: str
    source: str
    status: str
    version: int = 0
    last4: str | None = None
    saved_at: Micros | None = None
    saved_by: str | None = None
    last_checked_at: Micros | None = None
    check_code: str | None = None
    check_message: str | None = None
    last_used_at: Micros | None = None
    last_used_run: str | None = None
    failing_since: Micros | None = None
    failure: str | None = None
    failure_status: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    failure_request_id: str | None = None
    master_key_id: str | None = None
    lock_reason: str | None = None
    worked_at: Micros | None = None
    obstacle: str | None = None
    on_key_failure: str = "stop"
    workspace: str | None = None

    @property
    def health(self) -> str:
        """The status, told apart further for people: ``blocked`` (an obstacle) and ``unproven`` (no call yet)."""
        if self.status == "warning" and self.obstacle:
            return "blocked"
        return "unproven" if self.status == "working" and self.worked_at is None else self.status

    @property
    def is_own(self) -> bool:
        """Whether the project's calls are for a key of its own, be it one that cannot be used."""
        return self.status != "none"


@dataclass(frozen=True)
class PlatformKeyState:
    """The platform-funded key: ``status`` none, working or failing (with the provider's own words)."""

    provider: str
    status: str
    last4: str = ""
    failing_since: Micros | None = None
    failure: str | None = None
    failure_status: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    failure_request_id: str | None = None


@dataclass(frozen=True)
class MasterKeyState:
    """One master key. ``use``: encrypts, opens, next (encrypts from the rotation on), missing, withheld (by its service).

    It seals so many stored keys, and what points at the keys of so many projects.
    """

    id: str
    use: str
    stored_keys: int
    projects: int


@dataclass(frozen=True)
class StoredKey:
    """A project's key that this server cannot open, and why; without a provider it is the project itself."""

    project: str
    provider: str
    last4: str
    master_key_id: str
    why: str


@dataclass(frozen=True)
class MasterKeys:
    """The master keys of this server, the encrypting one first, and what is locked.

    ``locked`` for want of a master key, ``altered`` because the database was changed past Qodex.
    """

    source: str
    master_keys: list[MasterKeyState]
    locked: list[StoredKey]
    altered: list[StoredKey]


@dataclass(frozen=True)
class RotationPlan:
    """What ``rotate`` would do: seal with ``to`` (which it makes the first one if ``promotes``) so much."""

    to: str
    promotes: bool
    stored_keys: int
    projects: int


@dataclass(frozen=True)
class Rotated:
    """What it did; ``left`` are keys that do not open here, and projects. They are as they were."""

    to: str
    resealed: int
    left: list[StoredKey]


def state_of(row: AnyRow, provider: str, policy: str, lock_reason: str | None) -> KeyState:
    """What may be shown of a project's key.

    Args:
        row: the project, outer-joined to its row of ``provider_keys`` in use.
        provider: whose key it is.
        policy: what happens when it fails.
        lock_reason: set where the project's calls are stopped.
    """
    if row.version is None:
        status = "none" if lock_reason is None else "locked"
        return KeyState(
            row.slug, provider, "platform", status, lock_reason=lock_reason, on_key_failure=policy
        )
    return KeyState(
        project=row.slug,
        provider=provider,
        source="byok",
        status=_status(row, locked=lock_reason is not None),
        lock_reason=lock_reason,
        on_key_failure=policy,
        **{name: row._mapping[column] for name, column in _COLUMNS.items()},  # noqa: SLF001
    )


_COLUMNS: dict[str, str] = {
    "version": "version",
    "last4": "last4",
    "saved_at": "saved_at",
    "saved_by": "saved_by",
    "last_checked_at": "checked_at",
    "check_code": "check_code",
    "check_message": "check_message",
    "last_used_at": "used_at",
    "last_used_run": "used_by_run",
    "failing_since": "failing_since",
    "failure": "failure",
    "failure_status": "failure_status",
    "failure_code": "failure_code",
    "failure_message": "failure_message",
    "failure_request_id": "failure_request_id",
    "master_key_id": "master_key_id",
    "worked_at": "worked_at",
    "obstacle": "obstacle",
    "workspace": "workspace",
}


def _status(row: AnyRow, *, locked: bool) -> str:
    if locked:
        return "locked"
    if row.failing_since is not None:
        return "failing"
    return "warning" if row.check_code or row.obstacle else "working"

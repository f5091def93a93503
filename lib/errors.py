"""Every failure a person can meet. Each is one safe sentence: what is wrong and what to do.

The sentence never repeats what was typed and never holds more of a key than its last four.
Errors carry the data of the next screen (``returns_at``, ``run_id``), and survive pickling,
because workers run in process pools.
"""

from __future__ import annotations

from datetime import datetime

from lib import providers


class QodexError(Exception):
    """Base of all: ``str(error)`` is the sentence to show."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[object, tuple[type[QodexError], dict[str, object]]]:
        return _rebuild, (type(self), self.__dict__)


def _rebuild(kind: type[QodexError], state: dict[str, object]) -> QodexError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["sentence"])
    error.__dict__.update(state)
    return error


class SettingsError(QodexError):
    """The environment is not usable; ``variable`` names the one to mend."""

    def __init__(self, variable: str, sentence: str) -> None:
        super().__init__(f"{variable}: {sentence}")
        self.variable = variable


class BadInput(QodexError):
    """Something typed does not have the form that is asked for. Nothing was changed."""


class UsageArchived(BadInput):
    """Single calls of that time are in the files of an archive, not in the database; their sums are."""

    def __init__(self, until: datetime) -> None:
        super().__init__(
            f"Single calls before {until:%Y-%m-%d} are archived, in Parquet files of their months. Ask from that day on, in whole "
            "hours of UTC, or read the files (docs/operators.md)."
        )
        self.until = until


class SdkUnsupported(QodexError):
    """The installed version of a provider's SDK does not fit; nothing was sent."""

    def __init__(self, package: str, installed: str, wanted: str) -> None:
        super().__init__(
            f"The installed {package} {installed} does not fit. Install one that does: pip install '{wanted}'."
        )


class ProjectUnknown(QodexError):
    """No such project, or this person may not know of it."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            "There is no project of that name that you can see. If you saw it until now, your role in it was taken away: "
            "ask one of its leads or an administrator. Nothing was changed."
        )
        self.slug = slug


class ProjectArchived(QodexError):
    """The project is archived: it has its history, and no runs."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"The project {slug} is archived and takes no runs. A lead restores it in Settings > Project."
        )
        self.slug = slug


class RunUnknown(QodexError):
    """No such run, or this person may not know of it."""

    def __init__(self) -> None:
        super().__init__("There is no run of that id that you can see.")


class SampleProject(QodexError):
    """Sample data is for looking: it makes no call and holds no real key."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"{slug} is sample data: it makes no calls and takes no key. Create a project of your own for that."
        )
        self.slug = slug


class Forbidden(QodexError):
    """The actor's role does not allow this action in this project."""


class SignInRefused(QodexError):
    """The identity provider's word is not enough to let this person in."""


class SessionEnded(QodexError):
    """The session is over: too old, or signed out in some tab."""


class DatabaseUnavailable(QodexError):
    """The database did not answer, or could not write. Nothing was half done.

    ``cause`` names why for a program: ``unreachable, busy, full, read_only, too_many_connections, deadlock`` …
    """

    def __init__(self, sentence: str, *, cause: str = "unreachable") -> None:
        super().__init__(sentence)
        self.cause = cause


class DatabaseConflict(QodexError):
    """A row breaks a rule of the tables: its name is taken, its project is gone. Nothing was changed."""


class KeyMalformed(QodexError):
    """What was pasted cannot be a key of that provider. The text itself is not repeated."""


class KeyRejected(QodexError):
    """The provider refused the key. Nothing was saved; a key in use stays in use.

    Attributes: the upstream's ``status`` (HTTP), ``code``, ``message`` (redacted) and ``request_id``.
    """

    def __init__(
        self,
        *,
        status: int | None,
        code: str | None,
        message: str,
        request_id: str | None,
        provider: str = providers.DEFAULT,
    ) -> None:
        super().__init__(f"{providers.title(provider)} rejected this key: {message} Nothing was saved.")
        self.status, self.code, self.message, self.request_id = status, code, message, request_id


class KeyUnusable(QodexError):
    """The provider knows the key, but it cannot be used now, and the one in use works. Nothing was saved.

    Who says so may save it all the same. Attributes: the upstream's ``code``, ``message`` and ``request_id``.
    """

    def __init__(self, *, code: str | None, message: str, request_id: str | None, last4: str) -> None:
        super().__init__(
            f"{message} Nothing was saved: the key in use, •••• {last4}, works. It is replaced only if you confirm it."
        )
        self.code, self.message, self.request_id = code, message, request_id


class KeyUnchecked(QodexError):
    """The provider could not be asked (time-out, outage, no network). Nothing was saved; try again."""

    def __init__(self, reason: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(f"Could not check the key. {reason} Nothing was saved. Try again.")
        self.reason, self.status, self.request_id = reason, status, request_id


class KeyChanged(QodexError):
    """Another person saved or removed the key in the meantime; theirs is in use and nothing was overwritten."""


class TooManyChecks(QodexError):
    """Key checks are limited per person and project; ``retry_at`` says when the next one is possible."""

    def __init__(self, sentence: str, retry_at: datetime) -> None:
        super().__init__(sentence)
        self.retry_at = retry_at


class KeyMissing(QodexError):
    """No key can pay for the call: the project has none, and the platform has none either.

    ``str()`` is the sentence for the project's lead, ``for_operator`` the one for who runs the server.
    """

    def __init__(self, slug: str, provider: str = providers.DEFAULT) -> None:
        facts = providers.known.facts[provider]
        super().__init__(
            f"{slug} has no key of its own and no platform key is configured. "
            f"Add your {facts.title} key in Settings > Integrations, or ask the operator."
        )
        self.for_operator = (
            f"Set {facts.key_variable} so that projects without a key of their own can make calls."
        )


class KeyLocked(QodexError):
    """The project's key, or what points at it, cannot be trusted or opened here: its calls stop.

    Attributes:
        last4: of the key, empty where that is not known.
        master_key_id: the master key that is needed.
        tampered: the database was changed past Qodex.
        genuine: all is as it was sealed, only the master key is not here: the project's failure policy decides.
    """

    def __init__(
        self, last4: str, master_key_id: str, *, tampered: bool = False, sentence: str | None = None
    ) -> None:
        why = (
            "its sealed row does not belong here or was altered. Replace the key."
            if tampered
            else f"this server does not have master key {master_key_id}. Nothing was changed. "
            "An operator can add that master key, or replace the key."
        )
        super().__init__(sentence or f"The key •••• {last4} is locked: {why}")
        self.last4, self.master_key_id, self.tampered = last4, master_key_id, tampered
        self.genuine = False


class MasterKeyMissing(QodexError):
    """No master key to seal with."""


class KeyServiceFailed(MasterKeyMissing):
    """A key service does not give, or does not wrap, a master key. Nothing was changed.

    Attributes:
        why: what it said, or that it said nothing.
        refused: it said no; otherwise it may answer later.
    """

    def __init__(self, master_key_id: str, why: str, *, refused: bool = False) -> None:
        super().__init__(f"Master key {master_key_id} cannot be used: its key service {why}")
        self.master_key_id, self.why, self.refused = master_key_id, why, refused


class MasterKeyInUse(QodexError):
    """The master key cannot go: it still seals, or is the one that encrypts."""


class CapExceeded(QodexError):
    """A rolling cap has no room for the call.

    ``window`` is ``"5h"`` or ``"7d"``; ``returns_at`` (UTC) is when room returns, None where the call
    can never fit.
    """

    def __init__(self, sentence: str, *, window: str, returns_at: datetime | None) -> None:
        super().__init__(sentence)
        self.window, self.returns_at = window, returns_at


class RunWaiting(QodexError):
    """A scheduled run or PR review waits for headroom: claim it later through ``due_runs()``."""

    def __init__(self, sentence: str, *, run_id: str, resumes_at: datetime) -> None:
        super().__init__(sentence)
        self.run_id, self.resumes_at = run_id, resumes_at


class BudgetExceeded(QodexError):
    """The run used up its own token budget. Its work is kept; this is not a test failure."""

    def __init__(self, *, budget: int, used: int) -> None:
        super().__init__(
            f"The run reached its own budget of {budget:,} tokens and stopped before the next call. "
            "Its work is kept. This is not a test failure."
        )
        self.budget, self.used = budget, used


class AddressLocked(QodexError):
    """The address of an alert does not open here; nothing was sent to it."""


class RunEnded(QodexError):
    """A call was made through a run that has ended already."""


class NotMetered(QodexError):
    """The request has no cost ceiling, or would bypass metering; it was not sent."""


class PriceUnknown(QodexError):
    """The model has no known price, so a platform-funded call has no ceiling; it was not sent."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The price of {model} is unknown, so it cannot run on the platform key. "
            "Use your own key, or ask the operator to add a price (QODEX_PRICES_FILE)."
        )
        self.model = model


class LeaseLost(QodexError):
    """The call was cut, because the database no longer knew that it was running."""


class ImportRejected(QodexError):
    """The file has bad rows and nothing went in; ``problems`` holds (line number, reason)."""

    def __init__(self, sentence: str, problems: list[tuple[int, str]]) -> None:
        super().__init__(sentence)
        self.problems = problems

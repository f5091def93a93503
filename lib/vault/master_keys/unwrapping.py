"""Wrapped master keys, unwrapped: held in memory for a while only, and confirmed by their service meanwhile.

A call must not wait for a key service, nor stop whenever it does not answer for a minute; and where it says no, or is
away for long, what it guards must close. So what was unwrapped is used for an hour; its service is asked again each
minute, beside the calls; a refusal counts at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lib.errors import KeyServiceFailed, SettingsError
from lib.secret import without_variables
from lib.settings import Settings
from lib.vault.master_keys.wrapped import AWS_KMS, TRANSIT, KeyService, ServiceKey, Wrapped, service_key
from lib.vault.sealing import KEY_BYTES, MasterKey
from lib.vault.services.aws_kms import AwsKms
from lib.vault.services.transit import Transit

log = logging.getLogger(__name__)

HELD_SECONDS = 3600.0
CONFIRMED_SECONDS = 60.0
_AGAIN_SECONDS = 5.0  # while there is nothing to use


@dataclass
class _Held:
    asked_at: float
    given_at: float = 0.0
    key: MasterKey | None = field(default=None, repr=False)
    problem: KeyServiceFailed | None = None


class Unwrapper:
    """Gives the master keys that services have wrapped.

    No lock: two threads that ask at once ask twice.

    Args:
        services: by their names.
        wraps_by: what new master keys are wrapped by; None: they are not.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        services: Mapping[str, KeyService],
        *,
        wraps_by: ServiceKey | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self.wraps_by = wraps_by
        self._clock = clock
        self._held: dict[Wrapped, _Held] = {}

    @classmethod
    def of(cls, settings: Settings) -> Unwrapper:
        """The services as the environment names them. Raises SettingsError."""
        try:
            wraps_by = service_key(settings.key_service) if settings.key_service else None
        except ValueError as problem:
            raise SettingsError("QODEX_KEY_SERVICE", str(problem)) from None
        return cls({TRANSIT: Transit(settings), AWS_KMS: AwsKms()}, wraps_by=wraps_by)

    def prepare(self, keys: Iterable[Wrapped]) -> None:
        """Ask for those that were not asked for yet."""
        for wrapped in keys:
            if wrapped not in self._held:
                self._ask(wrapped)

    def get(self, wrapped: Wrapped) -> MasterKey | None:
        """The master key, None where its service has not given it, or not for too long (``problem`` says why)."""
        held = self._held.get(wrapped)
        now = self._clock()
        if held is None or (_usable(held, now) is None and now - held.asked_at >= _AGAIN_SECONDS):
            return _usable(self._ask(wrapped), now)
        if now - held.asked_at >= CONFIRMED_SECONDS:
            held.asked_at = now  # so that no other thread begins as well
            threading.Thread(target=self.confirm, name="qodex key service", daemon=True).start()
        return _usable(held, now)

    def confirm(self) -> None:
        """Ask for all of them again."""
        for wrapped in list(self._held):
            self._ask(wrapped)

    def problem(self, wrapped: Wrapped) -> KeyServiceFailed:
        """Why a master key cannot be used."""
        held = self._held.get(wrapped)
        told = held.problem if held else None
        sentence = told.why if told else f"{wrapped.by} has not given it."
        return KeyServiceFailed(wrapped.id, sentence, refused=bool(told and told.refused))

    @without_variables
    def new(self, by: ServiceKey) -> Wrapped:
        """A new master key, which only the service and this process ever see. Raises KeyServiceFailed."""
        raw = os.urandom(KEY_BYTES)
        master_key_id = MasterKey(raw).id
        return Wrapped(by, master_key_id, self._services[by.service].wrap(by, raw, master_key_id))

    def _unwrapped(self, wrapped: Wrapped) -> MasterKey:
        key = self._services[wrapped.by.service].unwrap(wrapped)
        if key.id != wrapped.id:
            raise KeyServiceFailed(wrapped.id, f"{wrapped.by} gives {key.id} for it.", refused=True)
        return key

    def _ask(self, wrapped: Wrapped) -> _Held:
        before = self._held.get(wrapped)
        held = self._held[wrapped] = before or _Held(self._clock())
        held.asked_at = self._clock()
        try:
            key = self._unwrapped(wrapped)
        except (KeyServiceFailed, SettingsError) as problem:
            _fail(held, _as_failure(wrapped, problem), self._clock())
        else:
            if held.problem:
                log.warning("%s gives master key %s again.", wrapped.by, wrapped.id)
            held.key, held.given_at, held.problem = key, held.asked_at, None
        return held


def _usable(held: _Held, now: float) -> MasterKey | None:
    return held.key if now - held.given_at < HELD_SECONDS else None


def _as_failure(wrapped: Wrapped, problem: KeyServiceFailed | SettingsError) -> KeyServiceFailed:
    if isinstance(problem, KeyServiceFailed):
        return problem
    return KeyServiceFailed(wrapped.id, problem.sentence)


def _fail(held: _Held, problem: KeyServiceFailed, now: float) -> None:
    if held.problem is None or held.problem.sentence != problem.sentence:
        log.warning("%s", problem)
    held.problem = problem.with_traceback(None)
    if problem.refused or _usable(held, now) is None:
        held.key = None

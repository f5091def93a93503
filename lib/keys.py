"""The keys of projects, for everybody outside: checked with the provider (lib.llm), then saved (lib.vault).

No transaction is open while the provider answers.
"""

from __future__ import annotations

from collections.abc import Collection

from lib.access.denied_attempts import denials_logged
from lib.access.projects import Projects
from lib.access.roles import Action, Actor, require
from lib.db import Database
from lib.errors import KeyRejected, KeyUnusable, SampleProject
from lib.llm import registry
from lib.llm.key_check import CheckResult, check_key
from lib.providers import DEFAULT
from lib.secret import Secret, without_variables
from lib.settings import Settings
from lib.vault.keys import KeyStore
from lib.vault.rate_limit import check_rate_limit
from lib.vault.resolving import ResolvedKey
from lib.vault.states import KeyState, PlatformKeyState, Verdict


class Keys:
    """The keys of projects: checked with the provider, then saved; read from the database each time.

    Each function takes the ``actor`` it acts for and checks their role; without one it is this process.
    """

    def __init__(
        self, database: Database, store: KeyStore, projects: Projects, settings: Settings, actor: Actor
    ) -> None:
        self._database = database
        self._store = store
        self._projects = projects
        self._settings = settings
        self._actor = actor

    def save(
        self,
        slug: str,
        key: str,
        *,
        actor: Actor | None = None,
        expected_version: int | None = None,
        accept_unusable: bool = False,
        provider: str = DEFAULT,
    ) -> KeyState:
        """Check a key with the provider and put it in use.

        Args:
            slug: the project.
            key: the key as it was pasted.
            actor: for whom; needs the role lead.
            expected_version: the version in use that the person saw, 0 for none. By default the one in
                use when this began, so that of two people who replace at once one is told.
            accept_unusable: the person's word that a key which cannot be used now (no money, this server's
                address not allowed) may replace one that works.
            provider: whose key it is.

        Raises:
            KeyMalformed: it cannot be a key of this provider.
            KeyRejected: the provider refused it. Nothing was saved.
            KeyUnusable: it cannot be used now, the one in use can, and nobody has accepted that.
            KeyUnchecked: the provider could not be asked. Nothing was saved; try again.
            TooManyChecks: too many keys were refused lately.
            KeyChanged: somebody else was first.
        """
        pasted = Secret(key)
        del key  # before anything can fail: a traceback that shows variables must not show it
        who = self._allowed(slug, actor)
        asked = registry.provider(provider)
        secret = without_variables(asked.clean_key)(pasted.reveal())
        state = self.describe(slug, actor=who, provider=provider)
        seen = state.version if expected_version is None else expected_version
        with check_rate_limit(self._database, slug, who):
            try:
                result = check_key(asked, secret, self._settings)
            except KeyRejected as refused:
                self._store.record_refusal(slug, actor=who, code=refused.code, provider=provider)
                raise
        if result.obstacle and not accept_unusable and _may_work(state):
            raise KeyUnusable(
                code=result.code,
                message=result.message,
                request_id=result.request_id,
                last4=state.last4 or "",
            )
        return self._store.save(
            slug, secret, actor=who, expected_version=seen, verdict=_verdict(result), provider=provider
        )

    def check(self, slug: str, *, actor: Actor | None = None, provider: str = DEFAULT) -> KeyState:
        """Ask the provider about the saved key again, and note the answer.

        A refusal is no exception here: the state says ``failing``. Raises KeyUnchecked where the provider
        could not be asked (the state stays), KeyLocked where the key does not open.
        """
        who = self._allowed(slug, actor)
        asked = registry.provider(provider)
        state = self.describe(slug, actor=who, provider=provider)
        if state.status == "none":
            return state
        resolved = self._store.resolve(slug, provider=provider)
        if resolved.version is None:
            return self.describe(slug, actor=who, provider=provider)
        with check_rate_limit(self._database, slug, who):
            try:
                verdict, failure = _verdict(check_key(asked, resolved.secret, self._settings)), None
            except KeyRejected as refused:
                verdict, failure = None, _failure(refused)
        return self._store.record_check(
            slug,
            actor=who,
            version=resolved.version,
            verdict=verdict,
            failure=failure,
            provider=provider,
        )

    def remove(
        self,
        slug: str,
        *,
        actor: Actor | None = None,
        expected_version: int | None = None,
        provider: str = DEFAULT,
    ) -> KeyState:
        """Destroy the sealed key; the project is platform-funded again."""
        who = actor or self._actor
        with denials_logged(self._database, who, "remove the key", slug):
            return self._store.remove(slug, actor=who, expected_version=expected_version, provider=provider)

    def describe(self, slug: str, *, actor: Actor | None = None, provider: str = DEFAULT) -> KeyState:
        """All that may be shown of the project's key."""
        return self._store.describe(slug, actor=actor or self._actor, provider=provider)

    def describe_all(self, *, actor: Actor | None = None, provider: str = DEFAULT) -> dict[str, KeyState]:
        """All that may be shown of the key of every project that the actor may see, by slug."""
        return self._store.describe_all(actor=actor or self._actor, provider=provider)

    def describe_each(self, slug: str, *, actor: Actor | None = None) -> list[KeyState]:
        """All that may be shown of the project's key of each provider, the first one first."""
        names = [each.facts.name for each in registry.live()]
        return [self.describe(slug, actor=actor, provider=name) for name in names]

    def describe_every(self, *, actor: Actor | None = None) -> dict[str, list[KeyState]]:
        """All that may be shown of keys, of every project that the actor may see, by slug.

        The first is of the first provider, also where there is none; then the keys in use of the others.
        """
        who, names = actor or self._actor, [each.facts.name for each in registry.live()]
        others = self._store.describe_own(actor=who, providers=[name for name in names if name != DEFAULT])
        first = self._store.describe_all(actor=who)
        return {slug: [state, *others.get(slug, [])] for slug, state in first.items()}

    def is_capped(self, states: Collection[KeyState]) -> bool:
        """Whether the platform may pay for any call of a project with these keys, so that its caps apply."""
        own = {state.provider for state in states if state.version}
        return not own or bool(self._settings.platform_keys.keys() - own)

    @property
    def is_funded(self) -> bool:
        """Whether this server has a platform-funded key of any provider, however it does."""
        return bool(self._settings.platform_keys)

    def platform_states(self) -> list[PlatformKeyState]:
        """Whether the platform-funded key of each provider is there, and how it fails if it does."""
        return [self.platform_state(each.facts.name) for each in registry.live()]

    def resolve(self, slug: str, *, provider: str = DEFAULT) -> ResolvedKey:
        """The key for the next call; ``.secret.reveal()`` gives the text. Raises KeyLocked, KeyMissing."""
        return self._store.resolve(slug, provider=provider)

    def platform_state(self, provider: str = DEFAULT) -> PlatformKeyState:
        """Whether the platform-funded key is there, and how it fails if it does."""
        return self._store.platform_state(provider)

    def _allowed(self, slug: str, actor: Actor | None) -> Actor:
        who = actor or self._actor
        project = self._projects.get(slug, actor=who)
        with denials_logged(self._database, who, "set the key", slug):
            require(who, Action.SET_KEY, project.id)
        if self._settings.is_sample:
            raise SampleProject(slug)
        return who


def _failure(refused: KeyRejected) -> dict[str, object]:
    return {
        "failure": "rejected",
        "failure_status": refused.status,
        "failure_code": refused.code,
        "failure_message": refused.message,
        "failure_request_id": refused.request_id,
    }


def _may_work(state: KeyState) -> bool:
    """Whether the key in use is one that calls can be made with, as far as is known."""
    return state.version > 0 and state.status in {"working", "warning"} and state.obstacle is None


def _verdict(result: CheckResult) -> Verdict:
    """What to keep of an accepted key: who pays, if that is known, and the warning."""
    if result.status != "warning":
        return Verdict(workspace=result.workspace)
    return Verdict(result.code or "warning", result.message, result.obstacle, result.workspace)

"""The eight projects of the sample data, and what is the matter with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.pricing.amounts import NANO
from lib.providers import DEFAULT

UNPRICED_MODEL = "gpt-5.5-preview"
PLATFORM_LAST4 = "demo"


@dataclass(frozen=True)
class OwnKey:
    """A key that is none, and what became of it; times count back from now."""

    last4: str
    saved: Micros
    saved_by: str
    rejected: Micros | None = None
    """Since when the provider has refused it."""
    locked: Micros | None = None
    """Since when it does not open. It is sealed with a master key that nobody has."""
    out_of_money: tuple[Micros, Micros] | None = None
    """From when to when its account had no money left."""


@dataclass(frozen=True)
class Featured:
    """A run that is there whatever else happens: so long ago, and how it ends."""

    kind: str
    ago: Micros
    ending: str
    token_budget: int | None = None


@dataclass(frozen=True)
class Story:
    """One project. ``week_nano``: about what its last seven days come to, in nano-USD, without the rush."""

    name: str
    title: str
    plan: str
    week_nano: int
    runs: Mapping[str, float]
    """Runs of an ordinary working day, by kind."""
    models: Mapping[str, float]
    """Their shares."""
    key: OwnKey | None = None
    """An OpenAI key."""
    other_keys: Mapping[str, OwnKey] = field(default_factory=dict)
    """Keys of other providers, by provider: they work."""
    on_key_failure: str = "stop"
    age: Micros | None = None
    """How old it is; None for as old as the sample data goes back."""
    rush: Micros | None = None
    """When a rush began that has used up the 5-hour cap."""
    unpriced: Micros | None = None
    """Since when it has tried a model without a known price."""
    featured: tuple[Featured, ...] = ()
    near_cap: int | None = None
    """It has a 7-day cap of its own, of which so many percent are used."""

    def key_of(self, provider: str) -> OwnKey | None:
        """Return the project's own key of that provider, if it has one."""
        return self.key if provider == DEFAULT else self.other_keys.get(provider)


def provider_of(model: str) -> str:
    """The provider of one of the sample's models."""
    return {"claude": "anthropic", "gemini": "google"}.get(model.partition("-")[0], DEFAULT)


_LARGE = {
    "gpt-5.5": 0.26,
    "gpt-5": 0.2,
    "gpt-5-mini": 0.2,
    "o4-mini": 0.06,
    "text-embedding-3-small": 0.06,
    "claude-opus-5": 0.05,
    "claude-haiku-4-5": 0.07,
    "gemini-3.5-flash": 0.1,
}
_MIXED = {"gpt-5": 0.3, "gpt-5-mini": 0.4, "gpt-4.1-mini": 0.16, "gpt-5-nano": 0.08, "o4-mini": 0.06}

STORIES = (
    Story(
        "payments-core",
        "Payments core",
        "Team",
        45 * NANO,
        {"chat": 3, "pr_review": 4, "scan": 1.5, "scheduled": 1},
        _LARGE,
        rush=3 * HOUR + 50 * MINUTE,
        featured=(Featured("scan", 26 * HOUR, "failed"),),
    ),
    Story(
        "checkout-api",
        "Checkout API",
        "Team",
        14 * NANO,
        {"chat": 3, "pr_review": 3, "scan": 1.2, "scheduled": 1},
        _LARGE,
        near_cap=86,
        featured=(
            Featured("chat", 12 * MINUTE, "passed"),
            Featured("scan", 47 * MINUTE, "passed", token_budget=200_000),
        ),
    ),
    Story(
        "partner-webhooks",
        "Partner webhooks",
        "Starter",
        2 * NANO,
        {"chat": 1, "pr_review": 2, "scan": 0.6, "scheduled": 1},
        _MIXED,
        key=OwnKey("9f3d", 34 * DAY, "jonas@example.com", locked=21 * HOUR),
        featured=(Featured("pr_review", 3 * HOUR, "passed"),),
    ),
    Story(
        "identity-service",
        "Identity service",
        "Starter",
        6 * NANO,
        {"chat": 2, "pr_review": 2.5, "scan": 0.8, "scheduled": 1},
        _MIXED,
        featured=(
            Featured("scan", 21 * MINUTE, "failed"),
            Featured("scheduled", 9 * HOUR, "lost"),
        ),
    ),
    Story(
        "docs-portal",
        "Docs portal",
        "Starter",
        12 * NANO // 10,
        {"chat": 3, "pr_review": 2},
        _LARGE,
        age=6 * DAY,
    ),
    Story(
        "storefront-web",
        "Storefront web",
        "Team",
        40 * NANO,
        {"chat": 4, "pr_review": 5, "scan": 2, "scheduled": 2},
        _LARGE,
        key=OwnKey("7Qd2", 170 * DAY, "amara@example.com"),
        other_keys={"anthropic": OwnKey("k2Wm", 61 * DAY, "amara@example.com")},
        unpriced=9 * DAY,
        featured=(
            Featured("pr_review", 14 * MINUTE, "passed"),
            Featured("scan", 55 * MINUTE, "passed"),
        ),
    ),
    Story(
        "search-ranking",
        "Search ranking",
        "Team",
        8 * NANO,
        {"chat": 2, "pr_review": 3, "scan": 1.5, "scheduled": 1},
        _MIXED | {"gemini-3.5-flash-lite": 0.3},
        other_keys={"google": OwnKey("p8Ja", 12 * DAY, "lin@example.com")},
        key=OwnKey("x4Tz", 17 * DAY, "lin@example.com", out_of_money=(4 * DAY, 3 * DAY)),
        on_key_failure="platform",
        featured=(Featured("scan", 16 * MINUTE, "passed"),),
    ),
    Story(
        "mobile-bff",
        "Mobile backend for frontend",
        "Starter",
        3 * NANO,
        {"chat": 2, "pr_review": 3, "scan": 1, "scheduled": 1},
        _MIXED,
        key=OwnKey("b91c", 88 * DAY, "tomas@example.com", rejected=48 * HOUR),
        featured=(Featured("scan", 18 * MINUTE, "passed"),),
    ),
)

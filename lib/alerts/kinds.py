"""What alerts there are: the name of each kind, how urgent it is, and what it is called on the page."""

from __future__ import annotations

from dataclasses import dataclass

INFO, WARNING, CRITICAL = "info", "warning", "critical"
RANKS = {INFO: 0, WARNING: 1, CRITICAL: 2}


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert; its name is what webhooks get as ``type``."""

    name: str
    title: str
    severity: str
    of_platform: bool = False
    """It concerns the platform as a whole, and goes to administrators alone."""


CAP_THRESHOLD = AlertKind("cap.threshold", "Cap threshold crossed", WARNING)
CAP_REACHED = AlertKind("cap.reached", "Cap reached", CRITICAL)
CAP_FORECAST = AlertKind("cap.forecast", "Cap likely to be reached", WARNING)
KEY_FAILING = AlertKind("key.failing", "Key failing", CRITICAL)
KEY_RECOVERED = AlertKind("key.recovered", "Key working again", INFO)
KEY_LOCKED = AlertKind("key.locked", "Key locked", CRITICAL)
KEY_OLD = AlertKind("key.old", "Key not rotated", INFO)
KEY_UNUSED = AlertKind("key.unused", "Key unused", INFO)
CAPS_ASKED = AlertKind("caps.asked", "More room asked for", WARNING, of_platform=True)
CAPS_DECIDED = AlertKind("caps.decided", "Request for more room answered", WARNING)
RUN_STOPPED = AlertKind("run.budget_exceeded", "Run stopped by its token budget", INFO)
RUNS_WAITING = AlertKind("runs.waiting", "Runs waiting for room", WARNING)
UNPRICED = AlertKind("usage.unpriced", "Calls without a price", WARNING)
SPEND_JUMP = AlertKind("spend.jump", "Spend jump", WARNING)
CHANNEL_OFF = AlertKind("channel.off", "Channel switched off", WARNING)
PLATFORM_KEY_FAILING = AlertKind("platform.key_failing", "Platform key failing", CRITICAL, of_platform=True)
PLATFORM_KEY_RECOVERED = AlertKind(
    "platform.key_recovered", "Platform key working again", INFO, of_platform=True
)
TEST = AlertKind("test", "Test", CRITICAL)

KINDS = {
    kind.name: kind
    for kind in (
        CAP_THRESHOLD,
        CAP_REACHED,
        CAP_FORECAST,
        RUNS_WAITING,
        CAPS_ASKED,
        CAPS_DECIDED,
        KEY_FAILING,
        KEY_RECOVERED,
        KEY_LOCKED,
        KEY_OLD,
        KEY_UNUSED,
        RUN_STOPPED,
        UNPRICED,
        SPEND_JUMP,
        CHANNEL_OFF,
        PLATFORM_KEY_FAILING,
        PLATFORM_KEY_RECOVERED,
        TEST,
    )
}

_INFO_BELOW, _CRITICAL_FROM = 75, 95


def severity_of_threshold(percent: int) -> str:
    """How urgent it is that so many percent of a cap are used."""
    if percent < _INFO_BELOW:
        return INFO
    return CRITICAL if percent >= _CRITICAL_FROM else WARNING

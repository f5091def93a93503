"""What alerts there are: the name of each kind, how urgent it is, and what it is called on the page."""

from __future__ import annotations

from dataclasses import dataclass

INFO, WARNING, CRITICAL = "info", "warning", "critical"
RANKS = {INFO: 0, WARNING: 1, CRITICAL: 2}


@dataclass(frozen=True)
class Kind:
    """One kind of alert; its name is what webhooks get as ``type``."""

    name: str
    title: str
    severity: str
    of_platform: bool = False
    """It concerns the platform as a whole, and goes to administrators alone."""


CAP_THRESHOLD = Kind("cap.threshold", "Cap threshold crossed", WARNING)
CAP_REACHED = Kind("cap.reached", "Cap reached", CRITICAL)
CAP_FORECAST = Kind("cap.forecast", "Cap likely to be reached", WARNING)
KEY_FAILING = Kind("key.failing", "Key failing", CRITICAL)
KEY_RECOVERED = Kind("key.recovered", "Key working again", INFO)
KEY_LOCKED = Kind("key.locked", "Key locked", CRITICAL)
KEY_OLD = Kind("key.old", "Key not rotated", INFO)
KEY_UNUSED = Kind("key.unused", "Key unused", INFO)
CAPS_ASKED = Kind("caps.asked", "More room asked for", WARNING, of_platform=True)
CAPS_DECIDED = Kind("caps.decided", "Request for more room answered", WARNING)
RUN_STOPPED = Kind("run.budget_exceeded", "Run stopped by its token budget", INFO)
RUNS_WAITING = Kind("runs.waiting", "Runs waiting for room", WARNING)
UNPRICED = Kind("usage.unpriced", "Calls without a price", WARNING)
SPEND_JUMP = Kind("spend.jump", "Spend jump", WARNING)
CHANNEL_OFF = Kind("channel.off", "Channel switched off", WARNING)
PLATFORM_KEY_FAILING = Kind("platform.key_failing", "Platform key failing", CRITICAL, of_platform=True)
PLATFORM_KEY_RECOVERED = Kind("platform.key_recovered", "Platform key working again", INFO, of_platform=True)
TEST = Kind("test", "Test", CRITICAL)

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

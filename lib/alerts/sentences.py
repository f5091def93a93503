"""The sentences of alerts, one function a kind: the number, the reason, when room returns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from lib.alerts import kinds
from lib.caps.windows import TITLES
from lib.clock import DAY, HOUR, MINUTE, Micros, from_micros
from lib.pricing.amounts import usd

LOCAL_URL = "http://localhost:8501"
_CENT = 10_000_000
_WHY_KEY = {
    "rejected": "The provider rejects it.",
    "out_of_money": "Its account at the provider is out of money.",
}


@dataclass(frozen=True)
class Place:
    """Where the links lead, and whose time the sentences say."""

    url: str
    zone: ZoneInfo

    def link(self, page: str, project: str | None, **more: str) -> str:
        """The address of a page."""
        query = urlencode({**({"project": project} if project else {}), **more})
        return f"{self.url}/{page}{f'?{query}' if query else ''}"

    def time(self, moment: Micros) -> str:
        """A moment as people read it, with its zone."""
        at = from_micros(moment).astimezone(self.zone)
        return f"{at:%a} {at.day} {at:%b, %H:%M} {at:%Z}"


@dataclass(frozen=True)
class Said:
    """The words of one event, and the page that its link leads to."""

    title: str
    text: str
    facts: Sequence[tuple[str, str]] = ()
    page: str = ""
    page_title: str = "Open Qodex"
    more: Mapping[str, str] | None = None


def dollars(nano: int) -> str:
    """An amount as people read it."""
    return f"${usd(nano):,.2f}" if nano == 0 or abs(nano) >= _CENT else f"${usd(nano):.4f}"


def wait(micros: Micros) -> str:
    """How long until something, in words."""
    minutes = max(1, -(-micros // MINUTE))
    if minutes < HOUR // MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < DAY // HOUR:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _cap_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    reserved = data["reserved_nano"]
    free = max(0, data["cap_nano"] - data["used_nano"] - reserved)
    held = [("Reserved by running calls", dollars(reserved))] if reserved else []
    return [("Used", dollars(data["used_nano"])), *held, ("Room left", dollars(free))]


def _threshold(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    project, title = data["project"], TITLES[data["window"]]
    held = ", running calls included" if data["reserved_nano"] else ""
    room = ""
    if data["rolls_off_at"] is not None and data["rolls_off_nano"]:
        room = (
            f" The next {dollars(data['rolls_off_nano'])} leave the window in "
            f"{wait(data['rolls_off_at'] - now)} ({place.time(data['rolls_off_at'])})."
        )
    return Said(
        f"{project}: {data['percent']}% of the {title} cap is used",
        f"{project} has used {data['percent']}% of its {title} cap of {dollars(data['cap_nano'])}{held}; "
        f"it has just passed {data['threshold_percent']}%.{room}",
        _cap_facts(data),
        "plan",
        "Open Plan",
    )


def _reached(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    project, title, waiting = data["project"], TITLES[data["window"]], data["runs_waiting"]
    runs = {0: "No run waits.", 1: "1 run waits."}.get(waiting, f"{waiting} runs wait.")
    returns = data["returns_at"]
    room = (
        f"Room returns in {wait(returns - now)} ({place.time(returns)})."
        if returns > now
        else "Room is back."
    )
    return Said(
        f"{project}: the {title} cap is reached",
        f"{project} has no room in its {title} cap of {dollars(data['cap_nano'])}: something was refused for the "
        f"first time. {room} {runs} You can wait, add the project's own key, or ask for another plan.",
        _cap_facts(data),
        "plan",
        "Open Plan",
    )


def _cap_forecast(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    project, title = data["project"], TITLES[data["window"]]
    del now
    latest = place.time(data["latest"]) if data["latest"] is not None else "later than in 48 hours"
    return Said(
        f"{project}: the {title} cap will be reached at about {place.time(data['median'])}",
        f"If {project} goes on as before it reaches its {title} cap of {dollars(data['cap_nano'])} at about "
        f"{place.time(data['median'])} (between {place.time(data['earliest'])} and {latest}); within 5 hours with "
        f"a chance of {data['chance_percent']}%. Used so far: {data['percent']}%.",
        (),
        "plan",
        "Open Plan",
    )


def _runs_waiting(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    project, count = data["project"], data["runs"]
    runs = f"{count} runs wait" if count != 1 else "1 run waits"
    returns = data["returns_at"]
    room = (
        f"Room returns at {place.time(returns)}."
        if returns and returns > now
        else "There may be room by now."
    )
    return Said(
        f"{project}: {runs} for room in a cap",
        f"{runs} in {project}, the first of them since {place.time(data['since'])}. {room}",
        (),
        "run_logs",
        "Open Run logs",
        {"status": "waiting"},
    )


def _key_failing(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    code = f" ({data['code']})" if data.get("code") else ""
    return Said(
        f"{data['project']}: the key •••• {data['last4']} fails",
        f"A call with the key •••• {data['last4']} of {data['project']} has failed{code} after it had worked. "
        f"{_WHY_KEY.get(data['why'], '')} What runs do now is the project's choice on Integrations.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_recovered(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del now
    return Said(
        f"{data['project']}: the key •••• {data['last4']} works again",
        f"A call with the key •••• {data['last4']} of {data['project']} has succeeded. It had failed since "
        f"{place.time(data['since'])}.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_locked(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"{data['project']}: {'its key is' if data['last4'] else 'it is'} locked, and its calls stop",
        str(data["why"]),
        (),
        "integrations",
        "Open Integrations",
    )


def _key_old(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del now
    return Said(
        f"{data['project']}: the key •••• {data['last4']} is {data['days']} days old",
        f"The key •••• {data['last4']} of {data['project']} was saved on {place.time(data['since'])} by "
        f"{data['saved_by']}. Replace it as your rules for keys ask.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_unused(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del now
    return Said(
        f"{data['project']}: the key •••• {data['last4']} has not been used for {data['days']} days",
        f"No call of {data['project']} has used the key •••• {data['last4']} since {place.time(data['since'])}. "
        "Remove it here and at the provider if nobody needs it.",
        (),
        "integrations",
        "Open Integrations",
    )


def _run_stopped(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"{data['project']}: a run used up its token budget",
        f"Run {data['run_id']} of {data['project']} used {data['used']:,} of its own {data['budget']:,} tokens and "
        "stopped before the next call. Its work is kept; this is not a test failure.",
        (),
        "run_logs",
        "Open the run",
        {"run": data["run_id"]},
    )


def _unpriced(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"{data['project']}: calls of {data['model']} have no price",
        f"A call of {data['project']} to {data['model']} has been answered, and its cost is unknown: the price table "
        "does not know what it is billed. Its tokens are counted. An operator can add a price (QODEX_PRICES_FILE).",
        (),
        "usage",
        "Open Usage",
    )


def _jump(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"{data['project']}: {dollars(data['spent_nano'])} in an hour",
        f"{data['project']} spent {dollars(data['spent_nano'])} in the last full hour, {data['times']} times the "
        f"{dollars(data['usual_nano'])} of a usual busy hour.",
        (),
        "usage",
        "Open Usage",
    )


def _channel_off(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"A channel of {data.get('project') or 'the platform'} was switched off",
        f"Alerts no longer go to {data['channel']}: {data['why']} Switch it on again once it works.",
        (),
        "alerts",
        "Open Alerts",
    )


def _platform_failing(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"The platform key •••• {data['last4']} fails",
        f"A call with the platform-funded key •••• {data['last4']} has failed. {_WHY_KEY.get(data['why'], '')} "
        "The calls of all projects without a key of their own stop until an operator mends it.",
        (),
        "",
        "Open Overview",
    )


def _platform_recovered(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    del place, now
    return Said(
        f"The platform key •••• {data['last4']} works again",
        f"A call with the platform-funded key •••• {data['last4']} has succeeded.",
        (),
        "",
        "Open Overview",
    )


def _test(data: Mapping[str, Any], place: Place, now: Micros) -> Said:
    whose = f"Alerts of {data['project']}" if data.get("project") else "Alerts of the platform"
    return Said(
        "A test from Qodex: it arrives",
        f"{whose} reach you here. {data['who']} sent this at {place.time(now)}; nothing has happened.",
        (),
        "alerts",
        "Open Alerts",
    )


WORDS: Mapping[str, Callable[[Mapping[str, Any], Place, Micros], Said]] = {
    kinds.CAP_THRESHOLD.name: _threshold,
    kinds.CAP_REACHED.name: _reached,
    kinds.CAP_FORECAST.name: _cap_forecast,
    kinds.RUNS_WAITING.name: _runs_waiting,
    kinds.KEY_FAILING.name: _key_failing,
    kinds.KEY_RECOVERED.name: _key_recovered,
    kinds.KEY_LOCKED.name: _key_locked,
    kinds.KEY_OLD.name: _key_old,
    kinds.KEY_UNUSED.name: _key_unused,
    kinds.RUN_STOPPED.name: _run_stopped,
    kinds.UNPRICED.name: _unpriced,
    kinds.SPEND_JUMP.name: _jump,
    kinds.CHANNEL_OFF.name: _channel_off,
    kinds.PLATFORM_KEY_FAILING.name: _platform_failing,
    kinds.PLATFORM_KEY_RECOVERED.name: _platform_recovered,
    kinds.TEST.name: _test,
}

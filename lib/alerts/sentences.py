"""The sentences of alerts, one function a kind: the number, the reason, when room returns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from lib import providers
from lib.alerts import kinds
from lib.caps.windows import TITLES
from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.formatting import money, weekday_time

LOCAL_URL = "http://localhost:8501"
_IN_WORDS = {"5h": "5 hours", "7d": "7 days"}
_WHY_KEY = {
    "rejected": "The provider rejects it.",
    "out_of_money": "Its account at the provider is out of money.",
}


@dataclass(frozen=True)
class Site:
    """Where the links lead, and whose time the sentences say."""

    url: str
    zone: ZoneInfo

    def link(self, page: str, project: str | None, **more: str) -> str:
        """The address of a page."""
        query = urlencode({**({"project": project} if project else {}), **more})
        return f"{self.url}/{page}{f'?{query}' if query else ''}"

    def time(self, moment: Micros) -> str:
        """A moment as people read it, with its zone."""
        return weekday_time(moment, self.zone)


@dataclass(frozen=True)
class Event:
    """What happened, and when and for where it is put into words.

    Args:
        data: what the event holds, by name.
        site: where links lead, and whose time it is.
        now: when it is sent; what is to come is said from there.
    """

    data: Mapping[str, Any]
    site: Site
    now: Micros

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def get(self, name: str) -> Any:
        """What it holds under that name, None where it holds none."""
        return self.data.get(name)

    def time(self, name: str) -> str:
        """The moment under that name, as people read it."""
        return self.site.time(self.data[name])

    @property
    def key(self) -> str:
        """The key that it is about: of which provider, where that is known, and its last four."""
        return f"{self.whose}key •••• {self['last4']}"

    @property
    def whose(self) -> str:
        """The provider's title and a blank, or nothing."""
        return f"{providers.title(self['provider'])} " if self.get("provider") else ""


@dataclass(frozen=True)
class AlertText:
    """The words of one event, and the page that its link leads to."""

    title: str
    text: str
    facts: Sequence[tuple[str, str]] = ()
    page: str = ""
    page_title: str = "Open Qodex"
    more: Mapping[str, str] | None = None


def wait(micros: Micros) -> str:
    """How long until something, in whole minutes, rounded up: a message is not read in the second it was made."""
    minutes = max(1, -(-micros // MINUTE))
    if minutes < HOUR // MINUTE:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < DAY // HOUR:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _cap_facts(event: Event) -> list[tuple[str, str]]:
    reserved = event["reserved_nano"]
    free = max(0, event["cap_nano"] - event["used_nano"] - reserved)
    held = [("Reserved by running calls", money(reserved))] if reserved else []
    return [("Used", money(event["used_nano"])), *held, ("Room left", money(free))]


def _threshold(event: Event) -> AlertText:
    project, title = event["project"], TITLES[event["window"]]
    held = ", running calls included" if event["reserved_nano"] else ""
    room = ""
    if event["rolls_off_at"] is not None and event["rolls_off_nano"]:
        room = (
            f" The next {money(event['rolls_off_nano'])} leave the window in "
            f"{wait(event['rolls_off_at'] - event.now)} ({event.time('rolls_off_at')})."
        )
    return AlertText(
        f"{project}: {event['percent']}% of the {title} cap is used",
        f"{project} has used {event['percent']}% of its {title} cap of {money(event['cap_nano'])}{held}; "
        f"it has just passed {event['threshold_percent']}%.{room}",
        _cap_facts(event),
        "plan",
        "Open Plan",
    )


def _reached(event: Event) -> AlertText:
    project, title, waiting = event["project"], TITLES[event["window"]], event["runs_waiting"]
    runs = {0: "No run waits.", 1: "1 run waits."}.get(waiting, f"{waiting} runs wait.")
    returns = event["returns_at"]
    room = (
        f"Room returns in {wait(returns - event.now)} ({event.site.time(returns)})."
        if returns > event.now
        else "Room is back."
    )
    return AlertText(
        f"{project}: the {title} cap is reached",
        f"{project} has no room in its {title} cap of {money(event['cap_nano'])}: something was refused for the "
        f"first time. {room} {runs} You can wait, add the project's own key, or ask for another plan.",
        _cap_facts(event),
        "plan",
        "Open Plan",
    )


def _cap_forecast(event: Event) -> AlertText:
    project, title = event["project"], TITLES[event["window"]]
    latest = event.time("latest") if event["latest"] is not None else "later than in 48 hours"
    return AlertText(
        f"{project}: the {title} cap will be reached at about {event.time('median')}",
        f"If {project} goes on as before it reaches its {title} cap of {money(event['cap_nano'])} at about "
        f"{event.time('median')} (between {event.time('earliest')} and {latest}); within 5 hours with "
        f"a chance of {event['chance_percent']}%. Used so far: {event['percent']}%.",
        (),
        "plan",
        "Open Plan",
    )


def _runs_waiting(event: Event) -> AlertText:
    project, count = event["project"], event["runs"]
    runs = f"{count} runs wait" if count != 1 else "1 run waits"
    returns = event["returns_at"]
    room = (
        f"Room returns at {event.site.time(returns)}."
        if returns and returns > event.now
        else "There may be room by now."
    )
    return AlertText(
        f"{project}: {runs} for room in a cap",
        f"{runs} in {project}, the first of them since {event.time('since')}. {room}",
        (),
        "run_logs",
        "Open Run logs",
        {"status": "waiting"},
    )


def _caps_asked(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']} asks for more room",
        f"{event['asked_by']} asks for {_both_caps(event)} for {event['project']}, until {event.time('ends_at')}: "
        f"“{event['reason']}”. An administrator who is somebody else decides.",
        (),
        "plan",
        "Open Plan",
    )


def _caps_decided(event: Event) -> AlertText:
    asked = f"{event['asked_by']} had asked: “{event['reason']}”."
    if event["status"] == "approved":
        said = f"has given {event['project']} {_both_caps(event)}, until {event.time('ends_at')}."
        title = f"{event['project']} gets the room that was asked for"
    else:
        said = f"has declined what was asked for {event['project']}: “{event['answer']}”."
        title = f"{event['project']}: the request for more room was declined"
    return AlertText(title, f"{event['decided_by']} {said} {asked}", (), "plan", "Open Plan")


def _both_caps(event: Event) -> str:
    return " and ".join(
        f"{money(event[f'cap_{window}_nano'])} in {title}" for window, title in _IN_WORDS.items()
    )


def _key_failing(event: Event) -> AlertText:
    code = f" ({event['code']})" if event.get("code") else ""
    return AlertText(
        f"{event['project']}: the {event.key} fails",
        f"A call with the {event.key} of {event['project']} has failed{code} after it had worked. "
        f"{_WHY_KEY.get(event['why'], '')} What runs do now is the project's choice on Integrations.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_recovered(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: the {event.key} works again",
        f"A call with the {event.key} of {event['project']} has succeeded. It had failed since "
        f"{event.time('since')}.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_locked(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: {f'its {event.whose}key is' if event['last4'] else 'it is'} locked, and its calls stop",
        str(event["why"]),
        (),
        "integrations",
        "Open Integrations",
    )


def _key_old(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: the {event.key} is {event['days']} days old",
        f"The {event.key} of {event['project']} was saved on {event.time('since')} by "
        f"{event['saved_by']}. Replace it as your rules for keys ask.",
        (),
        "integrations",
        "Open Integrations",
    )


def _key_unused(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: the {event.key} has not been used for {event['days']} days",
        f"No call of {event['project']} has used the {event.key} since {event.time('since')}. "
        "Remove it here and at the provider if nobody needs it.",
        (),
        "integrations",
        "Open Integrations",
    )


def _run_stopped(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: a run used up its token budget",
        f"Run {event['run_id']} of {event['project']} used {event['used']:,} of its own {event['budget']:,} tokens and "
        "stopped before the next call. Its work is kept; this is not a test failure.",
        (),
        "run_logs",
        "Open the run",
        {"run": event["run_id"]},
    )


def _unpriced(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: calls of {event['model']} have no price",
        f"A call of {event['project']} to {event['model']} has been answered, and its cost is unknown: the price table "
        "does not know what it is billed. Its tokens are counted. An operator can add a price (QODEX_PRICES_FILE).",
        (),
        "usage",
        "Open Usage",
    )


def _jump(event: Event) -> AlertText:
    return AlertText(
        f"{event['project']}: {money(event['spent_nano'])} in an hour",
        f"{event['project']} spent {money(event['spent_nano'])} in the last full hour, {event['times']} times the "
        f"{money(event['usual_nano'])} of a usual busy hour.",
        (),
        "usage",
        "Open Usage",
    )


def _channel_off(event: Event) -> AlertText:
    return AlertText(
        f"A channel of {event.get('project') or 'the platform'} was switched off",
        f"Alerts no longer go to {event['channel']}: {event['why']} Switch it on again once it works.",
        (),
        "alerts",
        "Open Alerts",
    )


def _platform_failing(event: Event) -> AlertText:
    return AlertText(
        f"The platform {event.key} fails",
        f"A call with the platform-funded {event.key} has failed. {_WHY_KEY.get(event['why'], '')} "
        "The calls of all projects without a key of their own stop until an operator mends it.",
        (),
        "",
        "Open Overview",
    )


def _platform_recovered(event: Event) -> AlertText:
    return AlertText(
        f"The platform {event.key} works again",
        f"A call with the platform-funded {event.key} has succeeded.",
        (),
        "",
        "Open Overview",
    )


def _test(event: Event) -> AlertText:
    whose = f"Alerts of {event['project']}" if event.get("project") else "Alerts of the platform"
    return AlertText(
        "A test from Qodex: it arrives",
        f"{whose} reach you here. {event['who']} sent this at {event.site.time(event.now)}; nothing has happened.",
        (),
        "alerts",
        "Open Alerts",
    )


WORDS: Mapping[str, Callable[[Event], AlertText]] = {
    kinds.CAP_THRESHOLD.name: _threshold,
    kinds.CAP_REACHED.name: _reached,
    kinds.CAP_FORECAST.name: _cap_forecast,
    kinds.RUNS_WAITING.name: _runs_waiting,
    kinds.CAPS_ASKED.name: _caps_asked,
    kinds.CAPS_DECIDED.name: _caps_decided,
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

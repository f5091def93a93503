"""A dashboard in use, for pictures: eight projects, ninety days of calls, and every state a project can be in."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lib.clock import DAY, HOUR, SECOND, from_micros, iso
from tests.upstream import ScriptedUpstream, Usage

if TYPE_CHECKING:
    from lib.platform import Platform

PROJECTS = {
    "payments-core": None,
    "checkout-api": None,
    "partner-webhooks": None,
    "identity-service": None,
    "docs-portal": None,
    "storefront-web": "sk-test-storefront-key-7Qd2",
    "search-ranking": "sk-test-search-ranking-key-x4Tz",
    "mobile-bff": "sk-test-mobile-bff-key-b91c",
}
_SIZE = {"payments-core": 9.0, "checkout-api": 5.0, "storefront-web": 11.0, "docs-portal": 0.2}
_MODELS = {"gpt-5": 9, "gpt-5-mini": 7, "o4-mini": 3, "gpt-4.1-mini": 2, "gpt-5-nano": 2}
_PRICES = {
    "gpt-5": (1.25, 0.125),
    "gpt-5-mini": (0.25, 0.025),
    "o4-mini": (1.1, 0.275),
    "gpt-4.1-mini": (0.4, 0.1),
}  # of plain and cached input, where they are known
_HEADER = "occurred_at,project,source,model,status,input_tokens,cached_input_tokens,output_tokens,reasoning_tokens,cost_usd,price_input,price_cached_input"
_DAYS = 90
_PROMPT = "Write a test. " * 700  # as long as the tokens that the answers report


@contextmanager
def sample_of(platform: Platform) -> Iterator[Platform]:
    """The sample deployment beside a real one."""
    from lib.platform import Platform
    from lib.sample import deployment

    sample = Platform(deployment.sample_settings(platform.settings), actor=platform.actor)
    yield sample
    sample.close()


def fill(platform: Platform, upstream: ScriptedUpstream) -> None:
    """Make it all. The same every time but for the date."""
    for slug, key in PROJECTS.items():
        platform.projects.add(slug, actor=platform.actor, plan="Team")
        if key:
            upstream.keys[key] = "good"
            platform.keys.save(slug, key)
    _import_history(platform)
    _make_runs(platform, upstream)
    _set_caps(platform)


def _import_history(platform: Platform) -> None:
    from lib.exchange.imports.import_usage import import_usage

    with platform.database.read() as connection:
        now = platform.database.now(connection)
    chance = random.Random(7)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_HEADER.split(","))
    for slug, key in PROJECTS.items():
        for day in range(_DAYS):
            at = now - day * DAY
            busy = 1.0 if from_micros(at).weekday() < 5 else 0.3
            for _ in range(int(_SIZE.get(slug, 3.0) * busy * chance.uniform(0.4, 2.2))):
                rows.writerow(
                    _call(chance, slug, "byok" if key else "platform", at - chance.randrange(HOUR, 6 * HOUR))
                )
    for hours in range(14):
        rows.writerow(
            [
                iso(now - hours * HOUR),
                "storefront-web",
                "byok",
                "gpt-5.5-preview",
                "ok",
                900,
                0,
                80,
                0,
                "",
                "",
                "",
            ]
        )
    file = io.BytesIO(text.getvalue().encode())
    import_usage(platform.database, platform.prices, file, name="sample.csv", actor=platform.actor)


def _call(chance: random.Random, slug: str, source: str, at: int) -> list[object]:
    model = chance.choices(list(_MODELS), list(_MODELS.values()))[0]
    asked, answered = chance.randrange(20_000, 900_000), chance.randrange(2_000, 60_000)
    failed = chance.random() < 0.012
    cost = 0 if failed else round(chance.uniform(0.3, 4) * {"gpt-5": 1.4}.get(model, 0.7), 6)
    status = "error" if failed else "ok"
    return [
        iso(at - at % SECOND),
        slug,
        source,
        model,
        status,
        asked,
        asked * 56 // 100,
        answered,
        answered // 3,
        cost,
        *_PRICES.get(model, ("", "")),
    ]


def _make_runs(platform: Platform, upstream: ScriptedUpstream) -> None:
    """Real runs through the client: passed, failed, at the end of their budget, and with a revoked key."""
    upstream.usage["gpt-5"] = Usage(input=9_000, cached=5_400, output=90_000, reasoning=30_000)
    upstream.usage["gpt-5-mini"] = Usage(input=8_240, cached=4_944, output=640)
    for number in range(12):
        slug = list(PROJECTS)[number % 7]
        with platform.run(slug, kind=("scan", "pr_review", "chat", "scheduled")[number % 4]) as run:
            for _ in range(1 + number % 3):
                run.openai.responses.create(model="gpt-5-mini", input=_PROMPT, max_output_tokens=700)
            run.finish("failed" if number == 3 else "passed")
    with platform.run("payments-core", kind="scan") as run:
        for _ in range(4):
            run.openai.responses.create(model="gpt-5", input=_PROMPT, max_output_tokens=90_000)
    with suppress(Exception), platform.run("checkout-api", token_budget=20_000) as run:
        for _ in range(5):
            run.openai.responses.create(model="gpt-5-mini", input=_PROMPT, max_output_tokens=700)
    upstream.keys[str(PROJECTS["mobile-bff"])] = "revoked"
    for _ in range(3):
        with suppress(Exception), platform.run("mobile-bff") as run:
            run.openai.responses.create(model="gpt-5-mini", input=_PROMPT)


def _set_caps(platform: Platform) -> None:
    from lib.caps.plans import Plans

    plans = Plans(platform.database)
    for slug, part in {"payments-core": 1.0, "checkout-api": 0.86}.items():
        headroom = platform.caps.headroom(slug)
        used = max(window.used_nano for window in headroom.windows.values())
        cap = max(1, int(used / part))
        plans.set_caps(slug, cap_5h_nano=cap, cap_7d_nano=4 * cap, reason="sample", actor=platform.actor)


def main() -> None:
    """Serve it until Enter is pressed: ``python -m tests.browser.sample``."""
    import tempfile
    from pathlib import Path

    from tests.browser.visit import served

    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as dashboard:
        fill(dashboard.platform, dashboard.upstream)
        input(f"{dashboard.address} — press Enter to stop. ")


if __name__ == "__main__":
    main()

"""Time that our client adds to a call: key resolved, call recorded durably, against the bare SDK."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import anthropic
import openai
from google import genai
from google.genai.types import HttpOptions
from sqlalchemy import text

from bench.measure import interleaved, median, table, verdict
from bench.workplace import CLAUDE_KEY, GEMINI_KEY, KEY, database_urls, platform, upstream
from lib.platform import Run

SAY = "Say hello in five words."
ASK = {"model": "gpt-5-mini", "input": SAY}
ASKED: dict[str, Callable[[Any], object]] = {
    "openai": lambda client: client.responses.create(**ASK),
    "anthropic": lambda client: client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": SAY}]
    ),
    "google": lambda client: client.models.generate_content(model="gemini-3.5-flash-lite", contents=SAY),
}


def main() -> None:
    """Print the tables."""
    rows, streams, companies = [], [], []
    with database_urls() as urls, upstream() as base_url:
        bare = openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0)
        for engine, url in urls.items():
            with platform(url, base_url) as opened, opened.run("bench") as run:
                rows += _calls(engine, bare, run.openai, _floor(opened.database))
                streams.append(_first_bytes(engine, bare, run.openai))
                companies += _providers(engine, base_url, run)
    table(
        "Time added to a call, µs (floor: one SELECT and one durable INSERT)",
        ("engine", "at once", "bare SDK", "ours", "added", "floor", "added / floor"),
        rows,
    )
    table("First byte of a stream, ms", ("engine", "bare SDK", "ours"), streams)
    header = ("engine", "provider", "bare SDK", "ours", "added", "added / OpenAI's")
    table("Time added to a call by provider, µs", header, companies)


def _floor(database) -> Callable[[], object]:
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE floor (id INTEGER, filler TEXT)"))

    def floor() -> None:
        with database.write() as connection:
            connection.execute(text("SELECT slug FROM projects")).first()
            connection.execute(text("INSERT INTO floor VALUES (1, :filler)"), {"filler": "x" * 300})

    return floor


def _calls(
    engine: str, bare: openai.OpenAI, ours: openai.OpenAI, floor: Callable[[], object]
) -> list[tuple[str, ...]]:
    rows = []
    for at_once in (1, 32):
        # The floor comes after a bare call each time: on a processor whose caches the SDK has just used.
        works = {
            "bare": _many(lambda: bare.responses.create(**ASK), at_once),
            "bare and floor": _many(lambda: (bare.responses.create(**ASK), floor()), at_once),
            "ours": _many(lambda: ours.responses.create(**ASK), at_once),
        }
        times = interleaved(works, 20, 20 if at_once == 1 else 2)
        each = {name: [value / at_once for value in values] for name, values in times.items()}
        added = [a - b for a, b in zip(each["ours"], each["bare"], strict=True)]
        floors = [a - b for a, b in zip(each["bare and floor"], each["bare"], strict=True)]
        share = median(added) / median(floors)
        found = [median(each["bare"]), median(each["ours"]), median(added), median(floors)]
        rows.append((engine, str(at_once), *(f"{value:.0f}" for value in found), verdict(share, 4)))
    return rows


def _providers(engine: str, base_url: str, run: Run) -> list[tuple[str, ...]]:
    """What is added is ours, and the same whoever is asked."""
    root = base_url.removesuffix("/v1")
    bare = {
        "openai": openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0),
        "anthropic": anthropic.Anthropic(api_key=CLAUDE_KEY, base_url=root, max_retries=0),
        "google": genai.Client(
            api_key=GEMINI_KEY, vertexai=False, http_options=HttpOptions(base_url=root, api_version="v1beta")
        ),
    }
    works = {
        (name, whose): (lambda ask=ask, client=client: ask(client))
        for name, ask in ASKED.items()
        for whose, client in {"bare": bare[name], "ours": run.client(name)}.items()
    }
    times = interleaved(works, 20, 20)
    added = {
        name: median([a - b for a, b in zip(times[name, "ours"], times[name, "bare"], strict=True)])
        for name in ASKED
    }
    return [
        (
            engine,
            name,
            *(f"{median(times[name, whose]):.0f}" for whose in ("bare", "ours")),
            f"{added[name]:.0f}",
            verdict(added[name] / added["openai"], 1.1),
        )
        for name in ASKED
    ]


def _many(work: Callable[[], object], at_once: int) -> Callable[[], None]:
    if at_once == 1:
        return lambda: (work(), None)[1]

    def together() -> None:
        threads = [threading.Thread(target=work) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return together


def _first_bytes(engine: str, bare: openai.OpenAI, ours: openai.OpenAI) -> tuple[str, ...]:
    works = {
        name: lambda client=client: _first(client) for name, client in {"bare": bare, "ours": ours}.items()
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(30):
        for name, work in works.items():
            found[name].append(work())
    return engine, *(f"{median(found[name]) * 1e3:.2f}" for name in ("bare", "ours"))


def _first(client: openai.OpenAI) -> float:
    start = time.perf_counter()
    with client.responses.create(**ASK, stream=True) as stream:
        next(iter(stream))
        took = time.perf_counter() - start
        for _ in stream:
            pass
    return took

"""Every method that the providers' SDKs offer: on the platform's key refused, metered or free; on a project's own key one
row for each request. A method that a newer SDK adds, and that is none of these, fails here until somebody has looked at it.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from google.genai import types

from lib.errors import QodexError
from lib.platform import Platform
from tests.calls import SAY, on_sqlite, rows
from tests.conftest import NetworkBlocked
from tests.providers import ProviderCase, of_each_provider
from tests.upstream import Behaviour, ScriptedUpstream

pytestmark = [
    on_sqlite,
    of_each_provider,
    pytest.mark.filterwarnings("ignore:.*(experimental|deprecated|should be used|shut down)"),
    pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning"),
]

PACKAGES = {
    "openai": ("openai.resources", "lib.llm.openai"),
    "anthropic": ("anthropic.resources", "lib.llm.anthropic"),
    "google": ("google.genai", "lib.llm.google"),
}
OF_THE_CLIENT = re.compile(
    r"close|aclose|copy|is_closed|platform_headers|get_api_list|request|get|post|put|patch|delete|[a-z_.]*do_request(_async)?"
)
"""What sends what the caller names, or nothing: other tests have it."""

SENT = {
    "openai": {"models.list", "models.retrieve", "moderations.create"},
    "anthropic": {
        *("models.list", "models.retrieve", "messages.count_tokens"),
        *("beta.models.list", "beta.models.retrieve", "beta.messages.count_tokens"),
    },
    "google": {"models.list", "models.get", "models.count_tokens"},
}
"""What runs on the platform's key besides calls that generate and embed: it is free."""

LOCAL = {
    "openai": re.compile(
        r"admin\..*"  # wants a key of another kind, and there is none
        r"|webhooks\.(unwrap|verify_signature)|beta\.agents\.environments\.files\.prepare(_directory)?"
        r"|(beta\.threads|beta\.chat|chat|responses)\..*stream"  # begins when it is entered; create is what it sends
        r"|beta\.agents\.sessions\.(stream|artifacts\.for_result)"
    ),
    "anthropic": re.compile(r"beta\.webhooks\.(unwrap|parse_unverified)|(beta\.)?messages\.(stream|thread)"),
    "google": re.compile(
        r"chats\.create|models\.generate_content_stream"  # begins with its first message
        # only for Vertex AI, which the SDK says itself
        r"|models\.(compute_tokens|edit_image|generate_images|generate_videos|recontext_image|segment_image|upscale_image)"
        r"|tunings\.(list|validate_reward)"
        r"|files\.register_files"  # wants Google's own credentials
    ),
}
"""Methods that send nothing by themselves."""

_OPENAI_STORES = """
    assistants assistants/* batches/*/cancel chat/completions/* conversations conversations/* conversations/*/items files
    fine_tuning/jobs/*/cancel fine_tuning/jobs/*/pause moderations responses/*/cancel threads threads/*
    threads/*/messages threads/*/messages/* threads/*/runs/*/cancel uploads uploads/*/cancel uploads/*/complete
    uploads/*/parts vector_stores vector_stores/* vector_stores/*/file_batches vector_stores/*/file_batches/*/cancel
    vector_stores/*/files vector_stores/*/files/*
"""
FREE_CHANGES = {
    "openai": set(_OPENAI_STORES.split()),
    "anthropic": {"files", "messages/batches/*/cancel", "messages/count_tokens"},
    "google": {"batches/*:cancel", "countTokens", "files", "interactions/*/cancel"},
}
"""Endpoints that cost nothing though they change something, on a project's own key."""

_FILE = ("a.txt", b"words", "text/plain")
_UPLOAD = {"file": io.BytesIO(b"words"), "config": {"mime_type": "text/plain"}}
_MESSAGE = {"model": "claude-unheard-of", "max_tokens": 9, "messages": SAY, "tools": []}
_SAMPLE = {"audio_sample": _FILE, "consent": "x", "name": "x"}
GIVEN: dict[str, dict[str, dict[str, Any]]] = {
    "openai": {
        "uploads.upload_file_chunked": {
            "file": b"words",
            "filename": "a",
            "bytes": 5,
            "mime_type": "a/b",
            "purpose": "batch",
        },
        "audio.voices.create": _SAMPLE,
        "beta.agents.automations.create": {
            "expression": "x",
            "name": "x",
            "target": {},
            "timezone": "UTC",
            "type": "cron",
        },
        "beta.agents.environments.files.create": {
            "file_id": "x",
            "path": "/workspace/a",
            "type": "file_reference",
        },
        "beta.agents.environments.files.upload": {
            "environment_id": "x",
            "path": "/workspace/a",
            "file": _FILE,
        },
    },
    "anthropic": {
        f"{path}messages.{name}": _MESSAGE
        for path in ("", "beta.")
        for name in ("create", "parse", "tool_runner")
    },
    "google": {
        "files.download": {"file": "files/1"},
        "batches.cancel": {"name": "batches/1"},
        "batches.delete": {"name": "batches/1"},
        "batches.get": {"name": "batches/1"},
        "batches.create_embeddings": {"model": "gemini-embedding-001", "src": {"file_name": "files/1"}},
        "file_search_stores.download_media": {"media_id": "fileSearchStores/1/media/1"},
        "file_search_stores.upload_to_file_search_store": {"file_search_store_name": "fileSearchStores/1"}
        | _UPLOAD,
        "files.upload": _UPLOAD,
        "interactions.create": {"model": "gemini-3.5-flash", "input": "Hi"},
        "models.count_tokens": {"model": "gemini-3.5-flash", "contents": "Hi"},
        "models.generate_content": {"model": "unheard-of", "contents": "Hi"},
        "operations.get": {"operation": types.GenerateVideosOperation(name="operations/1")},
        "tunings.tune": {"base_model": "x", "training_dataset": {"examples": []}},
    },
}
"""Arguments of methods that look at theirs before they send."""

BY_PATH = {
    "credentials.create": ("post", "credentials"),
    "credentials.update": ("patch", "credentials/1"),
    "decisions.create": ("post", "decisions"),
    "triggers.create": ("post", "triggers"),
    "voices.create": ("post", "voices"),
    "webhooks.create": ("post", "webhooks"),
}
"""Google's methods that want more than is told here: what they send, sent by the client itself."""

WAITS = re.compile(r".*(poll|wait|stream|runner|work\.|validate_archive|_chunked).*")
"""Methods that ask again and again until an answer pleases them, or read on until one ends."""


def methods(provider: ProviderCase, client: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public method of a client and of its resources, at any depth, with its path."""
    waiting, seen = [("", client)], {type(client)}
    while waiting:
        path, owner = waiting.pop()
        kind = type(owner)
        for name in sorted(dir(kind)):
            if name.startswith(("_", "with_")):
                continue
            found = inspect.getattr_static(kind, name)
            if isinstance(found, property) or "cached_property" in type(found).__name__:
                part = getattr(owner, name)
                if type(part).__module__.startswith(PACKAGES[provider.name]) and type(part) not in seen:
                    seen.add(type(part))
                    waiting.append((f"{path}{name}.", part))
            elif provider.name == "google" and f"{path}{name}".removeprefix("aio.") in BY_PATH:
                how, where = BY_PATH[f"{path}{name}".removeprefix("aio.")]
                yield (
                    f"{path}{name}".removeprefix("aio."),
                    partial(client._api_client.request, how, where, {}),
                )
            elif callable(found) and not OF_THE_CLIENT.fullmatch(name):
                yield f"{path}{name}".removeprefix("aio."), getattr(owner, name)


def call(provider: ProviderCase, client: Any, path: str, method: Callable[..., Any]) -> Any:
    """Call a method with what it wants, or with anything of the kind; a stream is read."""
    given = GIVEN[provider.name].get(path) or _anything(method)
    for _ in range(3):
        try:
            answer = method(**given)
            if inspect.isawaitable(answer):
                return asyncio.run(_awaited(client, answer))
            return list(answer) if isinstance(answer, Iterator) else answer
        except TypeError as problem:
            # A method that hands its arguments on says only now what it wants.
            names = re.findall(r"'(\w+)'", str(problem)) if "missing" in str(problem) else []
            if not names:
                raise
            given |= dict.fromkeys(names, "x")
    return None


async def _awaited(client: Any, answer: Any) -> Any:
    try:
        return await answer
    finally:
        await client.aclose()


def _anything(method: Callable[..., Any]) -> dict[str, Any]:
    wanted = inspect.signature(method).parameters.values()
    return {
        each.name: _value(each)
        for each in wanted
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    }


def _value(wanted: inspect.Parameter) -> Any:
    kind = str(wanted.annotation)
    if wanted.name in {"file", "image", "video", "data", "recording", "archive"} and (
        "File" in kind or "Video" in kind
    ):
        return _FILE
    if any(word in kind for word in ("Iterable", "List", "list[", "Sequence")):
        return []
    return {} if wanted.name in {"body", "config"} else "x"


def test_on_the_platforms_key_every_method_is_refused_unless_it_is_known_to_be_free(
    funded: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    unclassified, count = {}, 0
    with funded.run("shop") as run:
        client = run.client(provider.name)
        for path, method in methods(provider, client):
            upstream.requests.clear()
            count += 1
            try:
                outcome: object = call(provider, client, path, method)
            except QodexError:
                assert upstream.requests == [], path
                continue
            except NetworkBlocked:
                raise
            except Exception as problem:  # noqa: BLE001 - of the SDK's own, or the scripted upstream's
                outcome = problem
            known = path in SENT[provider.name] if upstream.requests else LOCAL[provider.name].fullmatch(path)
            if not known:
                unclassified[path] = (outcome, [(seen.method, seen.path) for seen in upstream.requests])
    assert not unclassified, "\n".join(f"{path}: {told}" for path, told in unclassified.items())
    assert count > 100, "This SDK has more methods than were found."
    assert set(rows(funded, "cost_nano")) == {0}


def test_on_a_projects_own_key_every_request_of_every_method_has_a_row(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    """What it costs is known where it is free, and unknown else: nothing of it is priced like a call."""
    upstream.keys[provider.key] = Behaviour(status=200, json={})
    with on_own_key.run("shop") as run:
        client = run.client(provider.name)
        for path, method in methods(provider, client):
            if "organization" in path or WAITS.fullmatch(path):
                continue
            try:
                call(provider, client, path, method)
            except NetworkBlocked:
                raise
            except Exception:  # noqa: BLE001 - an empty answer pleases few of them
                continue
    found = rows(on_own_key, "endpoint", "cost_nano")
    assert len(found) == len(upstream.requests) > 50
    assert {seen.key for seen in upstream.requests} == {provider.key}
    assert {cost for _, cost in found} == {None, 0}
    looked = {"GET", "HEAD", "DELETE"}
    changed = [row for row, seen in zip(found, upstream.requests, strict=True) if seen.method not in looked]
    free = {endpoint for endpoint, cost in changed if cost == 0}
    assert {re.sub(r"(?<=/)(x|1)\b", "*", endpoint) for endpoint in free} == FREE_CHANGES[provider.name]

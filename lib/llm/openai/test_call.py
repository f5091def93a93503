"""One short prompt, to see a key at work."""

from __future__ import annotations

import json
from typing import Any

import openai

_OUTPUT_LIMIT = 1_000  # tokens; enough for a sentence after some reasoning
_TIMEOUT = 60.0  # seconds; somebody is watching


def send_test_prompt(client: openai.OpenAI, model: str, prompt: str) -> str | None:
    """Return the answer's text; None where the provider answered with an error, with something odd, or not at all.

    The client has metered the attempt; the run log holds the provider's words. The body is read here, because
    the SDK's own models raise errors of every kind for answers in a shape that they do not expect.
    """
    try:
        answer = client.with_options(max_retries=0, timeout=_TIMEOUT).responses.with_raw_response.create(
            model=model, input=prompt, max_output_tokens=_OUTPUT_LIMIT
        )
    except openai.OpenAIError:
        return None
    return _text_in(answer.http_response.content)


def _text_in(body: bytes) -> str | None:
    """The text of a response; None where it is no response."""
    try:
        items = json.loads(body)["output"]
        parts = [part for item in items if item["type"] == "message" for part in item["content"]]
        return "".join(_text_of(part) for part in parts)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _text_of(part: dict[str, Any]) -> str:
    text = part["text"] if part["type"] == "output_text" else ""
    if not isinstance(text, str):
        raise TypeError("a text that is none")
    return text

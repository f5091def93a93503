"""One short prompt, to see a key at work."""

from __future__ import annotations

from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

_OUTPUT_LIMIT = 1_000  # tokens; enough for a sentence after some thoughts
_TIMEOUT = 60_000  # milliseconds; somebody is watching


def send_test_prompt(client: genai.Client, model: str, prompt: str) -> str | None:
    """Return the answer's text; None where the provider answered with an error, with something odd, or not at all.

    The client has metered the attempt; the run log holds the provider's words.
    """
    config = types.GenerateContentConfig(
        max_output_tokens=_OUTPUT_LIMIT,
        automatic_continuation=False,
        http_options=types.HttpOptions(timeout=_TIMEOUT),
    )
    try:
        answer = client.models.generate_content(model=model, contents=prompt, config=config)
    except (errors.APIError, httpx2.HTTPError, ValueError):
        return None
    return _text_in(answer)


def _text_in(answer: types.GenerateContentResponse) -> str | None:
    """The text of the first candidate; None where there is none."""
    candidates = answer.candidates or []
    content: Any = candidates[0].content if candidates else None
    if content is None:
        return None
    return "".join(part.text for part in content.parts or [] if part.text and not part.thought)

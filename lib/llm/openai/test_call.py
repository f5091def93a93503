"""One short prompt, to see a key at work."""

from __future__ import annotations

import openai

_OUTPUT_LIMIT = 1_000  # tokens; enough for a sentence after some reasoning
_TIMEOUT = 60.0  # seconds; somebody is watching


def send_test_prompt(client: openai.OpenAI, model: str, prompt: str) -> str | None:
    """Return the answer's text, None where the provider answered with an error or not at all.

    The client has metered the attempt; the run log holds the provider's words.
    """
    try:
        answer = client.with_options(max_retries=0, timeout=_TIMEOUT).responses.create(
            model=model, input=prompt, max_output_tokens=_OUTPUT_LIMIT
        )
    except openai.OpenAIError:
        return None
    return answer.output_text

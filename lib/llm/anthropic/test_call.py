"""One short prompt, to see a key at work."""

from __future__ import annotations

import anthropic

from lib.llm.answers import parsed

_OUTPUT_LIMIT = 1_000  # tokens; enough for a sentence after some thoughts
_TIMEOUT = 60.0  # seconds; somebody is watching


def send_test_prompt(client: anthropic.Anthropic, model: str, prompt: str) -> str | None:
    """Return the answer's text; None where the provider answered with an error, with something odd, or not at all.

    The client has metered the attempt; the run log holds the provider's words. The body is read here, because
    the SDK's own models raise errors of every kind for answers in a shape that they do not expect.
    """
    try:
        answer = client.with_options(max_retries=0, timeout=_TIMEOUT).messages.with_raw_response.create(
            model=model, max_tokens=_OUTPUT_LIMIT, messages=[{"role": "user", "content": prompt}]
        )
    except anthropic.AnthropicError:
        return None
    return _text_in(answer.http_response.content)


def _text_in(body: bytes) -> str | None:
    """The text of a message; None where it is no message."""
    blocks = parsed(body).get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return None
    texts = [block.get("text", "") for block in blocks if block.get("type") == "text"]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None

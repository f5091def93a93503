"""The two records about one HTTP attempt that the client (lib/llm) hands to the ledger.

``RequestProfile`` is what can be told before it leaves, ``AttemptResult`` what is known after. Both are plain
values: no key, no request object and no text of the conversation is in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lib import providers
from lib.pricing.prices import Tokens
from lib.pricing.tool_calls import NO_TOOL_CALLS, ToolCalls

Status = Literal["ok", "error", "broken", "abandoned", "unknown"]
KeyVerdict = Literal["fine", "rejected", "out_of_money", "wrong_address"]


@dataclass(frozen=True, slots=True)
class RequestProfile:
    """What one request asks for: enough to bound its cost from above, or to say why that is impossible."""

    endpoint: str
    """``responses``, ``chat/completions``, ``embeddings``, ``models``, or else the path under the base URL."""

    model: str
    """The model it names; empty where it names none."""

    input_bytes: int
    """Bytes of the body. No tokenizer makes more tokens of a text than it has bytes."""

    output_limit: int | None
    """Most output tokens of one choice that the request itself allows; None where it sets no limit."""

    choices: int
    """How many answers it asks for (``n``); the output bound is ``output_limit * choices``."""

    uses_context_window: bool
    """True where the bytes do not bound the input (images, files, stored state): the context window does."""

    cost_unbounded: str | None
    """Why it may not run on the platform key (part of a sentence), mostly that it has no ceiling; None if it may."""

    free: bool
    """True where the provider bills nothing for it, however it ends (look-ups, moderations)."""

    streaming: bool
    """True where the answer was asked for as server-sent events."""

    answer_tells_cost: bool = True
    """False where it asks for something that is billed and that no answer tells."""

    service_tier: str | None = None
    """The tier it asks for, where that is not the standard one."""

    region: str = ""
    """The region of the host that it goes to, where there are several (lib.pricing.regions)."""

    hosted_tools: frozenset[str] = frozenset()
    """The provider's own tools that it offers to the model, in the provider's words."""

    provider: str = providers.DEFAULT
    """The name of the provider that it goes to (lib.providers)."""

    framing_tokens: int = 64
    """Input tokens at most that the provider adds beyond the bytes that describe the request."""

    surcharge_percent: int = 0
    """How much more it may cost than the price table says, by a setting of the provider's account."""


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How one HTTP attempt ended.

    An ``error`` was answered (or never sent) and costs nothing; after ``broken``, ``abandoned`` and
    ``unknown`` the cost is not known unless ``tokens`` are.
    """

    status: Status
    tokens: Tokens | None
    """None where the provider did not say, or said what cannot be."""

    http_status: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    """Redacted and cut to length; safe to show."""

    upstream_request_id: str | None = None
    latency_ms: int | None = None
    key_verdict: KeyVerdict | None = None
    """What the answer says about the key's health; None where it says nothing."""

    priceable: bool = True
    """False where the cost cannot be told from what stands here: containers, images, audio, unknown parameters."""

    served_model: str | None = None
    """The model that the answer names (a dated snapshot of the one asked for, mostly)."""

    service_tier: str | None = None
    """The tier that the answer names, in the provider's word; None for the standard one."""

    free: bool = False
    """True where the provider bills nothing for it, however it ended."""

    tool_calls: ToolCalls = NO_TOOL_CALLS
    """What hosted tools are billed for beside the tokens."""

"""What every provider's requests have in common, as the ledger asks for it. Pure."""

from __future__ import annotations

from typing import Any

from lib.ledger.attempts import RequestProfile
from lib.llm.formats.json_body import Fields, model_name

NO_CEILING = "this endpoint has no known cost ceiling"
SHARED = "it reaches what the provider's account keeps, which projects on the platform key share"


def profile_of(endpoint: str, body: bytes, fields: Fields | None = None, **told: Any) -> RequestProfile:
    """The profile of a request: what its JSON says of itself, and what is ``told`` besides.

    Args:
        endpoint: what was asked, no longer than a name may be.
        body: the whole body, which bounds its input tokens.
        fields: its object, None where it has none.
        **told: fields of ``RequestProfile`` that differ from those of a request without an output.
    """
    plain: dict[str, Any] = {
        "model": model_name(fields),
        "streaming": bool(fields) and (fields or {}).get("stream") is True,
        "output_limit": 0,
        "choices": 1,
        "uses_context_window": False,
        "cost_unbounded": None,
        "free": False,
    }
    return RequestProfile(endpoint=endpoint, input_bytes=len(body), **(plain | told))

"""Which versions of Anthropic's SDK fit, and how our errors pass through them."""

from __future__ import annotations

import anthropic

from lib.errors import QodexError
from lib.llm.sdk_clients import require_version

OLDEST, BELOW = (2, 14), (3,)
"""The version that the meter was tried with first, and the first that nobody has tried."""


def require_supported() -> None:
    """Before a client is made. Raises SdkUnsupported.

    An SDK on another HTTP library makes a client without complaint, and each call ends as "Connection error."
    """
    require_version("anthropic", anthropic.__version__, OLDEST, BELOW)


class Carried(anthropic.AnthropicError):
    """Takes an error of ours through the SDK.

    It wraps any exception that is not its own into "Connection error.", and tries again: three reservations for
    one refusal.
    """

    def __init__(self, error: QodexError) -> None:
        super().__init__(str(error))
        self.error = error

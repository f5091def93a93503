"""Which versions of OpenAI's SDK fit, and how our errors pass through all of them."""

from __future__ import annotations

import openai

from lib.errors import QodexError
from lib.llm.sdk_clients import require_version

OLDEST, BELOW = (3, 0), (4,)
"""The first version on the HTTP library that the meter sits under, and the first that nobody has tried."""


def require_supported() -> None:
    """Before a client is made. Raises SdkUnsupported.

    An SDK on another HTTP library makes a client without complaint, and each call ends as "Connection error."
    """
    require_version("openai", openai.__version__, OLDEST, BELOW)


class Carried(openai.OpenAIError):
    """Takes an error of ours through the SDK.

    An older one tries again after any exception that is not its own, and then says "Connection error."
    """

    def __init__(self, error: QodexError) -> None:
        super().__init__(str(error))
        self.error = error

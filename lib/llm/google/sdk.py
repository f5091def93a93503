"""Which versions of Google's SDK fit."""

from __future__ import annotations

from google.genai import version

from lib.llm.sdk_clients import require_version

OLDEST, BELOW = (3, 6), (4,)
"""The version that the meter was tried with first, and the first that nobody has tried."""


def require_supported() -> None:
    """Before a client is made. Raises SdkUnsupported.

    An SDK that takes no HTTP clients of another library would make its own, past the meter.
    """
    require_version("google-genai", version.__version__, OLDEST, BELOW)

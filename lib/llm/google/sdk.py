"""Which versions of Google's SDK fit."""

from __future__ import annotations

from google.genai import version

from lib.errors import SdkUnsupported

OLDEST, BELOW = (3, 6), (4,)
"""The version that the meter was tried with first, and the first that nobody has tried."""


def require_supported() -> None:
    """Before a client is made. Raises SdkUnsupported.

    An SDK that takes no HTTP clients of another library would make its own, past the meter.
    """
    found = tuple(int(part) for part in version.__version__.split(".")[:2] if part.isdecimal())
    if not OLDEST <= found < BELOW:
        wanted = f"google-genai>={_written(OLDEST)},<{_written(BELOW)}"
        raise SdkUnsupported("google-genai", version.__version__, wanted)


def _written(version_: tuple[int, ...]) -> str:
    return ".".join(map(str, version_))

"""Qodex BYOK: encrypted provider keys, key resolution, caps and metering for workers.

``from lib import Platform`` is all a worker needs. Importing this package loads neither
streamlit nor pandas; the parts that need them import them where they live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.platform import Platform, Run

__all__ = ["Platform", "Run"]


def __getattr__(name: str) -> object:
    """Import the front door on first use, so that ``import lib.errors`` stays cheap."""
    if name in __all__:
        from lib import platform  # noqa: PLC0415 - lazy on purpose

        return getattr(platform, name)
    raise AttributeError(f"module 'lib' has no attribute {name!r}")

"""The official clients of key services, which are extras: loaded by who uses one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lib.errors import SettingsError

VARIABLE = "QODEX_KEY_SERVICE"


def load(package: str, extra: str) -> Any:
    """The package. Raises SettingsError, which says how to install it."""
    try:
        return import_module(package)
    except ImportError:
        pass
    raise SettingsError(VARIABLE, f"needs the package {package}: pip install 'qodex-byok[{extra}]'")

"""The platform's key in the environment, where every library of a worker's process could find it."""

from __future__ import annotations

import os

OWN_NAME = "QODEX_OPENAI_API_KEY"
"""No library reads it by itself."""

OLD_NAME = "OPENAI_API_KEY"
"""Each client of OpenAI's that is made without a key takes this one."""


def name_in_use(variable: str) -> str:
    """The variable that a value came from, where the platform's key may stand under either name."""
    return OLD_NAME if variable == OWN_NAME and not os.environ.get(OWN_NAME) else variable


def key_warning() -> str | None:
    """What to tell an operator in whose environment any library finds a key: its calls would pass the meter by."""
    if not os.environ.get(OLD_NAME):
        return None
    cure = "Unset it" if os.environ.get(OWN_NAME) else f"Rename it {OWN_NAME}"
    return (
        f"{OLD_NAME} is set: a library in a worker that makes a client of its own would spend that key, without "
        f"caps and without a usage row. {cure}."
    )

"""Platform keys in the environment, where every library of a worker's process could find them."""

from __future__ import annotations

import os

from lib.providers import ProviderFacts, known


def name_in_use(variable: str) -> str:
    """The variable that a value came from, where a platform key may stand under either name."""
    for facts in known.facts.values():
        if variable == facts.key_variable and not os.environ.get(variable):
            return facts.ambient_key_variable
    return variable


def key_warning() -> str | None:
    """What to tell an operator in whose environment any library finds a key: its calls would pass the meter by."""
    found = [facts for facts in known.facts.values() if os.environ.get(facts.ambient_key_variable)]
    return " ".join(map(_warning, found)) or None


def _warning(facts: ProviderFacts) -> str:
    cure = "Unset it" if os.environ.get(facts.key_variable) else f"Rename it {facts.key_variable}"
    return (
        f"{facts.ambient_key_variable} is set: a library in a worker that makes a client of its own would spend "
        f"that key, without caps and without a usage row. {cure}."
    )

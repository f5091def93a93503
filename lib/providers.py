"""What every room may know of a provider: what it is called, where it is, what its keys look like.

How one is spoken to is lib.llm.provider's; the settings have its key and its address. What is named here is known
before any provider's own code is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProviderFacts:
    """One provider, told from outside."""

    name: str
    """In tables, addresses, files and commands: small letters, digits and ``_``."""

    title: str
    """In sentences for people."""

    base_url: str
    """Where it is unless the settings name another place."""

    url_variable: str
    """The variable of the environment that names another place."""

    key_variable: str
    """The variable that holds the platform-funded key, under a name that no library reads by itself."""

    ambient_key_variable: str
    """The variable that the provider's own library reads by itself; read too, with a warning."""

    key_shape: str
    """A regular expression of what its keys look like, masked ones too: taken out of every text from outside."""

    trace_name: str = ""
    """Its name in OpenTelemetry's GenAI conventions, where that is another one."""

    packages: frozenset[str] = frozenset()
    """The modules of its SDK: part of our own way to the provider, and their logs hold no key."""


OPENAI = ProviderFacts(
    name="openai",
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    url_variable="OPENAI_BASE_URL",
    key_variable="QODEX_OPENAI_API_KEY",
    ambient_key_variable="OPENAI_API_KEY",
    key_shape=r"sk-[A-Za-z0-9_*.…-]{5,}[A-Za-z0-9_*…-]",
    packages=frozenset({"openai"}),
)

ANTHROPIC = ProviderFacts(
    name="anthropic",
    title="Anthropic",
    base_url="https://api.anthropic.com",
    url_variable="ANTHROPIC_BASE_URL",
    key_variable="QODEX_ANTHROPIC_API_KEY",
    ambient_key_variable="ANTHROPIC_API_KEY",
    key_shape=r"sk-ant-[A-Za-z0-9_*.…-]{5,}[A-Za-z0-9_*…-]",
    packages=frozenset({"anthropic"}),
)

GOOGLE = ProviderFacts(
    name="google",
    title="Google",
    base_url="https://generativelanguage.googleapis.com",
    url_variable="GEMINI_BASE_URL",
    key_variable="QODEX_GEMINI_API_KEY",
    ambient_key_variable="GEMINI_API_KEY",
    # Those of service accounts hold dots; some tools write a key of any kind into the address.
    key_shape=r"AIza[A-Za-z0-9_*.…-]{5,}[A-Za-z0-9_*…-]|(?:(?<![A-Za-z0-9_])|(?<=%3D)|(?<=%3d))AQ\.[A-Za-z0-9_*.…-]{5,}[A-Za-z0-9_*…-]"
    r"|(?<=[?&]key=)[A-Za-z0-9_%*.…-]{8,}",
    trace_name="gcp.gemini",
    packages=frozenset({"google_genai", "google"}),
)

DEFAULT = OPENAI.name
"""Whose key or call is meant where none is named: commands, files and rows that are older than the second one."""


class _Known:
    """The providers of this process, and what follows from all of them together."""

    def __init__(self, *facts: ProviderFacts) -> None:
        self.facts = {each.name: each for each in facts}
        self._combine()

    def add(self, facts: ProviderFacts) -> None:
        self.facts[facts.name] = facts
        self._combine()

    def remove(self, name: str) -> None:
        self.facts.pop(name, None)
        self._combine()

    def _combine(self) -> None:
        self.key_like = re.compile("|".join(f"(?:{each.key_shape})" for each in self.facts.values()))
        self.packages = frozenset().union(*(each.packages for each in self.facts.values()))


known = _Known(OPENAI, ANTHROPIC, GOOGLE)


def titles(names: Iterable[str], conjunction: str = "or") -> str:
    """What to call several providers together: ``OpenAI``, ``OpenAI or Anthropic``, ``OpenAI, Anthropic or Google``."""
    *most, last = map(title, names)
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def title(name: str) -> str:
    """What to call a provider in a sentence; a name that only an imported row knows stands for itself."""
    facts = known.facts.get(name)
    return facts.title if facts else name

"""The kinds of values that the environment holds, each cleaned and checked as it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field
from pydantic_settings import NoDecode

from lib.environment import addresses
from lib.errors import BadInput
from lib.providers import ProviderFacts
from lib.secret import Secret


def split_list(value: object) -> object:
    """The entries of a comma-separated text."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def cleaned(clean: Callable[[str], str], values: Sequence[str]) -> list[str]:
    """Each value cleaned. Raises ValueError with the sentence of what was refused."""
    try:
        return [clean(value) for value in values]
    except BadInput as problem:
        raise ValueError(problem.sentence) from None


def _wrap(value: object) -> object:
    return Secret(value.strip()) if isinstance(value, str) and value.strip() else value or None


def _fitting_a_header(value: Secret | None) -> Secret | None:
    if value and not all("!" <= character <= "~" for character in value.reveal()):
        raise ValueError("the key holds white space or characters that no key has; paste it again")
    return value


SecretText = Annotated[Secret | None, NoDecode, BeforeValidator(_wrap)]
PlatformKey = Annotated[SecretText, AfterValidator(_fitting_a_header)]
"""The platform-funded key of a provider."""
BaseURL = Annotated[str, AfterValidator(addresses.clean_upstream)]
"""Where a provider is."""


def platform_key(facts: ProviderFacts, description: str) -> Any:
    """The field of a provider's platform-funded key, under either of its names."""
    variables = AliasChoices(facts.key_variable, facts.ambient_key_variable)
    return Field(None, validation_alias=variables, description=description)


def upstream(facts: ProviderFacts, description: str) -> Any:
    """The field of a provider's address."""
    rule = "https, or http on loopback only; never link-local"
    return Field(facts.base_url, validation_alias=facts.url_variable, description=f"{description}; {rule}")

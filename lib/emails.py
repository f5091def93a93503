"""E-mail addresses of people: checked as they came, then compared. Pure."""

from __future__ import annotations

import re

from lib.errors import BadInput

_LONGEST = 320
"""Characters; RFC 3696, errata 1690."""

_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
# Narrower than RFC 5321 on purpose: nothing that a spreadsheet, a shell, Markdown or a look-alike letter
# could make something else of, and no formula's first character.
_EMAIL = re.compile(rf"[a-z0-9_](?:[a-z0-9_.+-]{{0,63}})@{_DOMAIN}")
_DOMAIN_ALONE = re.compile(_DOMAIN)


def clean_email(text: str) -> str:
    """Check an e-mail address and return it in small letters, without ASCII white space around it. Raises BadInput."""
    email = fold(text)
    if not email.isascii() or len(email) > _LONGEST or not _EMAIL.fullmatch(email):
        raise BadInput("That is no e-mail address. Write it like name@example.com.")
    return email


def clean_domain(text: str) -> str:
    """Check a domain of addresses, ``example.com`` or ``@example.com``. Raises BadInput."""
    domain = fold(text).removeprefix("@")
    if not domain.isascii() or not _DOMAIN_ALONE.fullmatch(domain):
        raise BadInput("That is no domain. Write it like example.com, in plain ASCII.")
    return domain


def fold(text: str) -> str:
    """In small letters and without white space around it, unless it is more than ASCII: then as it came.

    Folding first would make the Kelvin sign (U+212A) a ``k``, and so one person another.
    """
    return text.strip().lower() if text.isascii() else text

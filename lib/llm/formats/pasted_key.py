"""A key as it was pasted: the dirt around it taken off, and a sentence for what certainly is none.

No provider states a form that holds for all of its keys: what could be one is let through. No sentence repeats
what was pasted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lib.errors import KeyMalformed
from lib.secret import Secret, without_variables

LONGEST_KEY = 512
_LONGEST_PASTE = 8 * LONGEST_KEY
"""Characters that are looked at closely: a key with all the dirt around it is far shorter."""

_SHORTEST_KEY = 16
_QUOTES = "\"'`“”„«»\u2018\u2019"
_TOO_LONG = "This is longer than any key. Paste the key alone."
_MASKED = re.compile(r"[*•…]|\.\.\.")


@dataclass(frozen=True)
class KeyKind:
    """One kind of keys of a provider."""

    prefix: str
    """What every key of the kind begins with."""

    shortest: int = _SHORTEST_KEY
    longest: int = LONGEST_KEY
    """Characters behind the prefix, at least and at most."""

    letters: str = r"A-Za-z0-9_\-"
    """What stands behind the prefix, as in a regular expression's brackets."""

    @property
    def pattern(self) -> str:
        """The whole of a key."""
        return rf"{re.escape(self.prefix)}[{self.letters}]{{{self.shortest},{self.longest}}}"


@dataclass(frozen=True)
class KeyFormat:
    """What the keys of one provider look like."""

    title: str
    """The provider's, with its article: ``an Example``."""

    kinds: tuple[KeyKind, ...]

    variables: tuple[str, ...]
    """Names of variables that may stand before a key."""

    other_kinds: Mapping[str, str]
    """The sentence for what begins like this: it is something else."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The whole of a key."""
        return re.compile("|".join(kind.pattern for kind in self.kinds))

    @property
    def odd(self) -> re.Pattern[str]:
        """A character that no key has."""
        return re.compile(rf"[^{''.join(kind.letters for kind in self.kinds)}]")

    @without_variables
    def clean(self, text: str) -> Secret:
        """Return the key in what was pasted, without the dirt that pasting adds around it.

        Taken off: white space, quotes, ``Bearer``, ``NAME=`` (with ``export``). Nothing inside is mended.

        Raises:
            KeyMalformed: it cannot be a key of this provider; the sentence says what it is instead.
        """
        key = self._bare(text)
        problem = self._problem(key)
        if problem is None:
            return Secret(key)
        raise KeyMalformed(problem)

    def _bare(self, text: str) -> str:
        """Take off label after label and quote after quote, as long as there is one."""
        names = "|".join(map(re.escape, self.variables))
        label = re.compile(
            rf"(?:(?:export|set|setx)\s+|\$env:)?(?:{names})[\"']?\s*[=:\s]\s*"
            r"|(?:Authorization\s*:\s*)?Bearer(?:\s+|$)|x-(?:goog-)?api-key\s*:\s*",
            re.IGNORECASE,
        )
        rest, before = text.strip(), None
        while rest != before and len(rest) <= _LONGEST_PASTE:
            before = rest
            rest = rest.strip().strip(_QUOTES).rstrip(",;").strip()
            rest = label.sub("", rest, count=1) if label.match(rest) else rest
        return rest

    def _problem(self, key: str) -> str | None:
        if not key:
            return "There is no key in what was pasted."
        if len(key) > _LONGEST_PASTE:
            return "This is far longer than any key. Paste the key alone."
        for beginning, sentence in self.other_kinds.items():
            if key.startswith(beginning):
                return sentence
        if _MASKED.search(key):
            return "This is a masked key, as lists show it. The whole key is shown only once, when it is created."
        if len([part for part in self.odd.split(key) if self.pattern.match(part)]) > 1:
            return "These are two keys. Paste one."
        return None if self.pattern.fullmatch(key) else self._misshapen(key)

    def _misshapen(self, key: str) -> str:
        name = self.title.partition(" ")[2]
        again = f"Copy it again from {name}'s page."
        kind = next((kind for kind in self.kinds if key.startswith(kind.prefix)), None)
        prefixes = " or ".join(kind.prefix for kind in self.kinds)
        begins = f"This is not {self.title} key: those begin with {prefixes}."
        odd = f"The key has a character in it that no {name} key has. {again}"
        wrongs = (
            (not key.isascii(), f"The key has an invisible or foreign character in it. {again}"),
            (
                any(map(str.isspace, key)),
                "The key has white space or a line break in it. Copy it again in one piece.",
            ),
            (not key.isprintable(), f"The key has a control character in it. {again}"),
            (kind is None, begins),
            (kind and len(key) > len(kind.prefix) + kind.longest, _TOO_LONG),
            (kind and re.search(rf"[^{kind.letters}]", key.removeprefix(kind.prefix)), odd),
        )
        return next(
            (sentence for wrong, sentence in wrongs if wrong), "This is too short. Copy the whole key."
        )

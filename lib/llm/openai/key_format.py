"""What an OpenAI key looks like, judged without asking anybody and before any header is built.

OpenAI states no form, and keys of several lengths are in use: what could be a key is let through, and what
certainly is none gets a sentence of its own. No sentence repeats what was pasted.
"""

from __future__ import annotations

import re

from lib.errors import KeyMalformed
from lib.secret import Secret, without_variables

LONGEST_KEY = 512
_LONGEST_PASTE = 8 * LONGEST_KEY
"""Characters that are looked at closely: a key with all the dirt around it is far shorter."""

_KEY = re.compile(rf"sk-[A-Za-z0-9_-]{{16,{LONGEST_KEY}}}")
_LABEL = re.compile(
    r"(?:(?:export|set|setx)\s+|\$env:)?(?:QODEX_)?OPENAI_API_KEY[\"']?\s*[=:\s]\s*"
    r"|(?:Authorization\s*:\s*)?Bearer(?:\s+|$)",
    re.IGNORECASE,
)
_QUOTES = "\"'`“”„«»\u2018\u2019"
_MASKED = re.compile(r"[*•…]|\.\.\.")

_OTHER_KINDS = {
    "sk-ant-": "This is an Anthropic key. Only OpenAI keys can be used yet.",
    "sk-or-": "This is an OpenRouter key. Only OpenAI's own keys can be used.",
    "sk-admin-": "This is an OpenAI admin key, and admin keys cannot run models. Create a project key instead.",
    "AIza": "This is a Google key. Only OpenAI keys can be used yet.",
    "gsk_": "This is a Groq key. Only OpenAI keys can be used.",
    "xai-": "This is an xAI key. Only OpenAI keys can be used.",
    "org-": "This is an organization's id, not a key.",
    "proj_": "This is a project's id, not a key.",
    "sess-": "This is the token of a browser session, not a key. Create a project key instead.",
}


@without_variables
def clean_key(text: str) -> Secret:
    """Return the key in what was pasted, without the dirt that pasting adds around it.

    Taken off: white space, quotes, ``Bearer``, ``OPENAI_API_KEY=`` (with ``export``). Nothing inside is mended.

    Raises:
        KeyMalformed: it cannot be an OpenAI key; the sentence says what it is instead.
    """
    key = _bare(text)
    problem = _problem(key)
    if problem is None:
        return Secret(key)
    raise KeyMalformed(problem)


def _bare(text: str) -> str:
    """Take off label after label and quote after quote, as long as there is one."""
    rest, before = text.strip(), None
    while rest != before and len(rest) <= _LONGEST_PASTE:
        before = rest
        rest = rest.strip().strip(_QUOTES).rstrip(",;").strip()
        rest = _LABEL.sub("", rest, count=1) if _LABEL.match(rest) else rest
    return rest


def _problem(key: str) -> str | None:
    if not key:
        return "There is no key in what was pasted."
    if len(key) > _LONGEST_PASTE:
        return "This is far longer than any key. Paste the key alone."
    for beginning, sentence in _OTHER_KINDS.items():
        if key.startswith(beginning):
            return sentence
    if _MASKED.search(key):
        return "This is a masked key, as lists show it. The whole key is shown only once, when it is created."
    if len([part for part in re.split(r"[^A-Za-z0-9_-]", key) if _KEY.match(part)]) > 1:
        return "These are two keys. Paste one."
    return None if _KEY.fullmatch(key) else _misshapen(key)


def _misshapen(key: str) -> str:
    again = "Copy it again from OpenAI's page."
    wrongs = (
        (not key.isascii(), f"The key has an invisible or foreign character in it. {again}"),
        (
            any(map(str.isspace, key)),
            "The key has white space or a line break in it. Copy it again in one piece.",
        ),
        (not key.isprintable(), f"The key has a control character in it. {again}"),
        (not key.startswith("sk-"), "This is not an OpenAI key: those begin with sk-."),
        (len(key) > len("sk-") + LONGEST_KEY, "This is longer than any key. Paste the key alone."),
        (re.search(r"[^A-Za-z0-9_-]", key), f"The key has a character in it that no OpenAI key has. {again}"),
    )
    return next((sentence for wrong, sentence in wrongs if wrong), "This is too short. Copy the whole key.")

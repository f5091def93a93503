"""What a key of the Gemini API looks like, judged without asking anybody and before any header is built.

There are two kinds: standard keys, and keys that are bound to a service account, which hold a dot. What signs a
service account or a person in is neither.
"""

from __future__ import annotations

from lib.llm.formats.pasted_key import KeyFormat, KeyKind

_NO_TOKEN = "Create an API key in Google AI Studio instead."  # noqa: S105 - a sentence

KEY_FORMAT = KeyFormat(
    title="a Google",
    kinds=(
        KeyKind("AIza", shortest=30, longest=60),
        KeyKind("AQ.", letters=r"A-Za-z0-9_.\-"),
    ),
    variables=("QODEX_GEMINI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_KEY"),
    other_kinds={
        "{": f"This is the key file of a service account, and Qodex does not sign in as one. {_NO_TOKEN}",
        "-----BEGIN": f"This is a private key, not an API key. {_NO_TOKEN}",
        "ya29.": f"This is a token of one person's or service account's sign-in, not a key. {_NO_TOKEN}",
        "1//": f"This is a token of one person's sign-in, not a key. {_NO_TOKEN}",
        "GOCSPX-": f"This is the secret of an OAuth client, not a key. {_NO_TOKEN}",
        "auth_tokens/": f"This is a token for one live session, not a key. {_NO_TOKEN}",
        "projects/": "This is a key's name, not the key.",
        "sk-ant-": "This is an Anthropic key, not a Google one.",
        "sk-or-": "This is an OpenRouter key. Only Google's own keys can be used.",
        "sk-": "This is an OpenAI key, not a Google one.",
        "gsk_": "This is a Groq key. Only Google keys can be used.",
        "xai-": "This is an xAI key. Only Google keys can be used.",
    },
)

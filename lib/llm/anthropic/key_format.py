"""What an Anthropic key looks like, judged without asking anybody and before any header is built.

A key of the Admin API and the token of a person's sign-in begin alike, and run no models for a team.
"""

from __future__ import annotations

from lib.llm.formats.pasted_key import KeyFormat, KeyKind

KEY_FORMAT = KeyFormat(
    title="an Anthropic",
    kinds=(KeyKind("sk-ant-"),),
    variables=("QODEX_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    other_kinds={
        "sk-ant-admin": "This is an Anthropic admin key, and admin keys cannot run models. Create an API key "
        "in a workspace instead.",
        "sk-ant-oat": "This is the token of one person's sign-in, not a key. Create an API key in a workspace "
        "instead.",
        "sk-ant-ort": "This is the token of one person's sign-in, not a key. Create an API key in a workspace "
        "instead.",
        "sk-ant-sid": "This is the token of a browser session, not a key. Create an API key in a workspace instead.",
        "sk-or-": "This is an OpenRouter key. Only Anthropic's own keys can be used.",
        "sk-proj-": "This is an OpenAI key, not an Anthropic one.",
        "sk-svcacct-": "This is an OpenAI key, not an Anthropic one.",
        "AIza": "This is a Google key, not an Anthropic one.",
        "AQ.": "This is a Google key, not an Anthropic one.",
        "gsk_": "This is a Groq key. Only Anthropic keys can be used.",
        "xai-": "This is an xAI key. Only Anthropic keys can be used.",
        "apikey_": "This is a key's id, not the key.",
        "wrkspc_": "This is a workspace's id, not a key.",
    },
)

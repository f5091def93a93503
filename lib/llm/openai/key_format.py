"""What an OpenAI key looks like, judged without asking anybody and before any header is built."""

from __future__ import annotations

from lib.llm.formats.pasted_key import KeyFormat, KeyKind

KEY_FORMAT = KeyFormat(
    title="an OpenAI",
    kinds=(KeyKind("sk-"),),
    variables=("QODEX_OPENAI_API_KEY", "OPENAI_API_KEY"),
    other_kinds={
        "sk-ant-": "This is an Anthropic key, not an OpenAI one.",
        "sk-or-": "This is an OpenRouter key. Only OpenAI's own keys can be used.",
        "sk-admin-": "This is an OpenAI admin key, and admin keys cannot run models. Create a project key instead.",
        "AIza": "This is a Google key, not an OpenAI one.",
        "AQ.": "This is a Google key, not an OpenAI one.",
        "gsk_": "This is a Groq key. Only OpenAI keys can be used.",
        "xai-": "This is an xAI key. Only OpenAI keys can be used.",
        "org-": "This is an organization's id, not a key.",
        "proj_": "This is a project's id, not a key.",
        "sess-": "This is the token of a browser session, not a key. Create a project key instead.",
    },
)

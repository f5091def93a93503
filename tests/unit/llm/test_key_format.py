"""What may be a key is let through, whatever dirt clings to it; what is none gets a sentence of its own."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.errors import KeyMalformed
from lib.llm.anthropic import key_format as anthropic
from lib.llm.google import key_format as google
from lib.llm.openai.key_format import KEY_FORMAT

clean_key = KEY_FORMAT.clean

KEY = "sk-test-planted-key-7777"
OTHER = "sk-test-another-key-8888"

keys = st.from_regex(r"\Ask-[A-Za-z0-9_-]{16,512}\Z").filter(
    lambda key: not key.startswith(("sk-ant-", "sk-or-", "sk-admin-"))
)
dirt_before = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "\r\n\t",
        '"',
        "'",
        "`",
        "“",
        "Bearer ",
        "bearer  ",
        "Authorization: Bearer ",
        "OPENAI_API_KEY=",
        "QODEX_OPENAI_API_KEY=",
        "export OPENAI_API_KEY=",
        'export OPENAI_API_KEY="',
        "  set OPENAI_API_KEY=",
        '$env:OPENAI_API_KEY = "',
        "OPENAI_API_KEY: '",
        '"OPENAI_API_KEY": "',
        '"Bearer ',
    ]
)
dirt_after = st.sampled_from(
    ["", " ", "\n", "\r\n", "\t \n", '"', "'", "`", "”", '"\n', '",', "';", "\u00a0"]
)


@given(key=keys, before=dirt_before, after=dirt_after)
@example(key="sk-" + "a" * 16, before="", after="")
@example(key="sk-" + "-_" * 256, before="", after="\n")
@example(key="sk-proj-" + "Ab3_" * 4 + "-sk-" + "x" * 20, before="", after="")
def test_every_key_of_the_known_alphabet_is_accepted_with_the_dirt_of_pasting_around_it(key, before, after):
    assert clean_key(before + key + after).reveal() == key


@pytest.mark.parametrize("length", [51, 56, 132, 133, 135, 164, 165, 167, 200, 512])
@pytest.mark.parametrize("beginning", ["sk-", "sk-proj-", "sk-svcacct-", "sk-None-", "sk-unheard-of-"])
def test_no_length_and_no_marker_is_required(beginning, length):
    key = (beginning + "aB3_-" * 200)[:length]
    assert clean_key(key).reveal() == key


WRONG = {
    "nothing": ("", "no key"),
    "white space": (" \n\t", "no key"),
    "empty quotes": ('""', "no key"),
    "only Bearer": ("Bearer ", "no key"),
    "only the variable": ("OPENAI_API_KEY=", "no key"),
    "Anthropic": ("sk-ant-api03-aaaaaaaaaaaaaaaaaaaa", "Anthropic"),
    "OpenRouter": ("sk-or-v1-aaaaaaaaaaaaaaaaaaaaaa", "OpenRouter"),
    "Google": ("AIzaSyaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Google"),
    "Groq": ("gsk_aaaaaaaaaaaaaaaaaaaaaaaaaaa", "Groq"),
    "xAI": ("xai-aaaaaaaaaaaaaaaaaaaaaaaaaaa", "xAI"),
    "admin key": ("sk-admin-aaaaaaaaaaaaaaaaaaaaaa", "admin key"),
    "organization": ("org-aaaaaaaaaaaaaaaaaaaa", "organization's id"),
    "project": ("proj_aaaaaaaaaaaaaaaaaaaa", "project's id"),
    "session": ("sess-aaaaaaaaaaaaaaaaaaaa", "browser session"),
    "masked with stars": ("sk-abcd1234********wxyz", "masked"),
    "masked with an ellipsis": ("sk-…wxyz", "masked"),
    "masked with full stops": ("sk-proj-abc...wxyz", "masked"),
    "masked with dots": ("••••wxyz", "masked"),
    "two, space": (f"{KEY} {OTHER}", "two keys"),
    "two, newline": (f"{KEY}\n{OTHER}", "two keys"),
    "two, comma": (f"{KEY},{OTHER}", "two keys"),
    "the same twice": (f"{KEY}\r\n{KEY}", "two keys"),
    "two lines of a file": (f"OPENAI_API_KEY={KEY}\nOPENAI_API_KEY={OTHER}", "two keys"),
    "space inside": (KEY[:12] + " " + KEY[12:], "white space"),
    "newline inside": (KEY[:12] + "\n" + KEY[12:], "white space"),
    "NUL inside": (KEY[:12] + "\x00" + KEY[12:], "control character"),
    "NUL at the end": (KEY + "\x00", "control character"),
    "DEL at the end": (KEY + "\x7f", "control character"),
    "zero width inside": (KEY[:12] + "\u200b" + KEY[12:], "invisible"),
    "zero width at the end": (KEY + "\u200b", "invisible"),
    "byte order mark": ("\ufeff" + KEY, "invisible"),
    "direction override": (KEY[:12] + "\u202e" + KEY[12:], "invisible"),
    "Cyrillic": (KEY.replace("e", "\u0435"), "foreign"),
    "other hyphens": (KEY.replace("-", "\u2010"), "foreign"),
    "emoji": ("\U0001f511" + KEY, "foreign"),
    "lone surrogate": (KEY + "\ud83d", "foreign"),
    "a sentence": ("hello, this is no key at all", "white space"),
    "anything": ("not-a-key-of-anybody-here", "begin with sk-"),
    "capitals": ("SK-test-planted-key-7777", "begin with sk-"),
    "513 characters": ("sk-" + "a" * 513, "longer than any key"),
    "exclamation mark": ("sk-" + "a" * 20 + "!", "character in it that no"),
    "slash": ("sk-" + "a" * 20 + "/" + "a" * 20, "character in it that no"),
    "15 characters": ("sk-" + "a" * 15, "too short"),
    "10 MB in one piece": ("sk-" + "a" * 10_000_000, "far longer"),
    "10 MB of newlines": ("\n" * 10_000_000, "no key"),
    "10 MB of keys": ((KEY + "\n") * 400_000, "far longer"),
    "10 MB of quotes": ("'\"" * 5_000_000, "far longer"),
    "4 KB of labels": ("Bearer " * 580, "no key"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_kind_of_wrong_paste_gets_its_own_sentence(kind):
    pasted, says = WRONG[kind]
    with pytest.raises(KeyMalformed, match=says) as refusal:
        clean_key(pasted)
    assert_not_told(refusal.value, pasted)


CLAUDE = "sk-ant-api03-test-planted-key-7777"
WRONG_FOR_ANTHROPIC = {
    "admin key": ("sk-ant-admin01-aaaaaaaaaaaaaaaaaaaa", "admin key"),
    "sign-in": ("sk-ant-oat01-aaaaaaaaaaaaaaaaaaaaaaaa", "one person's sign-in"),
    "browser session": ("sk-ant-sid01-aaaaaaaaaaaaaaaaaaaaaaaa", "browser session"),
    "OpenAI, by project": ("sk-proj-aaaaaaaaaaaaaaaaaaaaaaaaaaa", "OpenAI"),
    "OpenAI, plain": (KEY, "begin with sk-ant-"),
    "Google": ("AIzaSyaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Google"),
    "a key's id": ("apikey_01aaaaaaaaaaaaaaaaaaaaaa", "key's id"),
    "a workspace's id": ("wrkspc_01aaaaaaaaaaaaaaaaaaaaaa", "workspace's id"),
    "masked": ("sk-ant-api03-R2D...igAA", "masked"),
    "two": (f"{CLAUDE}\n{CLAUDE}", "two keys"),
    "too short": ("sk-ant-api03-aa", "too short"),
}


@pytest.mark.parametrize("kind", WRONG_FOR_ANTHROPIC)
def test_each_kind_of_key_that_runs_no_claude_gets_its_own_sentence(kind):
    pasted, says = WRONG_FOR_ANTHROPIC[kind]
    with pytest.raises(KeyMalformed, match=says) as refusal:
        anthropic.KEY_FORMAT.clean(pasted)
    assert_not_told(refusal.value, pasted)


@pytest.mark.parametrize(
    "dirt", ["{}", " {}\n", "export ANTHROPIC_API_KEY='{}'", "x-api-key: {}", "Bearer {}"]
)
def test_an_anthropic_key_is_found_in_the_dirt_of_pasting(dirt):
    assert anthropic.KEY_FORMAT.clean(dirt.format(CLAUDE)).reveal() == CLAUDE


GEMINI = ("AQ.Ab8RN6I-test.planted_key-7777", "AIza-test-planted-key-of-the-old-kind-7777")
WRONG_FOR_GOOGLE = {
    "a service account": ('{"type": "service_account", "private_key": "…"}', "key file of a service account"),
    "sign-in": ("ya29.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "token of one person's"),
    "a lasting sign-in": ("1//0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "token of one person's"),
    "an OAuth client": ("GOCSPX-aaaaaaaaaaaaaaaaaaaaaaaaaaa", "OAuth client"),
    "a live session": ("auth_tokens/aaaaaaaaaaaaaaaaaaaaaaaaaaa", "live session"),
    "a key's name": ("projects/1/locations/global/keys/aaaaaaaaaa", "name"),
    "OpenAI": (KEY, "OpenAI"),
    "Anthropic": (CLAUDE, "Anthropic"),
    "another": ("key-aaaaaaaaaaaaaaaaaaaaaaaaaaa", "begin with AIza or AQ."),
    "masked": ("AIzaSy...aaaa", "masked"),
    "two": (" ".join(GEMINI), "two keys"),
    "two of one kind": (f"{GEMINI[0]}\n{GEMINI[0]}", "two keys"),
    "a dot where none belongs": ("AIza-test-planted-key-of.the-old-kind-7777", "character in it"),
    "too short, new": ("AQ.Ab8RN", "too short"),
    "too short, old": ("AIza-test-planted-key", "too short"),
    "too long, old": ("AIza" + "a" * 61, "longer than any key"),
}


@pytest.mark.parametrize("kind", WRONG_FOR_GOOGLE)
def test_each_kind_of_key_that_runs_no_gemini_gets_its_own_sentence(kind):
    pasted, says = WRONG_FOR_GOOGLE[kind]
    with pytest.raises(KeyMalformed, match=says) as refusal:
        google.KEY_FORMAT.clean(pasted)
    assert_not_told(refusal.value, pasted)


@pytest.mark.parametrize(
    "dirt", ["{}", " {}\n", "export GEMINI_API_KEY='{}'", "GOOGLE_API_KEY={}", "x-goog-api-key: {}", '"{}",']
)
@pytest.mark.parametrize("key", GEMINI)
def test_a_google_key_of_either_kind_is_found_in_the_dirt_of_pasting(dirt, key):
    assert google.KEY_FORMAT.clean(dirt.format(key)).reveal() == key


@given(
    key=st.from_regex(r"\A(AIza[A-Za-z0-9_-]{30,60}|AQ\.[A-Za-z0-9_.-]{16,512})\Z").filter(
        lambda key: "..." not in key
    )
)
def test_every_google_key_of_the_known_forms_is_accepted(key):
    assert google.KEY_FORMAT.clean(key).reveal() == key


@given(st.text(min_size=12, max_size=100))
def test_no_sentence_repeats_what_was_pasted(text):
    with pytest.raises(KeyMalformed) as refusal:
        clean_key(f"{text}!")
    assert_not_told(refusal.value, text)


def assert_not_told(refusal: KeyMalformed, pasted: str) -> None:
    """Neither the sentence nor the frames of ``clean_key`` hold what was pasted."""
    shown = traceback.TracebackException.from_exception(refusal, capture_locals=True)
    told = [
        line
        for frame in shown.stack
        if frame.filename.endswith("llm/key_shape.py")
        for line in (frame.locals or {}).values()
    ]
    assert refusal.__context__ is None
    for piece in {pasted.strip()[:20], pasted.strip()[-20:]} - {""}:
        if len(piece) >= 8:
            assert not any(piece in text for text in [str(refusal), repr(refusal), *told])

"""The main loop in a real browser: a project, its key, a call on it, and what happens when the key fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.upstream import GOOD_KEY, OTHER_KEY, WRONG_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

# Long enough for a busy machine; nothing waits for it where all is well.
PATIENCE = 30_000


class Person:
    """Somebody at the screen, and everything the server sent to them."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.received: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.on("websocket", self._listen)
        page.on("request", lambda request: self._note(request.url))

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self.received.append(_text(frame)))

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws", 1), "data:", "blob:")):
            self.foreign.append(url)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def reads(self, text: str) -> None:
        """Wait until the text is on the screen."""
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible()

    def keep_what_is_shown(self) -> None:
        """The whole document, once what was typed is gone from its field."""
        field = self.page.get_by_role("textbox", name="New OpenAI API key")
        if field.count():
            expect(field).to_have_value("")
        self.received.append(self.page.content())

    def paste_key(self, key: str) -> None:
        field = self.page.get_by_role("textbox", name="New OpenAI API key")
        expect(field).to_have_value("")
        field.fill(key)
        self.press("Check and save")


def _text(frame: str | bytes) -> str:
    return frame if isinstance(frame, str) else frame.decode("utf-8", errors="replace")


def test_a_lead_saves_a_key_and_the_next_call_uses_it(
    page: Page, address: str, upstream: ScriptedUpstream, log: Path, tmp_path: Path
):
    person = Person(page, address)
    person.open("/")
    person.press("Create a project")
    page.get_by_role("textbox", name="Short name").fill("checkout-api")
    person.press("Create project")
    expect(page.get_by_role("dialog")).to_have_count(0)

    person.open("/integrations")
    person.reads("Qodex pays for the calls of checkout-api")
    person.press("Add your key")
    person.paste_key(WRONG_KEY)
    person.reads("OpenAI rejected this key")
    person.reads("Incorrect API key provided: [key hidden]")
    person.reads("Nothing was saved.")
    person.keep_what_is_shown()
    person.paste_key(f"  {GOOD_KEY} ")
    person.reads("•••• 0001 is in use from the next call on")
    expect(page.get_by_role("dialog")).to_have_count(0)
    person.keep_what_is_shown()

    person.press("Replace")
    person.paste_key(OTHER_KEY)
    person.reads("•••• 0002 is in use from the next call on")
    expect(page.get_by_role("dialog")).to_have_count(0)
    person.keep_what_is_shown()

    upstream.requests.clear()
    person.press("Send a test call")
    person.press("Send")
    person.reads("Hello from the scripted upstream")
    person.reads("BYOK •••• 0002")
    assert {seen.key for seen in upstream.requests} == {OTHER_KEY}

    page.get_by_role("link", name="Show run").click()
    person.reads("Passed")

    upstream.keys[OTHER_KEY] = "revoked"
    person.open("/integrations?project=checkout-api")
    person.press("Send a test call")
    person.press("Send")
    person.reads("Incorrect API key provided")
    page.keyboard.press("Escape")
    person.reads("OpenAI has rejected its key since")
    person.reads("1 call failed; nothing was spent on the platform key.")

    person.press("Remove")
    person.reads("platform-funded")
    person.press("Remove the key")
    person.reads("Qodex pays for the calls of checkout-api")
    person.keep_what_is_shown()

    assert person.foreign == []
    written = [path.read_bytes().decode(errors="replace") for path in (log, *tmp_path.glob("qodex.db*"))]
    for key in (GOOD_KEY, OTHER_KEY, WRONG_KEY):
        hidden = key[: len(key) - 4]
        assert not [text for text in person.received + written if key in text or hidden in text], key[-4:]

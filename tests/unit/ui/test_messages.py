"""What a browser that comes back after a lost connection asks for first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from lib.ui.shell import websocket_filter
from lib.ui.shell.websocket_filter import CAME_BACK, whole_page

PRESSED = {"id": "save", "trigger_value": True}
TYPED = {"id": "name", "string_value": "checkout-api"}


def after(**asked: object) -> tuple[str, str, list[str]]:
    """The part it is for, the address, and the widgets it tells of."""
    message = BackMsg(rerun_script={"query_string": "project=shop", **asked})
    sent = BackMsg.FromString(whole_page(message)).rerun_script
    return sent.fragment_id, sent.query_string, [state.id for state in sent.widget_states.widgets]


def test_a_part_of_the_page_becomes_the_page_and_what_was_pressed_in_it_is_not_kept_for_later():
    states = {"widgets": [PRESSED, TYPED]}
    assert after(fragment_id="dialog", widget_states=states) == (
        "",
        "project=shop&came_back=pressed",
        ["name"],
    )


def test_what_runs_by_itself_is_told_from_what_a_person_pressed():
    assert after(fragment_id="live", is_auto_rerun=True)[1] == "project=shop&came_back=by_itself"
    assert after()[1] == "project=shop&came_back=by_itself"


def test_what_is_pressed_on_the_page_itself_is_done():
    assert after(widget_states={"widgets": [PRESSED]}) == ("", "project=shop", ["save"])


def test_what_the_old_page_asks_for_by_itself_is_a_whole_page_too_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
):
    """The browser shows it until the new one has come; this process knows none of its parts."""
    part = BackMsg()
    part.rerun_script.fragment_id, part.rerun_script.is_auto_rerun = "of the old process", True
    passed: list[BackMsg] = []

    async def receive() -> dict[str, Any]:
        return {"bytes": part.SerializeToString()}

    async def app(_scope: Any, receive_one: Any, _send: Any) -> None:
        passed.extend([BackMsg.FromString((await receive_one())["bytes"]) for _ in range(3)])
        monkeypatch.setattr(websocket_filter, "OLD_PAGE_SECONDS", 0.0)

    async def send(_message: Any) -> None: ...

    for subprotocols in (
        ["protocol", "token", "session"],
        ["protocol", "token", "session"],
        ["protocol", "token"],
    ):
        scope = {"type": "websocket", "subprotocols": subprotocols}
        asyncio.run(websocket_filter.ExpectedMessages(app)(scope, receive, send))
    asked = [message.rerun_script for message in passed]
    assert [each.fragment_id == "" for each in asked] == [True] * 3 + [True, False, False] + [False] * 3
    assert [CAME_BACK in each.query_string for each in asked[:4]] == [True, False, False, True]

"""What a browser that comes back after a lost connection asks for first."""

from __future__ import annotations

from streamlit.proto.BackMsg_pb2 import BackMsg

from lib.ui.shell.websocket_filter import whole_page

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

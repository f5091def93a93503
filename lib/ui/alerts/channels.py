"""Where alerts go: the channels, and the mail of those who lead the project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib.alerts.channel_list import Channel
from lib.alerts.preferences import Preferences
from lib.errors import QodexError
from lib.formatting import count
from lib.secret import Secret
from lib.ui.alerts.choosing import choose
from lib.ui.alerts.labels import FROM, KINDS, kind_title
from lib.ui.base import notices
from lib.ui.base.badges import badge_column
from lib.ui.base.server import front_door
from lib.ui.base.wording import code, escape
from lib.ui.parts import cards
from lib.ui.parts.cards import Attention
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext

ADDING, REMOVING = "alert-channel:add", "alert-channel:remove"
_SIGNING = "alert-channel:signing"
_ATTEMPT = "alert-channel:attempt"
_CHOSEN = "alert-channel:chosen"
_COLORS = {"On": "green", "Failing": "orange", "Off": "red"}
_HELP = {
    "email": "name@example.com",
    "slack": "https://hooks.slack.com/services/…",
    "chat": "discord://…, workflows://…, tgram://… or the service's own https address",
    "webhook": "https://host/path",
}


def attention_of(found: Sequence[Channel], visit: PageContext) -> list[Attention]:
    """What is wrong with the channels, worst first."""
    lines = [
        Attention("Off", "red", f"**{escape(each.masked)}** gets no alerts. {escape(each.off_why or '')}")
        for each in found
        if each.off_at is not None and each.failing_since is not None
    ]
    if not visit.platform.alerts.mails and not any(each.off_at is None for each in found):
        lines.append(
            Attention(
                "No channel",
                "orange",
                "Alerts appear on this page only: no channel was added, and this server sends no mail (QODEX_SMTP_URL).",
            )
        )
    return lines


def draw_channels(
    slug: str | None, found: Sequence[Channel], preferences: Preferences, visit: PageContext
) -> None:
    """The channels as a table; what is done with the chosen one stands below."""
    cards.heading("Channels", note=count(len(found), "channel") if found else "")
    _mail(slug, preferences, visit)
    if found:
        channel = _table(found)
        if channel is None:
            st.caption("Choose a channel to test it, to switch it off or to remove it.")
        else:
            _buttons(slug, channel)
    else:
        st.caption("No channel yet. Add Slack, another chat, an e-mail address or a webhook.")
    notices.opener("Add a channel", ADDING, "add", "secondary" if found else "primary")


def _mail(slug: str | None, preferences: Preferences, visit: PageContext) -> None:
    """Who gets mail by their role, and the viewer's own choice."""
    people = "Administrators" if slug is None else "Leads of the project"
    if not visit.platform.alerts.mails:
        st.caption(f"{people} get no mail: no mail server is set up (QODEX_SMTP_URL, QODEX_MAIL_FROM).")
        return
    if visit.local:
        st.caption(f"{people} get mail; each of them may choose to get none.")
        return
    key = f"alert-mail:{slug}"
    st.session_state[key] = visit.actor.name not in preferences.without_mail

    def changed() -> None:
        wanted = bool(st.session_state[key])
        _said(
            lambda: front_door().alerts.preferences.want_mail(slug, wanted, actor=current_actor()),
            "Mail comes to you." if wanted else "No mail comes to you.",
        )

    st.checkbox(
        f"Mail to me ({visit.actor.name})",
        key=key,
        on_change=changed,
        help=f"{people} get mail by their role.",
    )


def _table(found: Sequence[Channel]) -> Channel | None:
    columns: dict[str, list[Any]] = {
        "Channel": [kind_title(each.kind) for each in found],
        "Address": [each.masked for each in found],
        "Gets": [FROM[each.least_severity] for each in found],
        "State": [[_state(each)] for each in found],
    }
    alt = f"{count(len(found), 'channel')}; choose one to test, switch or remove it"
    ids = [each.id for each in found]
    picked = choose(columns, ids=ids, alt=alt, config={"State": badge_column(_COLORS)})
    return None if picked is None else found[picked]


def _state(channel: Channel) -> str:
    if channel.off_at is not None:
        return "Off"
    return "On" if channel.failing_since is None else "Failing"


def _buttons(slug: str | None, channel: Channel) -> None:
    st.session_state[_CHOSEN] = channel.id
    with st.container(horizontal=True, gap="xsmall"):
        testing = st.button("Send a test", icon=":material/send:")
        on = channel.off_at is None
        switching = st.button("Switch off" if on else "Switch on", icon=":material/power_settings_new:")
        st.space("stretch")
        notices.opener(":red[Remove]", REMOVING, "delete", "tertiary")
    if testing:
        _test(slug, channel)
    if switching:
        act: Callable[[], object] = lambda: front_door().alerts.channels.switch(  # noqa: E731
            slug, channel.id, not on, actor=current_actor()
        )
        _said(act, f"{escape(channel.masked)} is {'off' if on else 'on'} now.")
        st.rerun()


def _test(slug: str | None, channel: Channel) -> None:
    with st.spinner("Sending. This takes at most 10 s.", show_time=True):
        try:
            answer = front_door().alerts.history.send_test(slug, channel.id, actor=current_actor())
        except QodexError as problem:
            st.error(escape(str(problem)), icon=":material/error:")
            return
    if answer.ok:
        notices.toast(f"{escape(channel.masked)} accepted the test.")
    else:
        notices.toast(
            f"{escape(channel.masked)} did not accept the test: {escape(answer.said)}", icon="error"
        )
    st.rerun()


def draw_dialogs(slug: str | None, found: Sequence[Channel]) -> None:
    """The dialogs that are open."""
    if notices.is_open(ADDING):
        title = "The signing secret" if _SIGNING in st.session_state else "Add a channel"
        st.dialog(title, width="medium", on_dismiss=_close)(_adding)(slug)
    else:
        # Closed otherwise, by another project for one: shown once is once.
        st.session_state.pop(_SIGNING, None)
    channel = next((each for each in found if each.id == st.session_state.get(_CHOSEN)), None)
    if notices.is_open(REMOVING) and channel is not None:
        st.dialog("Remove this channel?", on_dismiss=notices.close_dialog)(_removing)(slug, channel)


def _adding(slug: str | None) -> None:
    secret = st.session_state.get(_SIGNING)
    if isinstance(secret, Secret):
        _show_secret(secret)
        return
    kind = str(
        st.radio("Kind", list(KINDS), format_func=kind_title, captions=[KINDS[each][1] for each in KINDS])
    )
    attempt = int(st.session_state.get(_ATTEMPT, 0))
    field = f"alert-channel:address:{attempt}"
    with st.form(f"alert-channel:form:{attempt}", border=False):
        hidden = kind != "email"
        st.text_input(
            "Address",
            key=field,
            type="password" if hidden else "default",
            placeholder=_HELP[kind],
            autocomplete="off",
            help="It is sealed like a key; afterwards only its host and last characters are shown."
            if hidden
            else None,
        )
        least = str(st.selectbox("Gets", list(FROM), format_func=FROM.__getitem__))
        failure = st.container()
        sent = st.form_submit_button("Add", type="primary")
    if sent:
        address = Secret(str(st.session_state.pop(field, "") or ""))
        st.session_state[_ATTEMPT] = attempt + 1
        _add(slug, kind, address, least, failure)


def _add(
    slug: str | None, kind: str, address: Secret, least: str, failure: st.delta_generator.DeltaGenerator
) -> None:
    try:
        channel, secret = front_door().alerts.channels.add(
            slug, kind, address, actor=current_actor(), least_severity=least
        )
    except QodexError as problem:
        failure.error(escape(str(problem)), icon=":material/error:")
        return
    if secret is None:
        notices.close_dialog()
        notices.toast(f"{escape(channel.masked)} was added. Send a test to see that it arrives.")
    else:
        st.session_state[_SIGNING] = secret
    st.rerun()


def _show_secret(secret: Secret) -> None:
    st.markdown(
        "The receiver verifies our messages with this secret (Standard Webhooks, header `webhook-signature`). "
        "**It is shown this once.**"
    )
    st.code(secret.reveal(), language=None, wrap_lines=True)
    if st.button("Done", type="primary"):
        _close()
        st.rerun()


def _removing(slug: str | None, channel: Channel) -> None:
    st.markdown(f"{code(channel.masked)} gets no more alerts; what is on its way is dropped.")
    failure = st.container()
    if notices.confirmed("Remove", REMOVING):
        try:
            front_door().alerts.channels.remove(slug, channel.id, actor=current_actor())
        except QodexError as problem:
            failure.error(escape(str(problem)), icon=":material/error:")
            return
        notices.close_dialog()
        notices.toast(f"{escape(channel.masked)} was removed.")
        st.rerun()


def _close() -> None:
    notices.close_dialog()
    st.session_state.pop(_SIGNING, None)


def _said(act: Callable[[], object], done: str) -> None:
    try:
        act()
    except QodexError as problem:
        notices.toast(escape(str(problem)), icon="error")
    else:
        notices.toast(done)

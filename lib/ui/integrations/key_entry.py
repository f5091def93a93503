"""Typing a key: the one place of the product where a whole key comes in.

What was typed is cleaned on both sides. The form's name has a number that changes with each attempt, so the
browser has nothing to send again, and the server forgets the widget. After "could not check" the key waits
for "Try again" as a Secret, which nothing can print or store; it goes with the dialog.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from lib.errors import KeyChanged, KeyMalformed, KeyRejected, KeyUnchecked, KeyUnusable, QodexError
from lib.llm import registry
from lib.providers import title
from lib.secret import Secret
from lib.ui.base import loaders, notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import code, escape, key_name, quote
from lib.ui.shell.guards import current_actor
from lib.vault.states import KeyState

_ATTEMPT = "key-entry:attempt"
_WAITING = "key-entry:waiting"
_FAILED = "key-entry:failed"
_SEEN = "key-entry:seen"


def dialog(provider: str) -> str:
    """The name of the dialog for a key of this provider."""
    return f"key-entry:{provider}"


@dataclass(frozen=True)
class Failed:
    """What the dialog says about the last attempt; Markdown, safe to show."""

    title: str
    body: str
    may_retry: bool = False
    may_confirm: bool = False


def draw_key_entry(slug: str, state: KeyState) -> None:
    """Draw the dialog if it is open. What it said first is what the person saw: nobody else's key is overwritten."""
    if not notices.is_open(dialog(state.provider)):
        _forget(state.provider)
        return
    state = st.session_state.setdefault(_SEEN, state)
    name = f"{title(state.provider)} API key"
    heading = f"Replace the {name}" if state.version else f"Add your {name}"
    st.dialog(heading, width="medium", on_dismiss=_close)(lambda: _body(slug, state))()


def _body(slug: str, state: KeyState) -> None:
    st.markdown(_introduction(slug, state))
    provider = registry.provider(state.provider)
    failed: Failed | None = st.session_state.get(_FAILED)
    attempt = int(st.session_state.get(_ATTEMPT, 0))
    field = f"key-entry:typed:{attempt}"
    with st.form(f"key-entry:form:{attempt}", border=False):
        st.text_input(
            f"New {provider.facts.title} API key",
            key=field,
            type="password",
            placeholder=provider.key_hint.placeholder,
            autocomplete="off",
            help=provider.key_hint.help,
        )
        if failed:
            _draw_failed(failed, slug, state)
        progress = st.container()
        with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
            # Enter presses the first button of a form.
            sent = st.form_submit_button("Check and save", type="primary")
            again = bool(failed and failed.may_retry) and st.form_submit_button(
                "Try again", icon=":material/refresh:", help="Checks the same key once more."
            )
            anyway = bool(failed and failed.may_confirm) and st.form_submit_button(
                "Replace it anyway", help="Runs stop until this key can be used."
            )
            cancelled = st.form_submit_button("Cancel")
    if cancelled:
        _close()
        st.rerun()
    if sent or again or anyway:
        secret = _take(field, again=again or anyway)
        with progress, st.spinner(asking(state.provider), show_time=True):
            outcome = _save(slug, secret, state, anyway=anyway)
        _finish(outcome, secret, state.provider)


def asking(provider: str) -> str:
    """What to show while the provider is asked."""
    return f"Asking {title(provider)} about the key. This takes at most 10 s."


def _introduction(slug: str, state: KeyState) -> str:
    company = title(state.provider)
    if state.version:
        return (
            f"The new key is checked with {company} first. Until it is accepted, "
            f"{escape(key_name(state.last4))} stays in use."
        )
    return (
        f"The key is checked with {company} first. Once it is accepted, {company} bills the calls of "
        f"{escape(slug)} to your account. Afterwards only its last four characters are ever shown."
    )


def _draw_failed(failed: Failed, slug: str, state: KeyState) -> None:
    if failed.may_retry or failed.may_confirm:
        st.warning(failed.body, title=failed.title, icon=":material/warning:")
    else:
        st.error(failed.body, title=failed.title, icon=":material/error:")
    if state.version:
        st.markdown(
            f"Nothing was saved. **{escape(key_name(state.last4))}** stays in use, and runs go on with it."
        )
    else:
        st.markdown(f"Nothing was saved. {escape(slug)} stays platform-funded.")


def _take(field: str, *, again: bool) -> Secret:
    """What was typed, or what waits; afterwards neither the browser nor the session has it."""
    typed = Secret(st.session_state.pop(field, "") or "")
    st.session_state[_ATTEMPT] = int(st.session_state.get(_ATTEMPT, 0)) + 1
    waiting = st.session_state.pop(_WAITING, None)
    return waiting if again and not typed.reveal() and isinstance(waiting, Secret) else typed


def _save(slug: str, secret: Secret, state: KeyState, *, anyway: bool) -> KeyState | QodexError:
    """One call into lib, without Streamlit in between: an interrupted page cannot leave half of it."""
    try:
        return front_door().keys.save(
            slug,
            secret.reveal(),
            actor=current_actor(),
            expected_version=state.version,
            accept_unusable=anyway,
            provider=state.provider,
        )
    except QodexError as problem:
        return problem.with_traceback(None)


def _finish(outcome: KeyState | QodexError, secret: Secret, provider: str) -> None:
    if isinstance(outcome, KeyState):
        _close()
        loaders.forget()
        tried = "" if outcome.obstacle else " Send a test call to see whether it can pay."
        notices.toast(f"{escape(key_name(outcome.last4))} is in use from the next call on.{tried}")
        st.rerun()
    failed = st.session_state[_FAILED] = explain(outcome, provider)
    if failed.may_retry or failed.may_confirm:
        st.session_state[_WAITING] = secret
    if isinstance(outcome, KeyChanged):
        st.session_state.pop(_SEEN, None)  # from here on the person sees the other one's key
        st.rerun()
    notices.draw_dialog_again()


def explain(problem: QodexError, provider: str) -> Failed:
    """A refusal in the provider's own words, or why it could not be asked."""
    company, a_key = title(provider), registry.provider(provider).key_hint.a_key
    if isinstance(problem, KeyRejected):
        said = [
            quote(problem.message),
            "",
            " ".join(_codes(problem.status, problem.code, problem.request_id)),
        ]
        return Failed(f"{company} rejected this key", "\n".join(said))
    if isinstance(problem, KeyUnusable):
        codes = " ".join(_codes(None, problem.code, problem.request_id))
        body = f"{escape(problem.message)} {codes}".strip()
        return Failed(f"{company} knows this key, but it cannot be used now", body, may_confirm=True)
    if isinstance(problem, KeyUnchecked):
        codes = " ".join(_codes(problem.status, None, problem.request_id))
        return Failed("Could not check the key", f"{escape(problem.reason)} {codes}".strip(), may_retry=True)
    if isinstance(problem, KeyMalformed):
        return Failed(f"This cannot be {a_key}", escape(problem.sentence))
    return Failed("The key was not saved", escape(problem.sentence))


def _codes(status: int | None, error_code: str | None, request_id: str | None) -> list[str]:
    found = [code(str(part)) for part in (status, error_code) if part]
    return [*found, *([f"· request {code(request_id)}"] if request_id else [])]


def _close() -> None:
    notices.close_dialog()
    _forget()


def _forget(provider: str | None = None) -> None:
    """What the dialog of this provider, or any, has left."""
    seen: KeyState | None = st.session_state.get(_SEEN)
    if provider is not None and seen is not None and seen.provider != provider:
        return
    for name in (_WAITING, _FAILED, _SEEN):
        st.session_state.pop(name, None)

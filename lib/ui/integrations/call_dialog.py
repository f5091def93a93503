"""A test call from the browser, through the very client that workers use."""

from __future__ import annotations

import streamlit as st

from lib.errors import QodexError
from lib.formatting import count, latency, money
from lib.llm import registry
from lib.platform import TestCall
from lib.providers import title
from lib.ui.base import loaders, notices
from lib.ui.base.navigation import RUN_LOGS, link
from lib.ui.base.server import front_door
from lib.ui.base.wording import SOURCE_COLOR, badge, code, escape, payer, quote, run_status
from lib.ui.parts.cards import card, facts
from lib.ui.shell.guards import current_actor
from lib.usage.event_row import EventRow

_RESULT = "test-call:result"
PROMPT = "Say hello in five words."


def dialog(provider: str) -> str:
    """The name of the dialog for a call to this provider."""
    return f"test-call:{provider}"


def draw_test_call(slug: str, provider: str) -> None:
    """Draw the dialog if it is open."""
    if not notices.is_open(dialog(provider)):
        st.session_state.pop(f"{_RESULT}:{provider}", None)
        return
    name = f"Send a test call to {title(provider)}"
    st.dialog(name, width="medium", on_dismiss=lambda: _close(provider))(lambda: _body(slug, provider))()


def _body(slug: str, provider: str) -> None:
    kept = f"{_RESULT}:{provider}"
    result: TestCall | QodexError | None = st.session_state.get(kept)
    models = registry.provider(provider).test_models
    with st.form(f"test-call:form:{provider}", border=False):
        left, right = st.columns([2, 3])
        model = left.selectbox("Model", models, key=f"test-call:model:{provider}", accept_new_options=True)
        prompt = right.text_input("Prompt", PROMPT, key=f"test-call:prompt:{provider}", max_chars=500)
        place = st.container()
        with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
            # Enter presses the first button of a form.
            sent = st.form_submit_button("Send", type="primary", icon=":material/send:")
            closed = st.form_submit_button("Close")
    if closed:
        _close(provider)
        st.rerun()
    with place:
        if sent:
            with st.spinner("Waiting for the answer…", show_time=True):
                result = _send(slug, provider, str(model or ""), str(prompt or ""))
                st.session_state[kept] = result
            loaders.forget()
        if isinstance(result, QodexError):
            st.error(escape(str(result)), title="The call was not sent", icon=":material/error:")
        elif result is not None:
            _draw_result(result)


def _send(slug: str, provider: str, model: str, prompt: str) -> TestCall | QodexError:
    try:
        return front_door().test_call(slug, model, prompt, actor=current_actor(), provider=provider)
    except QodexError as problem:
        return problem.with_traceback(None)


def _draw_result(result: TestCall) -> None:
    run = result.detail.run
    word, color = run_status(run.status, stopped_by=run.stopped_by, failed_calls=run.failed_calls)
    last = result.detail.calls[-1] if result.detail.calls else None
    with card():
        st.markdown(f"**Answer** {badge(word, color)}")
        is_quoted = result.answer is None and last is not None and bool(last.error_message)
        st.markdown(quote(result.sentence) if is_quoted else escape(result.sentence))
        for line in result.detail.log:
            st.caption(escape(line.message))
        if last is not None:
            facts(_facts(last), alt="What the test call used and cost")
        link(RUN_LOGS, f"Show run {run.run_id}", run=run.run_id, project=run.project)


def _facts(call: EventRow) -> dict[str, str]:
    bill = f"{title(call.provider)} bills your account" if call.source == "byok" else "Qodex pays"
    request = code(call.upstream_request_id) if call.upstream_request_id else "no id was given"
    rows = {
        "Paid by": f"{badge(payer(call.source, call.key_last4), SOURCE_COLOR[call.source])} {bill}",
        "Tokens": _tokens(call),
        "Cost": escape(money(call.cost_nano)),
        "Latency": latency(call.latency_ms),
        "Request id": request,
    }
    if call.status != "ok":
        answer = {"HTTP status": call.http_status, "Code": call.error_code, "Type": call.error_type}
        said = {name: code(str(value)) for name, value in answer.items() if value}
        rows = (said or {"Error": escape(call.status)}) | rows
    return rows


def _tokens(call: EventRow) -> str:
    if call.input_tokens is None or call.output_tokens is None:
        return "unknown"
    thought = f" ({count(call.reasoning_tokens)} reasoning)" if call.reasoning_tokens else ""
    return f"{count(call.input_tokens)} input, {count(call.output_tokens)} output{thought}"


def _close(provider: str) -> None:
    notices.close_dialog()
    st.session_state.pop(f"{_RESULT}:{provider}", None)

"""The product's main script, or an empty page that does nothing but count its reruns."""

from __future__ import annotations

import runpy
from urllib.parse import urlsplit

import streamlit as st

from lib.settings import ROOT


def _empty() -> None:
    st.button("Again")
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.write(f"run {st.session_state['runs']}.")


if urlsplit(st.context.url or "").path == "/empty":
    other = st.Page(lambda: None, title="Other", url_path="other", default=True)
    st.navigation([other, st.Page(_empty, title="Empty", url_path="empty")], position="hidden").run()
else:
    runpy.run_path(str(ROOT / "lib" / "ui" / "main.py"), run_name="main_script")

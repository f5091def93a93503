"""The product's main script; an empty page that does nothing but count its reruns; a page with a chart and a table."""

from __future__ import annotations

import runpy
from urllib.parse import urlsplit

import streamlit as st

from lib.settings import ROOT


def _empty() -> None:
    st.button("Again")
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.write(f"run {st.session_state['runs']}.")


def _plain() -> None:
    numbers = [number % 7 for number in range(30)]
    st.bar_chart({"USD": numbers})
    st.dataframe({"USD": numbers})


PAGES = {"/empty": _empty, "/plain": _plain}
path = urlsplit(st.context.url or "").path
if path in PAGES:
    pages = [st.Page(draw, title=name, url_path=name.strip("/")) for name, draw in PAGES.items()]
    other = st.Page(lambda: None, title="Other", url_path="other", default=True)
    st.navigation([other, *pages], position="hidden").run()
else:
    runpy.run_path(str(ROOT / "lib" / "ui" / "main.py"), run_name="main_script")

"""The dashboard as ``app.py`` serves it, at the time of a generated database; and two pages to compare it with.

``BENCH_DEFAULTS=1`` leaves out what our server does for speed; ``BENCH_LINKS`` is what links to exports are
signed with, so that the benchmark can sign one.
"""

from __future__ import annotations

import gc
import os
import time
from functools import partial
from pathlib import Path

import streamlit as st

from bench.traffic import END
from lib.platform import Platform
from lib.ui.base import navigation, server
from lib.ui.shell import startup
from lib.ui.shell.failures import show_failure
from lib.web.downloads import links
from lib.web.routes import middleware, routes

_started = time.time_ns() // 1000
server.Platform = partial(Platform, clock=lambda: END + time.time_ns() // 1000 - _started)  # type: ignore[misc]
links._LOCAL_SECRET = os.environ.get("BENCH_LINKS", links._LOCAL_SECRET)  # noqa: SLF001
if os.environ.get("BENCH_DEFAULTS"):
    gc.freeze = lambda: None
shell = startup.page_shell()
app = st.App(
    Path(__file__).parent / "main.py",
    # The pages to compare with begin as Streamlit's own.
    routes=[*shell.routes(navigation.paths()), *routes(startup.check, server.export_desk)],
    middleware=middleware(
        startup.hosts(), pages=[*navigation.paths(), "/empty", "/plain"], scripts=shell.script_hashes
    ),
    lifespan=startup.lifespan,
    on_script_error=show_failure,
)

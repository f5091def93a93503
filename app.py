"""The server: Streamlit's application with our routes, middleware and lifespan around the main script.

The main script stands in ``lib/ui``: beside ``pages/`` Streamlit would serve pages past its gate.
"""

from __future__ import annotations

import streamlit as st

from lib.settings import ROOT
from lib.ui.base import navigation
from lib.ui.base.server import export_desk
from lib.ui.shell import startup
from lib.ui.shell.failures import show_failure
from lib.ui.shell.websocket_filter import ExpectedMessages
from lib.web.half_sent import limit_half_sent_requests
from lib.web.routes import middleware, routes

limit_half_sent_requests()
startup.read_configuration()
startup.refuse_what_cannot_be_served()
startup.admit_public_name()
startup.share_sign_ins()
shell = startup.page_shell()
app = st.App(
    ROOT / "lib" / "ui" / "main.py",
    routes=[*shell.routes(navigation.paths()), *routes(startup.check, export_desk)],
    middleware=middleware(
        startup.hosts(),
        pages=navigation.paths(),
        https=startup.is_https(),
        local=startup.is_local(),
        scripts=shell.script_hashes,
        inside=[ExpectedMessages],
    ),
    secrets=startup.secrets(),
    lifespan=startup.lifespan,
    on_script_error=show_failure,
)

"""The export card: the same filter as the page, as a file that the export route makes (``lib.web.exports``)."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lib.access.roles import Actor
from lib.clock import HOUR
from lib.ui import loaders, signin
from lib.ui.cards import card, card_title, facts
from lib.ui.filters import Chosen
from lib.ui.guards import acting
from lib.ui.server import front_door
from lib.ui.wording import SOURCE, count, escape, money
from lib.usage.reports import Totals, UsageFilter
from lib.web.links import COOKIE, HOLDS, Link, Signer, clean_browser

LONGEST_ADDRESS = 6_000
"""Characters of a link; servers and proxies refuse much longer ones."""

_FORMATS = {
    "csv": ("Calls, one row each (CSV)", "Can be imported again to the same numbers"),
    "daily-csv": ("Days (CSV)", "One row per day, project, source, provider and model"),
    "parquet": ("Calls, one row each (Parquet)", "The same with exact types, for pandas and other tools"),
}
_LABELS = {"csv": "Download CSV", "daily-csv": "Download CSV", "parquet": "Download Parquet"}


def draw(wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int) -> None:
    """Format on the left; on the right what the file will hold, and the link that makes it."""
    actor = acting()
    with card():
        card_title("Export", note="exactly what the filters above select")
        left, right = st.columns(2, gap="large")
        with left:
            kind = _choose_format()
        with right:
            rows = len(loaders.daily(wanted, actor)) if kind == "daily-csv" else sums.calls
            _describe(wanted, sums, chosen, projects=projects, rows=rows)
            _link(wanted, kind, actor)


def _choose_format() -> str:
    kind = st.radio(
        "Format",
        list(_FORMATS),
        key="export:format",
        format_func=lambda name: _FORMATS[name][0],
        captions=[caption for _, caption in _FORMATS.values()],
        label_visibility="collapsed",
    )
    return str(kind)


def _describe(wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int, rows: int) -> None:
    some = f"{len(wanted.projects) or projects} of {count(projects, 'project')}"
    sources = " and ".join(SOURCE[name] for name in wanted.sources) or "both sources"
    content = {
        "Period": escape(chosen.label),
        "Filter": f"{some}, {sources}",
        "Rows": count(rows),
        "Cost": escape(money(sums.total_nano)),
    }
    facts(content, alt="What the export holds")


def _link(wanted: UsageFilter, kind: str, actor: Actor) -> None:
    # What the file could not be made for opens beside the page, as a sentence; a file leaves no tab behind.
    address, missing = _address(wanted, kind, actor)
    st.link_button(
        _LABELS[kind], address, type="primary", icon=":material/download:", disabled=missing is not None
    )
    st.caption(missing or f"The link works in this browser, for {HOLDS // HOUR} hours.")


def _address(wanted: UsageFilter, kind: str, actor: Actor) -> tuple[str, str | None]:
    """Where the file is; or why there is no link."""
    browser, settings = this_browser(), front_door().settings
    if browser is None:
        return "", "Reload this page to export; your browser must accept cookies of this site."
    link = Link(actor.name, wanted, kind)
    if settings.oidc_issuer:
        token = signin.token()
        link = replace(link, session=token.id, signed_in_at=token.issued_at)
    address = Signer(settings).address(link, browser)
    if len(address) > LONGEST_ADDRESS:
        return "", "So many filters do not fit into a link. Choose fewer, or export on the server."
    return address, None


def this_browser() -> str | None:
    """The cookie that names the browser in front of the page."""
    return clean_browser(st.context.cookies.get(COOKIE))

"""The export card: the same filter as the page, as a file that is prepared while one watches, or sent at once."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lib.access.roles import Actor
from lib.clock import HOUR
from lib.errors import QodexError
from lib.exchange.daily_summary import about_rows
from lib.formatting import count, moneys, size
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import in_sample
from lib.ui.base.server import export_desk, front_door, real_front_door
from lib.ui.base.wording import NOBODY, SOURCE, escape, key_name
from lib.ui.parts.cards import card, facts, heading
from lib.ui.shell import signin
from lib.ui.shell.guards import current_actor
from lib.ui.usage.export_progress import JOB, draw_job, drop_job
from lib.web.downloads.export_files import MOST_SAID
from lib.web.downloads.export_jobs import ExportJob
from lib.web.downloads.links import COOKIE, HOLDS, Link, Signer, address_of, clean_browser

LONGEST_ADDRESS = 6_000
"""Characters of a link; servers and proxies refuse much longer ones."""

_FORMATS = {
    "csv": ("Calls, one row each (CSV)", "Can be imported again to the same numbers"),
    "daily-csv": ("Days (CSV)", "One row per day, project, source, provider and model"),
    "parquet": ("Calls, one row each (Parquet)", "The same with exact types, for pandas and other tools"),
}
_NAMES = {"csv": "CSV", "daily-csv": "CSV", "parquet": "Parquet"}
_BYTES_A_ROW = {"csv": 220, "daily-csv": 90, "parquet": 60}
_PROBLEM = "export:problem"
_SAME_PERIOD = HOUR  # the last 24 hours move on while one looks


def draw_export_card(wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int) -> None:
    """Format on the left; on the right what the file will hold, and how one gets it."""
    actor = current_actor()
    with card():
        heading("Export", note="exactly what the filters above select")
        left, right = st.columns(2, gap="large")
        with left:
            kind = _choose_format()
            labels = _choose_labels(actor)
        with right:
            rows = about_rows(front_door().database, wanted, actor) if kind == "daily-csv" else sums.calls
            _describe(wanted, sums, chosen, projects=projects, rows=rows, kind=kind)
            link, token, missing = _link(wanted, kind, actor, labels=labels)
            job: ExportJob | None = st.session_state.get(JOB)
            if job is None or job.ended.is_set():
                _offer(link, token, missing)
            if job is not None:
                draw_job(job, rows, same=_is_same(job.link, link))


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


def _choose_labels(actor: Actor) -> bool:
    """Whether the file has them, too; nothing to choose where no project has any."""
    names = loaders.cached(front_door().reports.filter_options, actor=actor).labels
    if not names:
        return False
    return st.checkbox(
        "Label columns",
        key="export:labels",
        help=escape(f"One more for each label: {', '.join(names)}. The value is that of the call's day."),
    )


def _describe(
    wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int, rows: int, kind: str
) -> None:
    content = {
        "Period": escape(chosen.label),
        "Filter": escape(_filter_in_words(wanted, projects)),
        "Rows": f"about {count(rows)}, {size(rows * _BYTES_A_ROW[kind])}",
        "Cost": escape("{} platform-funded, {} BYOK".format(*moneys(sums.platform_nano, sums.byok_nano))),
    }
    facts(content, alt="What the export holds")


def _filter_in_words(wanted: UsageFilter, projects: int) -> str:
    some = wanted.projects[0] if len(wanted.projects) == 1 else f"{len(wanted.projects) or projects} projects"
    words = [
        some if wanted.projects else f"all {count(projects, 'project')}",
        " and ".join(SOURCE[name] for name in wanted.sources) or "both sources",
    ]
    for noun, chosen in (
        ("provider", wanted.providers),
        ("model", wanted.models),
        ("run kind", wanted.kinds),
        ("status", wanted.statuses),
        ("label", wanted.labels),
        ("user", tuple(each or NOBODY for each in wanted.users)),
        ("key", tuple(key_name(each) if each else "not known" for each in wanted.keys)),
    ):
        if chosen:
            words.append(f"{noun} {', '.join(chosen)}" if len(chosen) < 4 else count(len(chosen), noun))  # noqa: PLR2004
    return ", ".join(words)


def _offer(link: Link, token: str, missing: str | None) -> None:
    name = _NAMES[link.format]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            f"Prepare {name}",
            key="export:prepare",
            type="primary",
            icon=":material/hourglass_empty:",
            disabled=missing is not None,
            on_click=_prepare,
            args=(link, token),
        )
        # What the file could not be made for opens beside the page, as a sentence; a file leaves no tab behind.
        st.link_button(
            f"Download {name} directly",
            "" if missing else address_of(link, token),
            type="tertiary",
            icon=":material/download:",
            disabled=missing is not None,
        )
    held = f"Links work for {HOLDS // HOUR} hours in this browser. Files are limited to {MOST_SAID}."
    st.caption(missing or held)
    problem = st.session_state.pop(_PROBLEM, None)
    if problem:
        st.warning(escape(problem))


def _prepare(link: Link, token: str) -> None:
    try:
        drop_job()
        st.session_state[JOB] = export_desk.prepare(link, token, current_actor())
    except QodexError as problem:
        st.session_state[_PROBLEM] = problem.sentence


def _link(wanted: UsageFilter, kind: str, actor: Actor, *, labels: bool) -> tuple[Link, str, str | None]:
    """The link to the file and its token; or why there is none."""
    browser, settings = this_browser(), real_front_door().settings
    link = Link(actor.name, wanted, kind, sample=in_sample(), labels=labels)
    if browser is None:
        return link, "", "Reload this page to export; your browser must accept cookies of this site."
    if settings.oidc_issuer:
        signed_in = signin.token()
        link = replace(link, session=signed_in.id, signed_in_at=signed_in.issued_at)
    token = Signer(settings).token(link, browser)
    if len(address_of(link, token)) > LONGEST_ADDRESS:
        return link, "", "So many filters do not fit into a link. Choose fewer, or export on the server."
    return link, token, None


def _is_same(prepared: Link, now: Link) -> bool:
    """Whether a prepared file is what the page shows; a period that ends now has moved on a little."""
    before, after = prepared.wanted, now.wanted
    moved = [
        abs((since or 0) - (again or 0))
        for since, again in ((before.since, after.since), (before.until, after.until))
    ]
    return (
        (prepared.format, prepared.sample, prepared.labels) == (now.format, now.sample, now.labels)
        and max(moved) < _SAME_PERIOD
        and replace(before, since=None, until=None) == replace(after, since=None, until=None)
    )


def this_browser() -> str | None:
    """The cookie that names the browser in front of the page."""
    return clean_browser(st.context.cookies.get(COOKIE))

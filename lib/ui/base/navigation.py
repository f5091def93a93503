"""Which pages there are, and links between them that keep project, period and zone in the address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import streamlit as st

from lib.access.roles import Action, Actor, allows
from lib.llm import registry
from lib.settings import ROOT

SAMPLE = "sample"
"""In the address of pages that show the sample data: ``sample=1``."""

KEPT = ("project", "label", "period", "from", "to", "zone", SAMPLE)
"""What a link to another page takes along from the address."""


def in_sample() -> bool:
    """Whether this page shows the sample data in page of real projects."""
    return st.query_params.get(SAMPLE) == "1"


@dataclass(frozen=True)
class Page:
    """One page: its file, title and address. Files of ``pages/<section>/<page>.py``."""

    file: str
    title: str
    icon: str
    path: str
    purpose: str
    action: Action = Action.SEE_SPEND
    """What one must be allowed to do in some project to be offered the page; the page itself checks."""

    @property
    def for_streamlit(self) -> st.Page:
        """For Streamlit's navigation; made anew for each run, as Streamlit asks for."""
        return st.Page(
            ROOT / "pages" / self.file,
            title=self.title,
            icon=f":material/{self.icon}:",
            url_path=self.path or None,
            default=not self.path,
        )


OVERVIEW = Page("spend/overview.py", "Overview", "finance", "", "All projects at a glance")
RUN_LOGS = Page("runs/run_logs.py", "Run logs", "receipt_long", "run_logs", "Runs, their calls and failures")
INTEGRATIONS = Page(
    "settings/integrations.py", "Integrations", "key", "integrations", f"{registry.titles()} API key"
)
USAGE = Page("settings/usage.py", "Usage", "bar_chart", "usage", "Charts, filters and exports")
PLAN = Page("settings/plan.py", "Plan", "speed", "plan", "Plan, caps and what rolls off when")
PROJECT = Page("settings/project.py", "Project", "folder", "project", "Title, labels, archive")
MEMBERS = Page(
    "settings/members.py", "Members", "group", "members", "Who has which role", Action.MANAGE_MEMBERS
)
ALERTS = Page(
    "settings/alerts.py",
    "Alerts",
    "notifications",
    "alerts",
    "Channels, thresholds, quiet hours and recent alerts",
)
AUDIT_LOG = Page(
    "settings/audit_log.py",
    "Audit log",
    "history",
    "audit_log",
    "Every change, by whom",
    Action.SEE_AUDIT_LOG,
)

GUIDE = Page("help/guide.py", "Guide", "menu_book", "guide", "How Qodex works, searched")

SECTIONS: Mapping[str, tuple[Page, ...]] = {
    "Spend": (OVERVIEW,),
    "Runs": (RUN_LOGS,),
    "Settings": (INTEGRATIONS, USAGE, PLAN, PROJECT, ALERTS, MEMBERS, AUDIT_LOG),
    "Help": (GUIDE,),
}


def pages() -> Iterator[Page]:
    """All pages, in the order of the sidebar."""
    for section in SECTIONS.values():
        yield from section


def paths() -> list[str]:
    """The addresses of all pages, as ``/usage``."""
    return [f"/{page.path}" for page in pages()]


def begins_with_chart(path: str) -> bool:
    """Whether the page at this address has a chart near its top, for which all else waits."""
    return path in {OVERVIEW.path, USAGE.path}


def draw_first_section(actor: Actor) -> None:
    """The sidebar's beginning, which gives it its place: without it, what is drawn beside it would move."""
    _draw_section(next(iter(SECTIONS)), actor)


def draw_other_sections(actor: Actor, *, local: bool) -> None:
    """Captions and links by section; Streamlit's own sections fail the accessibility check."""
    for section in list(SECTIONS)[1:]:
        _draw_section(section, actor)
    if local:
        with st.sidebar:
            st.space("small")
            st.caption(":material/lock_open: Local mode: everyone on this machine is an administrator")


def _draw_section(section: str, actor: Actor) -> None:
    somewhere = (None, *actor.projects)
    with st.sidebar, st.container(gap="xxsmall"):
        st.caption(section)
        for page in SECTIONS[section]:
            if any(allows(actor, page.action, project) for project in somewhere):
                st.page_link(page.for_streamlit, query_params=_kept(), width="stretch", help="")


def link(page: Page, label: str, *, icon: bool = True, **address: str | list[str]) -> None:
    """A link to another page, with what ``address`` says of it; it opens in the same tab."""
    st.page_link(
        page.for_streamlit,
        label=label,
        icon=":material/chevron_right:" if icon else "",
        icon_position="right",
        help="",
        query_params=_without_empty(address),
    )


def go(page: Page, **address: str | list[str]) -> None:
    """Switch to another page at once."""
    st.switch_page(page.for_streamlit, query_params=_without_empty(address))


def _without_empty(address: Mapping[str, str | list[str]]) -> dict[str, str | list[str]]:
    """What the address says; within the sample data a link stays there unless it says otherwise."""
    here: dict[str, str | list[str]] = {SAMPLE: "1"} if in_sample() else {}
    return {name: value for name, value in (here | dict(address)).items() if value}


def _kept() -> dict[str, str | list[str]]:
    return {name: st.query_params.get_all(name) for name in KEPT if name in st.query_params}

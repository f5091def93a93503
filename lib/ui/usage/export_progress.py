"""A file on its way: how far it is, then what it holds, and its links."""

from __future__ import annotations

import streamlit as st

from lib.formatting import count, moneys, size
from lib.ui.base.server import export_desk
from lib.ui.base.wording import SOURCE, escape
from lib.ui.parts.cards import facts
from lib.web.downloads.export_files import ExportFile
from lib.web.downloads.export_jobs import KEPT_SECONDS, ExportJob

JOB = "export:job"
_SECONDS = 1.0


def draw_job(job: ExportJob, rows: int, *, same: bool) -> None:
    """Draw how it stands; while it is written that much of the page runs again each second.

    Args:
        job: the file.
        rows: about how many it will have.
        same: whether its filters are those of the page.
    """
    under_way = not job.ended.is_set()
    st.fragment(_body, run_every=_SECONDS if under_way else None)(job, rows, same=same, under_way=under_way)


def drop_job() -> None:
    """Give up the writing, or forget the file."""
    job: ExportJob | None = st.session_state.pop(JOB, None)
    if job is not None:
        export_desk.drop(job)


def _body(job: ExportJob, rows: int, *, same: bool, under_way: bool) -> None:
    job.look()
    if under_way and job.ended.is_set():
        st.rerun()  # the whole page: it does not run by itself any more
    if under_way:
        _draw_progress(job, rows)
    elif job.made is None:
        st.error(escape(job.problem or ""), title="The file was not made", icon=":material/error:")
    else:
        _draw_result(job, job.made, same=same)


def _draw_progress(job: ExportJob, rows: int) -> None:
    if job.waits:
        st.caption(f"{escape(job.waits)} Yours begins when there is room.")
    else:
        share = min(job.rows / rows, 1.0) if rows else 0.0
        st.progress(share, text=f"{count(job.rows)} of about {count(rows, 'row')} written")
    st.button("Cancel", key="export:cancel", on_click=drop_job)


def _draw_result(job: ExportJob, made: ExportFile, *, same: bool) -> None:
    done = made.done
    st.markdown(f"**{escape(made.name)}**")
    amounts = moneys(done.platform_nano, done.byok_nano)
    content = {
        "Rows": count(done.rows),
        **{
            SOURCE[source]: escape(words) for source, words in zip(("platform", "byok"), amounts, strict=True)
        },
        "Cost unknown": count(done.unpriced_calls, "call"),
        "Size": f"{size(done.bytes)} ({count(done.bytes, 'byte')})",
    }
    facts(content, alt="What the prepared file holds")
    st.caption("SHA-256")
    st.code(done.sha256, language=None, wrap_lines=True)
    with st.container(horizontal=True, gap="small"):
        st.link_button("Download", job.address, type="primary", icon=":material/download:")
        st.link_button("Download .meta.json", f"{job.address}&meta=1", type="tertiary")
    kept = f"Kept for {KEPT_SECONDS // 60} minutes; after that its link writes the file anew."
    st.caption(kept if same else f"Prepared with other filters than those above. {kept}")

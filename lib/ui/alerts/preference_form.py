"""Which thresholds are told, and the hours in which only what is critical is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from lib.alerts.preferences import Preferences
from lib.errors import QodexError
from lib.ui.base import notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.parts import cards
from lib.ui.shell.guards import current_actor

_OFFERED = (50, 80, 95)
_HOURS = list(range(24))


@dataclass(frozen=True)
class PreferenceForm:
    """How alerts of a project, or of the platform (``slug`` None), are wanted."""

    slug: str | None
    preferences: Preferences

    def draw(self) -> None:
        """The form; saved with one button."""
        cards.heading("When alerts are sent")
        with st.form(f"preferences:{self.slug}", border=False):
            percents = self._thresholds() if self.slug is not None else list(self.preferences.thresholds)
            quiet = self._quiet()
            st.caption("Info alerts come in one daily digest at 08:00. Webhooks get every alert at once.")
            sent = st.form_submit_button("Save")
        if sent:
            self._save(percents, quiet)

    def _thresholds(self) -> list[int]:
        st.markdown("Cap thresholds")
        chosen = self.preferences.thresholds
        offered = sorted({*_OFFERED, *chosen})
        with st.container(horizontal=True, gap="small"):
            ticked = [
                st.checkbox(f"{each}%", value=each in chosen, key=f"preferences:{self.slug}:{each}")
                for each in offered
            ]
        st.caption("Reaching a cap always sends an alert that says when room returns.")
        return [each for each, on in zip(offered, ticked, strict=True) if on]

    def _quiet(self) -> tuple[int, int] | None:
        begin, end = self.preferences.quiet_from, self.preferences.quiet_until
        on = st.checkbox(
            "Quiet hours: critical alerts only",
            value=begin is not None,
            key=f"preferences:{self.slug}:quiet",
        )
        with st.container(horizontal=True, gap="small"):
            first = self._hour("From", 22 if begin is None else begin)
            last = self._hour("Until", 7 if end is None else end)
        return (first, last) if on else None

    def _hour(self, label: str, value: int) -> int:
        key = f"preferences:{self.slug}:{label}"
        chosen = st.selectbox(
            label, _HOURS, index=value, format_func=lambda hour: f"{hour:02}:00", key=key, width=110
        )
        return int(chosen)

    def _save(self, percents: Sequence[int], quiet: tuple[int, int] | None) -> None:
        try:
            front_door().alerts.preferences.set(
                self.slug, percents=percents, quiet=quiet, actor=current_actor()
            )
        except QodexError as problem:
            st.error(escape(str(problem)), icon=":material/error:")
            return
        notices.toast("Saved.")
        st.rerun()

"""What is chosen on a page lives in its address, so that a view can be sent to a colleague.

The address is the only truth: each run sets a widget to what the address says (a wrong value is as good as
none), and a change of the widget changes the address. So links, reloads and the back button all work, and
the address holds short codes, not the words on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import streamlit as st

from lib.usage.periods import is_day


def one(name: str, options: Sequence[str], default: str) -> str:
    """What the address says of ``name``, if it is among the options."""
    value = st.query_params.get(name, default)
    return value if value in options else default


def many(name: str, options: Sequence[str]) -> list[str]:
    """A filter of which several may be chosen; none means all."""
    chosen = set(st.query_params.get_all(name))
    return [option for option in options if option in chosen]


def text(name: str, longest: int) -> str:
    """Free text of the address, cut to length."""
    return st.query_params.get(name, "")[:longest]


def number(name: str, *, most: int) -> int:
    """A number from 1 to ``most``; 1 where it is none."""
    value = st.query_params.get(name, "")
    return min(int(value), most) if value.isdecimal() and len(value) < 10 and int(value) > 0 else 1  # noqa: PLR2004


def day(name: str) -> date | None:
    """A date like 2026-11-23; None where it is none, or none that may be asked for."""
    try:
        found = date.fromisoformat(st.query_params.get(name, ""))
    except ValueError:
        return None
    return found if is_day(found) else None


def put(name: str, value: str | Sequence[str] | None, *, default: str = "") -> None:
    """Say it in the address; the default is not said, and a new filter begins at the first page."""
    if not value or value == default:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value if isinstance(value, str) else list(value)
    if name != "page":
        st.query_params.pop("page", None)


def put_silently(name: str, value: str | None) -> None:
    """Put a parameter that is no filter: the page of the list stays."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def clear(*names: str) -> None:
    """Take these out of the address."""
    for name in names:
        st.query_params.pop(name, None)


def select(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str,
    width: int,
    format_func: Callable[[str], str] = str,
) -> str:
    """A choice of one, without its label: the page's title and context say what it is."""
    key = f"address:{name}"
    st.session_state[key] = one(name, options, default)

    def changed() -> None:
        put(name, st.session_state[key], default=default)

    return str(
        st.selectbox(
            label,
            options,
            key=key,
            on_change=changed,
            format_func=format_func,
            label_visibility="collapsed",
            width=width,
        )
    )


def has_unknown(name: str, options: Sequence[str]) -> bool:
    """Whether the address names something that is not among the options: a stale link, or one of somebody else."""
    return not set(st.query_params.get_all(name)) <= set(options)


def select_many(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    said: str | None = None,
    format_func: Callable[[str], str] = str,
) -> list[str]:
    """A choice of several behind a button that says its state: ``Projects: 3 of 8``. None chosen means all."""
    key = f"address:{name}"
    chosen = st.session_state[key] = many(name, options)

    def changed() -> None:
        put(name, st.session_state[key])

    with st.popover(f"{label}: {said or _state(chosen, options, format_func)}"):
        st.multiselect(label, options, key=key, on_change=changed, format_func=format_func, placeholder="All")
    return chosen


def search(label: str, name: str, *, placeholder: str, width: int, longest: int = 100) -> str:
    """A search box."""
    key = f"address:{name}"
    st.session_state[key] = text(name, longest)

    def changed() -> None:
        put(name, str(st.session_state[key]).strip()[:longest])

    st.text_input(
        label,
        key=key,
        on_change=changed,
        type="search",
        placeholder=placeholder,
        label_visibility="collapsed",
        icon=":material/search:",
        width=width,
    )
    return text(name, longest)


def _state(chosen: Sequence[str], options: Sequence[str], format_func: Callable[[Any], str]) -> str:
    if not chosen or len(chosen) == len(options):
        return format_func(options[0]) if len(options) == 1 else f"all {len(options)}" if options else "all"
    return format_func(chosen[0]) if len(chosen) == 1 else f"{len(chosen)} of {len(options)}"

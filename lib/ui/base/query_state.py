"""What is chosen on a page lives in its address, so that a view can be sent to a colleague.

The address is the only truth: each run sets a widget to what the address says, and a change of the widget changes
the address. So links, reloads and the back button all work, and the address holds short codes, not the words on the
screen. A wrong value is said (``wrong_links``) and taken out.

A browser sends its address with each request. What it sends before it has heard of the last change would undo that
change, so a session remembers how it left the address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlencode

import streamlit as st

from lib.ui.base import wrong_links
from lib.ui.base.wording import escape
from lib.usage.periods import is_day

_LEFT = "address:left"


def remember() -> None:
    """A page, or what changed its address, has ended: this is how it left the address."""
    st.session_state[_LEFT] = _all()


def is_current() -> bool:
    """Whether the browser has heard of the last change; for what a page asks for by itself."""
    return bool(st.session_state.get(_LEFT, _all()) == _all())


def _catch_up() -> None:
    """Somebody changes the address: of how it was left, whatever the browser knows of that."""
    if not is_current():
        st.query_params.from_dict(st.session_state[_LEFT])


def _all() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def one(name: str, options: Sequence[str], default: str, *, noun: str = "", shown: str = "") -> str:
    """What the address says of ``name``, if it is among the options.

    Args:
        name: of the parameter.
        options: what it may be.
        default: what counts where it is none of them.
        noun: what the person is told then that there is none of; nothing is said without it.
        shown: and what is shown in its place.
    """
    value = st.query_params.get(name, default)
    if value in options or value == default:
        return value
    if noun:
        wrong_links.add(noun, shown or default)
        del st.query_params[name]
    return default


def many(name: str, options: Sequence[str], *, noun: str = "") -> list[str]:
    """A filter of which several may be chosen; none means all."""
    named = st.query_params.get_all(name)
    chosen = [option for option in options if option in named]
    if noun and not set(named) <= set(options):
        wrong_links.add(noun, "the others" if chosen else "all")
        if chosen:
            st.query_params[name] = chosen
        else:
            del st.query_params[name]
    return chosen


def text(name: str, longest: int) -> str:
    """Free text of the address, cut to length."""
    return st.query_params.get(name, "")[:longest]


def number(name: str) -> int | None:
    """A number from 1 on; None where the address has none, or something else."""
    value = st.query_params.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 and int(value) > 0 else None  # noqa: PLR2004


def day(name: str) -> date | None:
    """A date like 2026-11-23; None where it is none, or none that may be asked for."""
    try:
        found = date.fromisoformat(st.query_params.get(name, ""))
    except ValueError:
        return None
    return found if is_day(found) else None


def put(name: str, value: str | Sequence[str] | None, *, default: str = "") -> None:
    """Say it in the address; the default is not said, and a new filter begins at the first page."""
    _catch_up()
    if not value or value == default:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value if isinstance(value, str) else list(value)
    if name != "page":
        st.query_params.pop("page", None)
    remember()


def put_silently(name: str, value: str | None) -> None:
    """Put a parameter that is no filter: the page of the list stays."""
    _catch_up()
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
    remember()


def clear(*names: str) -> None:
    """Take these out of the address."""
    _catch_up()
    for name in names:
        st.query_params.pop(name, None)
    remember()


_NO_FILTERS = ("page", "run", "sample", "came_back")


def filters() -> str:
    """What is chosen on the page, as the query of an address: no page of a list, no opened run."""
    return urlencode(
        [
            (name, value)
            for name, values in sorted(_all().items())
            for value in values
            if name not in _NO_FILTERS
        ]
    )


def open_filters(query: str) -> None:
    """For a callback: make these the choices of the page, in one step."""
    kept = {name: values for name, values in _all().items() if name == "sample"}
    st.query_params.from_dict(parse_qs(query) | kept)
    remember()


def draw_reset(names: Sequence[str]) -> None:
    """The button that takes these filters out of the address; period and zone stay."""
    st.button(
        "Reset filters",
        key="address:reset",
        type="tertiary",
        icon=":material/restart_alt:",
        on_click=clear,
        args=("page", *names),
    )


def select(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str,
    width: int,
    noun: str = "",
    format_func: Callable[[str], str] = str,
) -> str:
    """A choice of one, without its label: the page's title and context say what it is.

    ``noun``: what there is none of where the address is wrong; without it the label.
    """
    key = f"address:{name}"
    shown = format_func(default) if default else ""
    st.session_state[key] = one(name, options, default, noun=noun or label.lower(), shown=shown)

    def changed() -> None:
        put(name, st.session_state[key], default=default)

    return str(
        st.selectbox(
            label,
            _found(label, name, options, [st.session_state[key]], format_func),
            key=key,
            on_change=changed,
            format_func=format_func,
            label_visibility="collapsed",
            width=width,
        )
    )


def select_many(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    said: str | None = None,
    noun: str = "",
    format_func: Callable[[str], str] = str,
) -> list[str]:
    """A choice of several behind a button that says its state: ``Projects: 3 of 8``. None chosen means all."""
    key = f"address:{name}"
    chosen = st.session_state[key] = many(name, options, noun=noun or label.lower())

    def changed() -> None:
        put(name, st.session_state[key])

    with st.popover(f"{label}: {escape(said or _state(chosen, options, format_func))}"):
        sent = _found(label, name, options, chosen, format_func)
        st.multiselect(label, sent, key=key, on_change=changed, format_func=format_func, placeholder="All")
    return chosen


_MOST_TEXTS, _LONGEST_TEXT = 20, 320


def texts(name: str) -> list[str]:
    """A filter of which several values may be given, whatever they are; none means all."""
    found = dict.fromkeys(value[:_LONGEST_TEXT] for value in st.query_params.get_all(name))
    return list(found)[:_MOST_TEXTS]


def type_many(
    label: str, name: str, *, placeholder: str, format_func: Callable[[str], str] = str
) -> list[str]:
    """As ``select_many``, for values that are typed: there are too many to choose from."""
    key = f"address:{name}"
    chosen = st.session_state[key] = texts(name)

    def changed() -> None:
        put(name, [value.strip() for value in st.session_state[key]])

    with st.popover(f"{label}: {escape(_state(chosen, (), format_func))}"):  # whatever a link says
        st.multiselect(
            label,
            chosen,
            key=key,
            on_change=changed,
            format_func=format_func,
            placeholder=placeholder,
            accept_new_options=True,
            max_selections=_MOST_TEXTS,
        )
    return chosen


MOST_SENT = 200
"""Options that a browser is sent; of more, those that are found by words."""


def _found(
    label: str, name: str, options: Sequence[str], chosen: Sequence[str], format_func: Callable[[str], str]
) -> Sequence[str]:
    """All options; of very many what is chosen and the first that are found, with the box to search them by."""
    if len(options) <= MOST_SENT:
        return options
    words = st.text_input(
        f"Find in {label.lower()}",
        key=f"find:{name}",
        type="search",
        placeholder=f"Find among {len(options):,}",
        label_visibility="collapsed",
        icon=":material/search:",
        width=210,
    )
    wanted = str(words or "").strip().lower()
    matching = (each for each in options if wanted in format_func(each).lower() and each not in chosen)
    return [*chosen, *islice(matching, MOST_SENT)]


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
    if len(chosen) == 1:
        return format_func(chosen[0])
    return f"{len(chosen)} of {len(options)}" if options else str(len(chosen))

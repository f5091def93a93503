"""The sign-in gate: who is there according to the identity provider, and the pages for whom it keeps out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import streamlit as st

from lib.access.roles import Actor, Origin
from lib.access.sessions import Rules, Sessions, Token, read_token
from lib.errors import SessionEnded, SignInRefused
from lib.formatting import count
from lib.settings import COMMAND
from lib.ui.base.server import real_front_door
from lib.ui.base.wording import escape
from lib.web.signin import OUTCOME

_FAILED = {
    "lost": "The sign-in could not be completed: it came back to a server that had not begun it, or too late. Nothing "
    "is lost, try again. If it happens again, tell an operator: several dashboards take the same QODEX_COOKIE_SECRET "
    "and a proxy that keeps a browser on one of them.",
    "refused": "Your identity provider did not sign you in. Try again, or ask an operator.",
}
"""What a sign-in that ended without success is told as, by its outcome in the address."""

MOST_NAMED = 10  # administrators that the page for people without a role names


class _Viewer(Protocol):
    @property
    def actor(self) -> Actor: ...
    @property
    def local(self) -> bool: ...


V = TypeVar("V", bound=_Viewer)


def who() -> Actor | None:
    """Who brings a token, with the roles they have now; None where nobody has signed in.

    Raises:
        SignInRefused, SessionEnded: the token does not let them in (any more).
    """
    claims = _claims()
    if claims.get("is_logged_in") is not True:
        return None
    platform = real_front_door()
    email = Sessions(platform.database).admit(claims, Rules.of(platform.settings))
    return platform.members.actor(email, Origin.BROWSER, platform.settings.admins)


def pass_gate(look: Callable[[], V | None]) -> V:
    """The viewer that ``look`` finds, or the end of this run at a page that says what is missing."""
    problem: SignInRefused | SessionEnded | None = None
    viewer = None
    try:
        viewer = look()
    except (SignInRefused, SessionEnded) as refusal:
        problem = refusal
    if viewer is None:
        _draw_gate(problem)
        st.stop()
    if OUTCOME in st.query_params:
        del st.query_params[OUTCOME]
    if not (viewer.local or viewer.actor.everywhere or viewer.actor.projects):
        draw_person(viewer.actor)
        _draw_waiting_room(viewer.actor)
        st.stop()
    return viewer


def draw_person(actor: Actor) -> None:
    """In the sidebar: who is signed in, as what, and the way out."""
    name = _claims().get("name")
    with st.sidebar:
        st.space("small")
        with st.container(gap="xxsmall"):
            st.caption("Signed in")
            st.markdown(escape(str(name or actor.name)))
            if name:
                st.caption(escape(actor.name))
            st.caption(roles_of(actor))
        st.button("Sign out", icon=":material/logout:", on_click=_sign_out, key="sign_out", width="stretch")


def roles_of(actor: Actor) -> str:
    """``lead in 2 projects, analyst in 1 project``; a role in all projects that covers the others stands alone."""
    found = []
    if actor.everywhere:
        found.append(f"{actor.everywhere.name.lower()} in all projects")
    higher = [role for role in actor.projects.values() if actor.everywhere is None or role > actor.everywhere]
    found += [
        f"{role.name.lower()} in {count(higher.count(role), 'project')}"
        for role in sorted(set(higher), reverse=True)
    ]
    return ", ".join(found) or "no role yet"


def _draw_gate(problem: SignInRefused | SessionEnded | None) -> None:
    provider = escape(urlsplit(real_front_door().settings.oidc_issuer or "").hostname or "")
    with st.container(horizontal_alignment="center"), st.container(border=True, width=460):
        st.title("Sign in", anchor=False)
        if isinstance(problem, SignInRefused):
            st.error(escape(f"{problem.sentence} Sign in with another account, or ask an operator."))
        elif problem is not None:
            st.warning(escape(problem.sentence))
        elif failed := _FAILED.get(st.query_params.get(OUTCOME, "")):
            st.warning(failed)
        st.caption(f"You sign in with your organisation's account at {provider}.")
        label = "Try again" if OUTCOME in st.query_params else "Sign in"
        st.button(label, type="primary", icon=":material/login:", on_click=st.login, key="sign_in")
        st.caption(
            f"Signing out ends your session here, in all tabs. Your session at {provider} may go on: "
            "on a shared computer sign out there, too."
        )


def _draw_waiting_room(actor: Actor) -> None:
    platform = real_front_door()
    found = platform.members.administrators(platform.settings.admins)
    st.title("No access yet", anchor=False)
    st.markdown(f"You are signed in as **{escape(actor.name)}**, but you have no role in any project.")
    if not found:
        st.markdown(
            ":small[There is no administrator yet. An operator can make one: "
            f"`{COMMAND} members add --all-projects EMAIL --role admin`]"
        )
        return
    st.markdown("Ask an administrator, or a lead of your project, to add you:")
    st.markdown("\n".join(f"- {escape(email)}" for email in found[:MOST_NAMED]))
    if len(found) > MOST_NAMED:
        st.caption(f"and {len(found) - MOST_NAMED} more")


def token() -> Token:
    """The sign-in of whoever looks, for what must end with it."""
    return read_token(_claims())


def still_there() -> Callable[[], Actor]:
    """Whoever looks now, to be asked for later: then their session must still be open, with their roles of then."""
    known = token()

    def then() -> Actor:
        platform = real_front_door()
        rules = Rules.of(platform.settings)
        Sessions(platform.database).require_open(known.id, known.email, known.issued_at, rules)
        return platform.members.actor(known.email, Origin.BROWSER, platform.settings.admins)

    return then


def _sign_out() -> None:
    """End the session for every tab, then let Streamlit forget its cookie and tell the identity provider."""
    claims = _claims()
    if claims.get("is_logged_in") is True:
        Sessions(real_front_door().database).end(claims)
    st.logout()


def _claims() -> Mapping[str, Any]:
    return st.user.to_dict()

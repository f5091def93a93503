"""What happens once, before the first page: whom this server answers, warm imports, log, database."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config, file_util

from lib import logs
from lib.db.upkeep.health import describe
from lib.environment import ambient
from lib.errors import QodexError, SettingsError
from lib.llm.http import install_log_redaction
from lib.providers import known
from lib.settings import ROOT, SIGN_IN, SIGN_IN_RULES, Settings
from lib.ui.base.server import real_front_door
from lib.ui.shell.background import background_work
from lib.web.page_shell import PageShell
from lib.web.signin import CALLBACK

log = logging.getLogger(__name__)

_CHECK_SECONDS = 2.0
"""How long each step of the check may take; its answer is waited for a little longer."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BASE_PATH = "STREAMLIT_SERVER_BASE_URL_PATH"
_WARM = ("pandas", "pyarrow", "lib.ui.charts.over_time", "streamlit.elements.lib.column_types")


def hosts() -> tuple[str, ...]:
    """The names under which this server may be asked: this machine's own, or the public address's."""
    settings = _settings()
    public = settings.public_url if settings and settings.oidc_issuer else None
    return (*LOOPBACK, urlsplit(public).hostname or "") if public else LOOPBACK


def is_local() -> bool:
    """Whether there is no sign-in, so that only this machine may be served. True where settings are unusable."""
    settings = _settings()
    return settings is None or settings.oidc_issuer is None


def read_configuration() -> None:
    """Let Streamlit find ``.streamlit/config.toml``, whatever serves the application and from which folder."""
    if config._main_script_path is None:  # noqa: SLF001 - "streamlit run" sets it, uvicorn and gunicorn do not
        config._main_script_path = str(ROOT / "app.py")  # noqa: SLF001
        config.get_config_options(force_reparse=True)


def refuse_what_cannot_be_served() -> None:
    """End the process where sign-in is set up by half, or where people would come under a path."""
    try:
        Settings.from_env()
    except SettingsError as problem:
        if problem.variable in {*SIGN_IN, *SIGN_IN_RULES}:
            raise SystemExit(problem.sentence) from None
    # Only "streamlit run" reads the variable; under other servers it must not seem to work.
    path = os.environ.get(_BASE_PATH) or str(st.get_option("server.baseUrlPath") or "")
    if path.strip("/ "):
        raise SystemExit(
            f"{_BASE_PATH} (server.baseUrlPath) is {path!r}: the dashboard is served at the root "
            "of a host name only, not under a path. Unset it, and give the dashboard a name of its own."
        )


def page_shell() -> PageShell:
    """The HTML that pages begin as."""
    return PageShell(Path(file_util.get_static_dir()) / "index.html")


def admit_public_name() -> None:
    """Streamlit's own list of names for its web sockets knows this machine only; add the public address's."""
    if len(hosts()) > len(LOOPBACK):
        config.set_option("server.allowedHosts", list(hosts()))


def is_https() -> bool:
    """Whether people come over https."""
    settings = _settings()
    return bool(settings and settings.public_url and settings.public_url.startswith("https://"))


def secrets() -> dict[str, Any] | None:
    """Streamlit's configuration of sign-in, made of our settings; no secrets file is needed."""
    settings = _settings()
    if settings is None or not (
        settings.oidc_issuer and settings.oidc_client_secret and settings.cookie_secret
    ):
        return None
    return {
        "auth": {
            "redirect_uri": f"{settings.public_url}{CALLBACK}",
            "cookie_secret": settings.cookie_secret.reveal(),
            "client_id": settings.oidc_client_id,
            "client_secret": settings.oidc_client_secret.reveal(),
            "server_metadata_url": f"{settings.oidc_issuer}/.well-known/openid-configuration",
        }
    }


def share_sign_ins() -> None:
    """Let each dashboard read what another one began: Streamlit keeps a sign-in under way in a signed cookie.

    It signs that with a secret of the process unless it knows one before the application is built.
    """
    settings = _settings()
    if settings and settings.oidc_issuer and settings.cookie_secret:
        config.set_option("server.cookieSecret", settings.cookie_secret.reveal())


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Around the life of the server."""
    await asyncio.to_thread(_start)
    async with background_work():
        yield
    gc.unfreeze()


def check() -> None:
    """Raise DatabaseUnavailable, SettingsError or MasterKeyMissing where this server cannot do its work."""
    platform = real_front_door()
    describe(platform.database, seconds=_CHECK_SECONDS)
    platform.masters.require_all()


def _start() -> None:
    settings = _settings()
    logs.configure(settings.log if settings else "text")
    for noisy in ("httpx2", "httpcore2", *known.packages, "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    install_log_redaction(everywhere=True)
    for name in _WARM:
        import_module(name)
    if settings and settings.log == "json":
        logs.write_json()  # also those of Streamlit's parts, which each have a handler
    # What is loaded for good need not be looked at each time that garbage is collected.
    gc.collect()
    gc.freeze()
    if warning := ambient.key_warning():
        log.warning("%s", warning)
    try:
        platform = real_front_door()
    except QodexError as problem:
        log.error("%s", problem)  # noqa: TRY400 - one sentence; each page says it, too, until it is mended
        return
    install_log_redaction(*platform.settings.platform_keys.values(), everywhere=True)


def _settings() -> Settings | None:
    try:
        return Settings.from_env()
    except QodexError:
        return None

"""What happens once, before the first page: whom this server answers, warm imports, log, database."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config

from lib.errors import QodexError, SettingsError
from lib.llm.http import install_log_redaction
from lib.settings import SIGN_IN, Settings
from lib.ui.base.server import front_door
from lib.web.signin import CALLBACK

log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WARM = ("pandas", "pyarrow", "lib.ui.charts.over_time", "streamlit.elements.lib.column_types")


def hosts() -> tuple[str, ...]:
    """The names under which this server may be asked: this machine's own, or the public address's."""
    settings = _settings()
    public = settings.public_url if settings and settings.oidc_issuer else None
    return (*LOOPBACK, urlsplit(public).hostname or "") if public else LOOPBACK


def refuse_open_door() -> None:
    """End the process where it would serve other machines without sign-in, or with half of one."""
    try:
        settings: Settings | None = Settings.from_env()
    except SettingsError as problem:
        if problem.variable in SIGN_IN:
            raise SystemExit(problem.sentence) from None
        settings = None
    address = st.get_option("server.address")
    if (settings is None or settings.oidc_issuer is None) and not _is_loopback(address):
        raise SystemExit(
            f"Without sign-in the dashboard serves this machine only, not {address or 'all interfaces'}. "
            "Leave server.address at localhost, or configure sign-in (QODEX_OIDC_ISSUER)."
        )


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


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Around the life of the server."""
    await asyncio.to_thread(_start)
    yield
    gc.unfreeze()


def check() -> None:
    """Raise DatabaseUnavailable or SettingsError where no page could be served."""
    with front_door().database.read():
        pass


def _start() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx2", "httpcore2", "openai", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    install_log_redaction(everywhere=True)
    for name in _WARM:
        import_module(name)
    # What is loaded for good need not be looked at each time that garbage is collected.
    gc.collect()
    gc.freeze()
    try:
        platform = front_door()
    except QodexError as problem:
        log.error("%s", problem)  # noqa: TRY400 - one sentence; each page says it, too, until it is mended
        return
    if platform.settings.openai_api_key is not None:
        install_log_redaction(platform.settings.openai_api_key, everywhere=True)


def _settings() -> Settings | None:
    try:
        return Settings.from_env()
    except QodexError:
        return None


def _is_loopback(address: str | None) -> bool:
    if address in LOOPBACK:
        return True
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback  # None: all
    except ValueError:
        return False

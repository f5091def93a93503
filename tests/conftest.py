"""What every test may use: a database of either kind, settings, the front door, and a closed world around them.

A test that takes ``database_url`` (or anything made of it) runs twice, on SQLite and on PostgreSQL. Where only
one kind makes sense: ``@pytest.mark.parametrize("database_kind", ["sqlite"])``.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.chromium import empty_page, running_chromium
from tests.services import PostgresServer, running_postgres, scratch_folder

if TYPE_CHECKING:
    from lib.platform import Platform
    from lib.settings import Settings
    from tests.upstream import ScriptedUpstream

# What a developer's machine may have set, and what must not reach a test.
_HOSTILE_PREFIXES = (
    *("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_"),
    *("QODEX_", "STREAMLIT_", "VAULT_", "AWS_", "PG", "SSL_CERT_"),
)
_HOSTILE_NAMES = {"DATABASE_URL", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHONSAFEPATH"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--whole``: as many examples, rounds, kills and interruptions as make sense (tests/whole.py)."""
    parser.addoption(
        "--whole", action="store_true", help="try more of what is tried in part: an hour and more"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Files of tests live in memory where there is room; ``--basetemp`` names another place."""
    if not config.option.basetemp:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", scratch_folder())
    if config.option.whole:
        os.environ["QODEX_TESTS_WHOLE"] = "1"
    _try_examples()


def _try_examples() -> None:
    from tests.whole import whole_or

    hypothesis.settings.register_profile(
        "qodex",
        deadline=None,  # nothing is timed: the machine may be busy
        max_examples=whole_or(30, 100),
        # too_slow is a clock as well, and a database per test is meant to serve all its examples.
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=bool(os.environ.get("CI")),  # the same examples in every CI run
        database=None,
    )
    hypothesis.settings.load_profile("qodex")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """No test leaves an exception behind as the one being handled (tests.interruptions.apart says how that happens)."""
    before = sys.exc_info()[1]
    yield
    assert sys.exc_info()[1] is before, "This test left an exception behind: run what it traces in `apart`."


# --- a closed world --------------------------------------------------------------------------------


class NetworkBlocked(RuntimeError):
    """A test tried to leave the machine."""


@pytest.fixture(scope="session", autouse=True)
def _closed_world() -> Iterator[None]:
    """No setting of this machine reaches a test, and no test reaches another machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if _is_hostile(name.upper()):
                patch.delenv(name)
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        yield


def _is_hostile(name: str) -> bool:
    return name in _HOSTILE_NAMES or name.startswith(_HOSTILE_PREFIXES) or name.endswith("_PROXY")


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_here(address[0]):
            raise NetworkBlocked(f"A test tried to connect to {address[0]}; only this machine is allowed.")
        return connect(self, address)

    return guarded


def _guarded_lookup(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name and not _is_here(name) and not _is_number(name):
            raise NetworkBlocked(f"A test tried to look up {name}; only this machine is allowed.")
        return getaddrinfo(host, *arguments, **options)

    return guarded


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    if not _is_number(host):
        return host in {"localhost", ""}
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file that share something run in one process; what takes long begins first, so that none ends alone."""
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)
        if item.path.parent.name == "browser" or _shares_with_its_file(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(
        key=lambda item: item.get_closest_marker("xdist_group") is None and "slow" not in item.keywords
    )


def _shares_with_its_file(item: pytest.Item) -> bool:
    found = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    return any(fixture.scope == "module" for fixtures in found for fixture in fixtures)


# --- databases -------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """The engine that the test runs on."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process, on a socket of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "qodex.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _migrated_name(postgres: PostgresServer) -> str:
    name = postgres.create()
    _migrate(postgres.url(name))
    return name


def _migrate(url: str) -> None:
    from lib.db import Database
    from lib.db.migrate import migrate

    database = Database(url)
    migrate(database)
    database.close()


@pytest.fixture
def empty_database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database without tables."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'qodex.db'}"
    else:
        yield from _postgres_copy(request.getfixturevalue("postgres"), "template0")


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with the newest schema and no rows of anybody: a copy of one that was migrated once."""
    if database_kind == "sqlite":
        path = tmp_path / "qodex.db"
        shutil.copy(request.getfixturevalue("_migrated_file"), path)
        yield f"sqlite:///{path}"
    else:
        template = request.getfixturevalue("_migrated_name")
        yield from _postgres_copy(request.getfixturevalue("postgres"), template)


def _postgres_copy(server: PostgresServer, template: str) -> Iterator[str]:
    name = server.create(template=template)
    yield server.url(name)
    server.drop(name)


# --- the product -----------------------------------------------------------------------------------


@pytest.fixture
def master_key() -> str:
    """A new master key, as ``QODEX_MASTER_KEYS`` takes it."""
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A provider on this machine that answers like OpenAI, or misbehaves when told to."""
    from tests.upstream import ScriptedUpstream

    with ScriptedUpstream() as server:
        yield server


@pytest.fixture
def settings(database_url: str, master_key: str, upstream: ScriptedUpstream) -> Settings:
    """Settings for a new database and the scripted upstream, without a platform key."""
    from lib.secret import Secret
    from lib.settings import Settings

    return Settings(
        database_url=database_url,
        master_keys=Secret(master_key),
        openai_base_url=upstream.base_url,
        anthropic_base_url=upstream.root_url,
        google_base_url=upstream.root_url,
    )


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """The front door over ``settings``."""
    from lib.platform import Platform

    front_door = Platform(settings)
    yield front_door
    front_door.close()


# --- the browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for one file of tests."""
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for a file of tests: what Streamlit has sent for all pages is not loaded for each test anew."""
    context = browser.new_context(locale="en-GB", timezone_id="UTC", viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(profile: BrowserContext) -> Iterator[Page]:
    """A new page that finds no cookie and nothing stored."""
    yield empty_page(profile)
    for each in profile.pages:
        each.close()

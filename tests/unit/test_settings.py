"""The environment: each variable by its own name, refused by name, its secrets never repeated."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path

import pytest
from pydantic import AliasChoices

from lib import providers
from lib import settings as settings_module
from lib.environment import ambient
from lib.errors import SettingsError
from lib.providers import OPENAI
from lib.secret import Secret
from lib.settings import ROOT, Settings

VARIABLES = {
    "QODEX_TRACES",
    "QODEX_KEY_SERVICE",
    "QODEX_VAULT_TOKEN_FILE",
    "VAULT_ADDR",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
    "VAULT_TOKEN",
    "QODEX_SMTP_URL",
    "QODEX_MAIL_FROM",
    "QODEX_LOG",
    "QODEX_METRICS_ADDRESS",
    "QODEX_NOTIFY_PRIVATE_HOSTS",
    "DATABASE_URL",
    "QODEX_DB_POOL",
    "QODEX_DB_TIMEOUT",
    "QODEX_MASTER_KEYS",
    "QODEX_MASTER_KEY_FILE",
    "QODEX_OPENAI_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "QODEX_ANTHROPIC_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "QODEX_GEMINI_API_KEY",
    "GEMINI_API_KEY",
    "GEMINI_BASE_URL",
    "QODEX_TIMEZONE",
    "QODEX_HTTPS_PROXY",
    "QODEX_CA_FILE",
    "QODEX_PRICES_FILE",
    "QODEX_OIDC_ISSUER",
    "QODEX_OIDC_CLIENT_ID",
    "QODEX_OIDC_CLIENT_SECRET",
    "QODEX_COOKIE_SECRET",
    "QODEX_PUBLIC_URL",
    "QODEX_EMAIL_DOMAINS",
    "QODEX_OIDC_TRUST_EMAIL",
    "QODEX_SESSION_HOURS",
    "QODEX_ADMINS",
}
# What other programs read, and ours must not.
HOSTILE = {
    "https_proxy": "http://evil.invalid:3128",
    "HTTPS_PROXY": "http://evil.invalid:3128",
    "http_proxy": "http://evil.invalid:3128",
    "ALL_PROXY": "http://evil.invalid:3128",
    "OPENAI_ORG_ID": "org-evil",
    "OPENAI_ORGANIZATION": "org-evil",
    "OPENAI_PROJECT_ID": "proj-evil",
    "OPENAI_API_BASE": "https://evil.invalid/v1",
    "OPENAI_ADMIN_KEY": "sk-test-evil",
    "openai_api_key": "sk-test-evil",
    "openai_base_url": "https://evil.invalid/v1",
    "Openai_Base_Url": "https://evil.invalid/v1",
    "database_url": "sqlite:////evil/qodex.db",
    "timezone": "Asia/Kolkata",
    "TZ": "Asia/Kolkata",
    "SSL_CERT_FILE": "/evil/ca.pem",
    "REQUESTS_CA_BUNDLE": "/evil/ca.pem",
    "DATABASE_URL_FILE": "/evil/url",
    "QODEX_OPENAI_BASE_URL": "https://evil.invalid/v1",
}


@pytest.fixture
def read(monkeypatch):
    """Settings of a process that was started with these variables alone."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def from_env(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings.from_env()

    return from_env


def shown(settings: Settings) -> dict[str, object]:
    """All values, secrets by their text."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}


def test_every_provider_has_its_two_settings():
    for name, facts in providers.known.facts.items():
        assert Settings.model_fields[f"{name}_base_url"].validation_alias == facts.url_variable
        aliases = Settings.model_fields[f"{name}_api_key"].validation_alias
        assert aliases.choices == [facts.key_variable, facts.ambient_key_variable]


def test_these_are_all_the_variables_there_are():
    names: list[object] = []
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names += alias.choices if isinstance(alias, AliasChoices) else [alias]
    assert set(names) == VARIABLES


def test_without_any_variable_there_are_defaults(read):
    settings = read()
    assert settings.database_url == f"sqlite:///{ROOT / 'var/db/qodex.db'}"
    assert settings.master_key_file == ROOT / "var/keys/master.key"
    assert (settings.openai_base_url, settings.timezone, settings.session_hours) == (
        OPENAI.base_url,
        "UTC",
        12,
    )
    assert (settings.openai_api_key, settings.master_keys, settings.https_proxy) == (None, None, None)


def test_an_empty_variable_is_no_variable(read):
    assert shown(read(**dict.fromkeys(VARIABLES, ""))) == shown(read())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_variable_of_another_name_changes_nothing(read, name):
    plain = shown(read())
    assert shown(read(**{name: HOSTILE[name]})) == plain


@pytest.mark.parametrize("prefix", ["", "QODEX_", "="])
@pytest.mark.parametrize("field", Settings.model_fields)
def test_no_field_is_read_by_its_name_in_the_code(read, field, prefix):
    plain = shown(read())
    try:
        os.environ[prefix + field] = "1"
    except (OSError, ValueError):
        return  # no environment can have that name
    try:
        assert shown(Settings.from_env()) == plain
    finally:
        del os.environ[prefix + field]


def test_a_file_named_dot_env_is_not_read(read, tmp_path, monkeypatch):
    plain = shown(read())
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=https://evil.invalid/v1\n")
    monkeypatch.chdir(tmp_path)
    assert shown(Settings.from_env()) == plain


# --- the upstream ----------------------------------------------------------------------------------

REFUSED_UPSTREAMS = {
    "plain http elsewhere": "http://api.openai.com/v1",
    "plain http to a name that looks local": "http://localhost.evil.invalid/v1",
    "a local name before the at sign": "http://localhost@evil.invalid/v1",
    "a name and password": "https://user:planted@api.openai.com/v1",
    "an empty name": "https://@api.openai.com/v1",
    "plain http to every address": "http://0.0.0.0/v1",
    "plain http to a shortened loopback": "http://127.1/v1",
    "the metadata service": "https://169.254.169.254/v1",
    "the same, plain": "http://169.254.169.254/v1",
    "the same, with a dot": "https://169.254.169.254./v1",
    "the same, as a number": "https://2852039166/v1",
    "the same, hexadecimal": "https://0xa9fea9fe/v1",
    "the same, octal": "https://0251.0376.0251.0376/v1",
    "the same, as IPv6": "https://[::ffff:169.254.169.254]/v1",
    "the same, as old IPv6": "https://[::169.254.169.254]/v1",
    "the same, through NAT64": "https://[64:ff9b::a9fe:a9fe]/v1",
    "the same, in wide digits": "https://\uff11\uff16\uff19.254.169.254/v1",
    "link-local IPv6": "https://[fe80::1]/v1",
    "link-local IPv6 with a zone": "https://[fe80::1%25eth0]/v1",
    "an escaped host": "https://169%2e254.169.254/v1",
    "a line break": "https://api.openai\n.com/v1",
    "a space": "https://api.openai.com /v1",
    "a backslash": "https://api.openai.com\\@evil.invalid/v1",
    "a query": "https://api.openai.com/v1?to=evil",
    "a fragment": "https://api.openai.com/v1#evil",
    "no such port": "https://api.openai.com:99999/v1",
    "no port number": "https://api.openai.com:port/v1",
    "half an IPv6 address": "https://[::1/v1",
    "no scheme": "api.openai.com/v1",
    "another scheme": "ftp://api.openai.com/v1",
    "a file": "file:///etc/passwd",
    "no host": "https:///v1",
}


@pytest.mark.parametrize("what", REFUSED_UPSTREAMS)
def test_an_upstream_that_is_not_safe_is_refused_at_start(read, what):
    with pytest.raises(SettingsError, match=r"^OPENAI_BASE_URL: ") as refusal:
        read(OPENAI_BASE_URL=REFUSED_UPSTREAMS[what])
    assert refusal.value.variable == "OPENAI_BASE_URL"
    assert "planted" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://api.openai.com/v1",
        "https://eu.api.openai.com:8443/v1",
        "https://10.0.0.7/openai/v1",
        "https://[2001:db8::1]:8443/v1",
        "http://localhost:9001/v1",
        "http://LOCALHOST:9001/v1",
        "http://127.0.0.1:9001",
        "http://127.9.9.9/v1",
        "http://[::1]:9001/v1",
    ],
)
def test_a_safe_upstream_is_taken_as_it_is(read, address):
    assert read(OPENAI_BASE_URL=f" {address}/ ").openai_base_url == address


# --- the database and files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:",
        "sqlite:///var/db/qodex.db?mode=rw",
        "postgresql://user:planted@host/name",
        "postgres://host/name",
        "mysql://host/name",
        "/var/db/qodex.db",
        "planted",
    ],
)
def test_a_database_that_cannot_be_used_is_refused_and_its_password_not_repeated(read, url):
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: ") as refusal:
        read(DATABASE_URL=url)
    assert "planted" not in str(refusal.value)


def test_relative_paths_belong_to_the_root_wherever_the_process_started(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read(
        DATABASE_URL="sqlite:///data/q.db", QODEX_MASTER_KEY_FILE="keys/m", QODEX_PRICES_FILE="/etc/p.json"
    )
    assert settings.database_url == f"sqlite:///{ROOT / 'data/q.db'}"
    assert (settings.master_key_file, settings.prices_file) == (ROOT / "keys/m", Path("/etc/p.json"))


def test_a_home_folder_is_understood_and_one_that_is_not_there_refused(read, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert read(QODEX_MASTER_KEY_FILE="~/master.key").master_key_file == Path("/home/ada/master.key")
    with pytest.raises(SettingsError, match=r"^QODEX_MASTER_KEY_FILE: "):
        read(QODEX_MASTER_KEY_FILE="~nobody-of-this-name/master.key")


@pytest.mark.parametrize(
    ("url", "is_sqlite"), [("sqlite:///q.db", True), ("postgresql+psycopg://h/n", False)]
)
def test_it_knows_the_engine(read, url, is_sqlite):
    assert read(DATABASE_URL=url).is_sqlite is is_sqlite


# --- the way to the provider -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy:3128",
        "ftp://user:planted@proxy",
        "socks5://proxy",
        "http://",
        "http://proxy:99999",
        "http://p/x",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_at_start_and_its_password_not_repeated(read, proxy):
    with pytest.raises(SettingsError, match=r"^QODEX_HTTPS_PROXY: ") as refusal:
        read(QODEX_HTTPS_PROXY=proxy)
    assert "planted" not in str(refusal.value)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_certificate_file_that_cannot_be_used_is_refused_at_start(read, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"^QODEX_CA_FILE: not a readable file of certificates"):
        read(QODEX_CA_FILE=str(path))


# --- other values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime", "UTC+5"])
def test_a_time_zone_that_nobody_knows_is_refused(read, zone):
    with pytest.raises(SettingsError, match=r"^QODEX_TIMEZONE: not a known time zone"):
        read(QODEX_TIMEZONE=zone)


def test_a_known_time_zone_is_there_to_be_used(read):
    assert str(read(QODEX_TIMEZONE="Asia/Kolkata").zone) == "Asia/Kolkata"


@pytest.mark.parametrize("hours", ["0", "-1", "721", "twelve", "1.5"])
def test_a_session_lasts_between_an_hour_and_thirty_days(read, hours):
    with pytest.raises(SettingsError, match=r"^QODEX_SESSION_HOURS: "):
        read(QODEX_SESSION_HOURS=hours)


def test_lists_are_split_at_commas(read):
    settings = read(QODEX_ADMINS=" ada@example.com ,, bo@example.com", QODEX_EMAIL_DOMAINS="example.com")
    assert (settings.admins, settings.email_domains) == (
        ["ada@example.com", "bo@example.com"],
        ["example.com"],
    )


# --- secrets ---------------------------------------------------------------------------------------


def test_white_space_around_the_platform_key_is_taken_off(read):
    assert (
        shown(read(OPENAI_API_KEY=" sk-test-platform-key-0003\r\n"))["openai_api_key"]
        == "sk-test-platform-key-0003"
    )


@pytest.mark.parametrize("inside", [" ", "\n", "\t", "\u200b", "\u00e9", "\u0430"], ids=ascii)
def test_a_platform_key_that_fits_no_header_is_refused_and_not_repeated(read, inside):
    with pytest.raises(SettingsError, match=r"^OPENAI_API_KEY: ") as refusal:
        read(OPENAI_API_KEY=f"sk-test-{inside}planted-key-7777")
    trace = traceback.TracebackException.from_exception(refusal.value, capture_locals=True)
    ours = [str(frame.locals) for frame in trace.stack if frame.filename == settings_module.__file__]
    assert len(ours) == 1
    assert "planted" not in str(refusal.value) + ours[0]


def test_no_secret_and_no_password_is_in_what_can_be_printed(read):
    settings = read(
        OPENAI_API_KEY="sk-test-planted-key-7777",
        QODEX_MASTER_KEYS="planted",
        QODEX_OIDC_CLIENT_SECRET="planted",
        QODEX_COOKIE_SECRET="planted" * 5,
        QODEX_OIDC_ISSUER="https://login.example",
        QODEX_OIDC_CLIENT_ID="qodex",
        QODEX_PUBLIC_URL="https://qodex.example",
        DATABASE_URL="postgresql+psycopg://user:planted@host/name",
        QODEX_HTTPS_PROXY="http://user:planted@proxy:3128",
    )
    assert "planted" not in repr(settings) + str(settings) + f"{settings}"


def test_settings_with_a_secret_are_not_stored_and_no_settings_change(read):
    settings = read(OPENAI_API_KEY="sk-test-planted-key-7777")
    with pytest.raises(TypeError):
        pickle.dumps(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.openai_base_url = "https://evil.invalid/v1"


# --- sign-in ---------------------------------------------------------------------------------------

COMPLETE = {
    "QODEX_OIDC_ISSUER": "https://login.example/",
    "QODEX_OIDC_CLIENT_ID": "qodex",
    "QODEX_OIDC_CLIENT_SECRET": "client-secret",
    "QODEX_COOKIE_SECRET": "a-cookie-secret-of-enough-characters",
    "QODEX_PUBLIC_URL": "https://qodex.example/",
}


def test_sign_in_takes_five_variables(read):
    settings = read(**COMPLETE, QODEX_EMAIL_DOMAINS="@Example.com, example.org")
    assert (settings.oidc_issuer, settings.public_url) == ("https://login.example", "https://qodex.example")
    assert settings.email_domains == ["example.com", "example.org"]


@pytest.mark.parametrize("missing", COMPLETE)
def test_half_a_sign_in_names_the_missing_variable_and_is_never_local_mode(read, missing):
    with pytest.raises(SettingsError, match=f"^{missing}: sign-in needs it") as refusal:
        read(**{name: value for name, value in COMPLETE.items() if name != missing})
    assert refusal.value.variable == missing
    assert "a-cookie-secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QODEX_COOKIE_SECRET", "short"),
        ("QODEX_OIDC_ISSUER", "http://login.example"),
        ("QODEX_OIDC_ISSUER", "login.example"),
        ("QODEX_OIDC_ISSUER", "https://login.example/?tenant=1"),
        ("QODEX_PUBLIC_URL", "http://qodex.example"),
        ("QODEX_PUBLIC_URL", "https://qodex.example/dashboard"),
        ("QODEX_PUBLIC_URL", "https://me@qodex.example"),
    ],
)
def test_an_unsafe_sign_in_variable_is_refused_and_not_repeated(read, name, value):
    with pytest.raises(SettingsError, match=f"^{name}: ") as refusal:
        read(**COMPLETE | {name: value})
    assert value not in str(refusal.value)


@pytest.mark.parametrize("variable", ["QODEX_ADMINS", "QODEX_EMAIL_DOMAINS"])
@pytest.mark.parametrize(
    "text", ["kim@\u212aiosk.example", "\u212aiosk.example", "\u212aim@example.com", "a b", "*", "=x"]
)
def test_addresses_and_domains_are_checked_as_they_came(read, variable: str, text: str):
    with pytest.raises(SettingsError, match=variable):
        read(**{variable: text})


def test_an_issuers_addresses_are_trusted_for_named_domains_only(read):
    with pytest.raises(SettingsError, match="QODEX_OIDC_TRUST_EMAIL: takes QODEX_EMAIL_DOMAINS, too"):
        read(**COMPLETE, QODEX_OIDC_TRUST_EMAIL="yes")
    assert read(**COMPLETE, QODEX_OIDC_TRUST_EMAIL="yes", QODEX_EMAIL_DOMAINS="example.com").trust_email
    assert not read(**COMPLETE, QODEX_OIDC_TRUST_EMAIL="no", QODEX_EMAIL_DOMAINS="example.com").trust_email


# --- the platform's key ----------------------------------------------------------------------------


def test_the_platforms_key_has_a_name_that_no_library_reads_and_the_old_one_is_read_too(read):
    old = read(OPENAI_API_KEY="sk-test-old-name-key-0001")
    assert old.openai_api_key.reveal() == "sk-test-old-name-key-0001"
    both = read(QODEX_OPENAI_API_KEY="sk-test-platform-key-0002")
    assert both.openai_api_key.reveal() == "sk-test-platform-key-0002"
    emptied = read(QODEX_OPENAI_API_KEY="")
    assert emptied.openai_api_key.reveal() == "sk-test-old-name-key-0001"


def test_a_broken_platform_key_is_named_by_the_variable_that_holds_it(read):
    with pytest.raises(SettingsError, match=r"^QODEX_OPENAI_API_KEY: ") as refusal:
        read(QODEX_OPENAI_API_KEY="sk-test planted-key-7777")
    assert "7777" not in str(refusal.value)


def test_a_key_that_any_library_would_find_is_warned_of_without_being_told(read):
    read(QODEX_OPENAI_API_KEY="sk-test-platform-key-0002")
    assert ambient.key_warning() is None
    read(OPENAI_API_KEY="sk-test-old-name-key-0001")
    warning = ambient.key_warning()
    assert warning.endswith("Unset it.")
    assert "0001" not in warning
    read(QODEX_OPENAI_API_KEY="")
    assert ambient.key_warning().endswith("Rename it QODEX_OPENAI_API_KEY.")

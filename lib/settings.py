"""The environment as one frozen object. Fails at start, naming the variable; never repeats a secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lib import logs
from lib.emails import clean_domain, clean_email
from lib.environment import addresses, ambient, certificates
from lib.environment.setting_types import (
    BaseURL,
    PlatformKey,
    SecretText,
    cleaned,
    platform_key,
    split_list,
    upstream,
)
from lib.errors import SettingsError
from lib.providers import ANTHROPIC, GOOGLE, OPENAI, known
from lib.secret import Secret

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "bin/qodex"
"""The command line, as documents and pages show it: it works from a bare shell in the repository's root."""
SIGN_IN = (
    "QODEX_OIDC_ISSUER",
    "QODEX_OIDC_CLIENT_ID",
    "QODEX_OIDC_CLIENT_SECRET",
    "QODEX_COOKIE_SECRET",
    "QODEX_PUBLIC_URL",
)
"""Sign-in takes all of these; with none of them there is local mode."""
SIGN_IN_RULES = ("QODEX_OIDC_TRUST_EMAIL", "QODEX_EMAIL_DOMAINS", "QODEX_SESSION_HOURS", "QODEX_ADMINS")
"""Who may sign in, and for how long."""
_COOKIE_SECRET_LENGTH = 32


@dataclass(frozen=True)
class ProviderSettings:
    """How this deployment reaches one provider."""

    key: Secret | None
    """The platform-funded key."""

    base_url: str


class Settings(BaseSettings):
    """Everything the environment may decide. Field descriptions make the README's table."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        case_sensitive=True,
        populate_by_name=True,
        # Fields may be given by name in Python, but never by the environment: otherwise the proxy variable
        # that everyone's shell sets, `https_proxy`, would be taken for QODEX_HTTPS_PROXY. No variable's
        # name can have "=" in it.
        env_prefix="=",
    )

    database_url: str = Field(
        "sqlite:///var/db/qodex.db",
        repr=False,  # it may hold a password
        validation_alias="DATABASE_URL",
        description="SQLAlchemy URL: SQLite or `postgresql+psycopg://…`",
    )
    db_pool: int = Field(
        10,
        gt=0,
        le=1000,
        validation_alias="QODEX_DB_POOL",
        description="database connections that one process may hold at once",
    )
    db_timeout: float = Field(
        30.0,
        ge=1,
        le=3600,
        validation_alias="QODEX_DB_TIMEOUT",
        description="seconds that a statement, a lock or a connection of the database may take",
    )
    master_keys: SecretText = Field(
        None,
        validation_alias="QODEX_MASTER_KEYS",
        description="master keys, base64 of 32 random bytes, comma-separated, **first one encrypts**",
    )
    master_key_file: Path = Field(
        Path("var/keys/master.key"),
        validation_alias="QODEX_MASTER_KEY_FILE",
        description="the same, one a line, in a file of mode 0600; `QODEX_MASTER_KEYS` wins over it. "
        "Made on first start on an empty SQLite database; never made by itself on PostgreSQL",
    )
    key_service: str | None = Field(
        None,
        validation_alias="QODEX_KEY_SERVICE",
        description="what wraps new master keys, so that they are nowhere in the clear: `transit:NAME` or "
        "`transit:MOUNT/NAME` (OpenBao, Vault), `awskms:ARN` (boto3 finds credentials and region). None: nothing",
    )
    vault_addr: str | None = Field(
        None, validation_alias="VAULT_ADDR", description="OpenBao or Vault: its address"
    )
    vault_token: SecretText = Field(
        None, validation_alias="VAULT_TOKEN", description="OpenBao or Vault: the token"
    )
    vault_token_file: Path | None = Field(
        None,
        validation_alias="QODEX_VAULT_TOKEN_FILE",
        description="OpenBao or Vault: a file with the token, which an agent renews; it wins over `VAULT_TOKEN`",
    )
    vault_namespace: str | None = Field(
        None, validation_alias="VAULT_NAMESPACE", description="OpenBao or Vault: the namespace"
    )
    vault_cacert: Path | None = Field(
        None, validation_alias="VAULT_CACERT", description="OpenBao or Vault: its certificate authority"
    )
    # Of each provider two: NAME_api_key and NAME_base_url.
    openai_api_key: PlatformKey = platform_key(
        OPENAI,
        "the platform-funded key (platform fallback), under a name that no library reads by itself. "
        "`OPENAI_API_KEY` is read too, with a warning. None: projects without BYOK cannot call",
    )
    openai_base_url: BaseURL = upstream(OPENAI, "upstream")
    anthropic_api_key: PlatformKey = platform_key(
        ANTHROPIC, "the platform-funded key for Anthropic; `ANTHROPIC_API_KEY` is read too, with a warning"
    )
    anthropic_base_url: BaseURL = upstream(ANTHROPIC, "upstream, without `/v1`")
    google_api_key: PlatformKey = platform_key(
        GOOGLE, "the platform-funded key for Google; `GEMINI_API_KEY` is read too, with a warning"
    )
    google_base_url: BaseURL = upstream(GOOGLE, "upstream, without `/v1beta`")
    timezone: str = Field("UTC", validation_alias="QODEX_TIMEZONE", description="reporting time zone")
    https_proxy: str | None = Field(
        None,
        repr=False,  # it may hold a password
        validation_alias="QODEX_HTTPS_PROXY",
        description="explicit proxy for provider calls; the environment's own is ignored",
    )
    ca_file: Path | None = Field(
        None,
        validation_alias="QODEX_CA_FILE",
        description="certificate authority for provider calls; the environment's own is ignored",
    )
    prices_file: Path | None = Field(
        None,
        validation_alias="QODEX_PRICES_FILE",
        description="prices for models the price table does not know, or negotiated ones, by provider, model and day",
    )
    oidc_issuer: str | None = Field(
        None, validation_alias="QODEX_OIDC_ISSUER", description="sign-in: the provider. None: local mode"
    )
    oidc_client_id: str | None = Field(
        None, validation_alias="QODEX_OIDC_CLIENT_ID", description="sign-in: client id"
    )
    oidc_client_secret: SecretText = Field(
        None, validation_alias="QODEX_OIDC_CLIENT_SECRET", description="sign-in: client secret"
    )
    cookie_secret: SecretText = Field(
        None, validation_alias="QODEX_COOKIE_SECRET", description="sign-in: signs the session cookie"
    )
    public_url: str | None = Field(
        None, validation_alias="QODEX_PUBLIC_URL", description="sign-in: the address people open"
    )
    email_domains: Annotated[list[str], NoDecode] = Field(
        [], validation_alias="QODEX_EMAIL_DOMAINS", description="sign-in: allowed e-mail domains"
    )
    trust_email: bool = Field(
        False,
        validation_alias="QODEX_OIDC_TRUST_EMAIL",
        description="sign-in: `yes` for an issuer that sends no `email_verified` (Microsoft Entra ID): its addresses "
        "are taken as verified. Only together with `QODEX_EMAIL_DOMAINS`",
    )
    session_hours: int = Field(
        12,
        gt=0,
        le=720,
        validation_alias="QODEX_SESSION_HOURS",
        description="sign-in: longest session, hours",
    )
    admins: Annotated[list[str], NoDecode] = Field(
        [], validation_alias="QODEX_ADMINS", description="e-mails of the first administrators"
    )

    smtp_url: SecretText = Field(
        None,
        validation_alias="QODEX_SMTP_URL",
        description="mail server for alerts: `smtps://user:password@host:465`, or `smtp://…:587` with STARTTLS. "
        "None: no mail",
    )
    mail_from: str | None = Field(
        None, validation_alias="QODEX_MAIL_FROM", description="sender of the alerts' mail, an e-mail address"
    )
    notify_private_hosts: Annotated[list[str], NoDecode] = Field(
        [],
        validation_alias="QODEX_NOTIFY_PRIVATE_HOSTS",
        description="hosts of one's own network that alerts may be sent to: names, addresses or networks "
        "(`10.0.0.0/8`), comma-separated",
    )

    metrics_address: str | None = Field(
        None,
        validation_alias="QODEX_METRICS_ADDRESS",
        description="where Prometheus may read this process, `127.0.0.1:9464` for one. None: no metrics",
    )

    traces: bool = Field(
        False,
        validation_alias="QODEX_TRACES",
        description="`yes`: runs and calls as OpenTelemetry spans, sent where the usual `OTEL_…` variables say",
    )

    log: logs.Form = Field(
        "text", validation_alias="QODEX_LOG", description="how processes write their log: `text` or `json`"
    )

    is_sample: ClassVar[bool] = False
    """The settings of the sample deployment (lib.sample): nothing that is asked of it leaves this machine."""

    @classmethod
    def from_env(cls, *, database_url: str | None = None) -> Settings:
        """Read the process environment.

        Args:
            database_url: instead of DATABASE_URL.

        Raises:
            SettingsError: names the first unusable variable and what it should be.
        """
        try:
            return cls() if database_url is None else cls.model_validate({"DATABASE_URL": database_url})
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            variable = ambient.name_in_use(str(first["loc"][0])) if first["loc"] else "environment"
            sentence = first["msg"].removeprefix("Value error, ")
        raise SettingsError(variable, sentence)

    def provider(self, name: str) -> ProviderSettings:
        """How this deployment reaches the provider of that name, one of ``lib.providers``."""
        return ProviderSettings(getattr(self, f"{name}_api_key"), getattr(self, f"{name}_base_url"))

    @property
    def platform_keys(self) -> dict[str, Secret]:
        """The platform-funded keys by the provider's name, where there is one."""
        keys = {name: self.provider(name).key for name in known.facts}
        return {name: key for name, key in keys.items() if key is not None}

    @property
    def is_sqlite(self) -> bool:
        """True for one machine with SQLite, False for PostgreSQL."""
        return self.database_url.startswith("sqlite")

    @property
    def sample_folder(self) -> Path:
        """Where the sample deployment of this one is: beside a SQLite database, or else in ``var/``."""
        if self.is_sqlite:
            return Path(f"{self.database_url.removeprefix('sqlite:///')}-sample")
        name = hashlib.sha256(self.database_url.encode()).hexdigest()[:12]
        return ROOT / "var" / f"sample-{name}"

    @property
    def zone(self) -> ZoneInfo:
        """The reporting time zone."""
        return ZoneInfo(self.timezone)

    @field_validator("email_domains", "admins", "notify_private_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_list(value)

    @field_validator("email_domains")
    @classmethod
    def _plain_domains(cls, value: list[str]) -> list[str]:
        return cleaned(clean_domain, value)

    @field_validator("admins")
    @classmethod
    def _plain_addresses(cls, value: list[str]) -> list[str]:
        return cleaned(clean_email, value)

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: Secret | None) -> Secret | None:
        if value is not None:
            addresses.require_mail_server(value.reveal())
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        return cleaned(clean_email, [value])[0] if value else None

    @field_validator("cookie_secret")
    @classmethod
    def _long_enough(cls, value: Secret | None) -> Secret | None:
        if value and len(value.reveal()) < _COOKIE_SECRET_LENGTH:
            raise ValueError(
                f"use at least {_COOKIE_SECRET_LENGTH} random characters, for one from: openssl rand -hex 32"
            )
        return value

    @field_validator("oidc_issuer", "public_url", "vault_addr")
    @classmethod
    def _safe_address(cls, value: str | None) -> str | None:
        return addresses.clean_site(value) if value else None

    @field_validator("public_url")
    @classmethod
    def _no_path(cls, value: str | None) -> str | None:
        if value and urlsplit(value).path:
            raise ValueError("the dashboard is served at the root; give the address without a path")
        return value

    @model_validator(mode="after")
    def _complete_sign_in(self) -> Self:
        """Half a configuration must not end in local mode, where every visitor is an administrator."""
        values = (
            self.oidc_issuer,
            self.oidc_client_id,
            self.oidc_client_secret,
            self.cookie_secret,
            self.public_url,
        )
        if any(values) and not all(values):
            missing = next(name for name, value in zip(SIGN_IN, values, strict=True) if not value)
            raise SettingsError(missing, "sign-in needs it, too. Set it, or none of the sign-in variables.")
        if self.trust_email and not self.email_domains:
            raise SettingsError(
                "QODEX_OIDC_TRUST_EMAIL",
                "takes QODEX_EMAIL_DOMAINS, too: name the domains that the issuer speaks for.",
            )
        return self

    @field_validator("database_url")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if value.startswith("sqlite:///"):
            path = value.removeprefix("sqlite:///")
            if not path or path.startswith((":memory:", "file:")):
                raise ValueError("the database needs a file: sqlite:///var/db/qodex.db")
            if "?" in path:
                raise ValueError("options after ? are not for SQLite here; give the path alone")
            return f"sqlite:///{(ROOT / path).resolve()}"
        if value.startswith("postgresql+psycopg://"):
            return value
        raise ValueError("use sqlite:///path or postgresql+psycopg://user@host/name")

    @field_validator("master_key_file", "ca_file", "prices_file", "vault_token_file", "vault_cacert")
    @classmethod
    def _from_root(cls, value: Path | None) -> Path | None:
        try:
            return (ROOT / value.expanduser()).resolve() if value else None
        except RuntimeError:
            raise ValueError("there is no home folder for ~; write the whole path") from None

    @field_validator("metrics_address")
    @classmethod
    def _listening_address(cls, value: str | None) -> str | None:
        if value is not None:
            addresses.host_and_port(value)
        return value

    @field_validator("https_proxy")
    @classmethod
    def _usable_proxy(cls, value: str | None) -> str | None:
        return addresses.clean_proxy(value) if value else None

    @field_validator("ca_file")
    @classmethod
    def _usable_certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            certificates.read(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, LookupError):
            raise ValueError("not a known time zone; write it like Europe/Berlin") from None
        return value

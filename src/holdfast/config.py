"""Settings: environment variables `HOLDFAST_…`, or the same names in `holdfast.toml`, checked at start.

The environment wins over the file. Every mistake becomes one line that names the setting and says what to write.
"""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Network = IPv4Network | IPv6Network


class SettingsError(Exception):
    """The settings do not add up; `mistakes` holds one readable line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def default_data_dir() -> Path:
    """`./var`; for root `/var/lib/holdfast`, since PostgreSQL's own user must be able to reach it."""
    return Path("/var/lib/holdfast") if os.geteuid() == 0 else Path("var")


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


class Settings(BaseSettings):
    """All settings. Field `x` is `HOLDFAST_X` in the environment and in `holdfast.toml`."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir, validate_default=True)
    database_url: str | None = None
    listen: str = "127.0.0.1:8080"
    public_url: str | None = None
    former_public_urls: Annotated[tuple[str, ...], NoDecode] = ()

    stripe_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    stripe_api_key: SecretStr | None = None
    stripe_api_url: str = "https://api.stripe.com"
    stripe_status_url: str = "https://www.stripestatus.com/api/v2/summary.json"

    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_former_auth_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    twilio_signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    twilio_test_number: str | None = None
    twilio_api_url: str = "https://api.twilio.com"
    twilio_status_url: str = "https://status.twilio.com/api/v2/summary.json"

    stop_scope: Literal["merchant", "company"] = "merchant"
    erasure_key: SecretStr | None = None

    smtp_url: SecretStr | None = None
    mail_from: str = "Holdfast <holdfast@localhost>"
    compliance_mail: Annotated[tuple[str, ...], NoDecode] = ()

    status_name: str = Field(default="Holdfast", min_length=1, max_length=60)

    team_channels: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    alert_webhooks: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    heartbeat_url: SecretStr | None = None
    watch_file: Path | None = None
    runbooks_dir: Path | None = None

    api_token: SecretStr | None = None
    person: str | None = None

    workers: int = Field(default=1, ge=0, le=64)
    router_concurrency: int = Field(default=2, ge=0, le=16)
    delivery_concurrency: int = Field(default=256, ge=0, le=4096)
    destination_concurrency: int = Field(default=64, ge=1, le=1024)
    delivery_attempts: int = Field(default=16, ge=1, le=50)
    delivery_timeout: float = Field(default=15.0, gt=0, le=60)
    allowed_networks: Annotated[tuple[str, ...], NoDecode] = ()
    retention_days: int = Field(default=90, ge=4)  # Stripe sends for three days; what is pruned sooner comes twice

    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, PrefixedToml(settings_cls, Path("holdfast.toml"))

    @field_validator(
        "stripe_webhook_secrets",
        "allowed_networks",
        "team_channels",
        "alert_webhooks",
        "compliance_mail",
        "former_public_urls",
        "twilio_former_auth_tokens",
        "twilio_signing_keys",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _place(cls, value: str | Path) -> str | Path:
        """PostgreSQL writes it into files that are read by lines, and as UTF-8."""
        where = os.fsencode(Path(value).resolve())
        try:
            is_readable = "\n" not in where.decode() and "\r" not in where.decode()
        except UnicodeDecodeError:
            is_readable = False
        if not is_readable:
            raise ValueError(
                f"{os.fspath(Path(value).resolve())!a} has a line break in it, or is not UTF-8: "
                "choose a directory with an ordinary name"
            )
        return value

    @field_validator("stripe_webhook_secrets")
    @classmethod
    def _stripe_secrets(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, secret in enumerate(value, 1):
            if not secret.get_secret_value().startswith("whsec_"):
                raise ValueError(
                    f"secret {number} does not begin with whsec_; copy the endpoint's signing secret from Stripe"
                )
        return value

    @field_validator("twilio_account_sid")
    @classmethod
    def _twilio_account(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("AC[0-9a-f]{32}", value):
            raise ValueError("write the account's SID, AC and 32 digits from 0 to f, as Twilio's console shows it")
        return value

    @field_validator("twilio_test_number")
    @classmethod
    def _test_number(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\+[1-9][0-9]{5,14}", value):
            raise ValueError("write a phone number of yours with its country's code, such as +14155550123")
        return value

    @field_validator("twilio_signing_keys")
    @classmethod
    def _signing_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, pair in enumerate(value, 1):
            key, equals, secret = pair.get_secret_value().partition("=")
            if not (key and equals and secret):
                raise ValueError(f"key {number} is not KEY_ID=SECRET")
        return value

    @field_validator("former_public_urls")
    @classmethod
    def _former(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_public(url) for url in value)

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        return _public(value) if value is not None else None

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"{error}; write networks such as 10.1.0.0/16,127.0.0.1/32") from None
        return value

    @field_validator("compliance_mail")
    @classmethod
    def _mailboxes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for mailbox in value:
            if not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", mailbox):
                raise ValueError(f"{mailbox!r} is no mailbox; write addresses such as compliance@example.com")
        return value

    @field_validator("team_channels")
    @classmethod
    def _channels(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        """Only their form: Apprise takes half a second to import, and only those who tell anything need it."""
        for number, url in enumerate(value, 1):
            if not urlsplit(url.get_secret_value()).scheme:
                raise ValueError(
                    f"address {number} is none that Apprise knows; see https://github.com/caronc/apprise/wiki"
                )
        return value

    @field_validator("alert_webhooks")
    @classmethod
    def _webhooks(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(value, 1):
            if not _is_http(url.get_secret_value()):
                raise ValueError(f"address {number} is not an http(s) address")
        return value

    @field_validator("status_name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("write the name of your company or service, in one line")
        return value.strip()

    @field_validator("api_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else None
        if text is not None and (len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text):
            raise ValueError(
                "write at least 16 letters, digits and signs, without spaces; for example what "
                "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints"
            )
        return value

    @field_validator("erasure_key")
    @classmethod
    def _erasure_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError(
                "write at least 32 characters; for example what "
                "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints, and keep them"
            )
        return value

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_http(value.get_secret_value()):
            raise ValueError("this is not an http(s) address")
        return value

    @field_validator("runbooks_dir")
    @classmethod
    def _runbooks(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"there is no directory {value}; make it, or leave the setting out")
        return value

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{value!r} is not host:port; write for example 127.0.0.1:8080")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("postgresql", "postgres"):
            raise ValueError("write postgresql://user:password@host:5432/holdfast")
        return value

    @field_validator("stripe_api_url", "stripe_status_url", "twilio_api_url", "twilio_status_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not _is_http(value):
            raise ValueError(f"{value!r} is not an http(s) address")
        return value.rstrip("/") if value else value

    @cached_property
    def address(self) -> Address:
        host, _, port = self.listen.rpartition(":")
        return Address(host.strip("[]"), int(port))

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        return tuple(ip_network(text) for text in self.allowed_networks)

    @property
    def public(self) -> str:
        return self.public_url or f"http://{self.listen}"


def _is_http(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _public(text: str) -> str:
    """One of our public URLs, without a slash at its end. Raises ValueError."""
    if not _is_http(text):
        raise ValueError(f"{text!r} is not an http(s) address")
    bare = text.removesuffix("/")
    parts = urlsplit(bare)
    if bare.partition("://")[2] != parts.netloc:
        raise ValueError(
            f"{text!r} has more than a host and a port: what a call is told leads on to /hooks/twilio/… right behind "
            f"them, so give Holdfast a host of its own, and write {parts.scheme}://{parts.netloc}"
        )
    return bare


class PrefixedToml(TomlConfigSettingsSource):
    """`holdfast.toml` with the environment's names, `HOLDFAST_LISTEN = "…"`; unknown names are mistakes."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls, path)
        known = {f"HOLDFAST_{name.upper()}": name for name in settings_cls.model_fields}
        unknown = [name for name in self.init_kwargs if name not in known]
        if unknown:
            raise SettingsError([f"{path}: {name} is not a setting" for name in sorted(unknown)])
        self.init_kwargs = {known[name]: value for name, value in self.init_kwargs.items()}


def load() -> Settings:
    """The settings of this process. Raises SettingsError with one line per mistake."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError([_line(dict(item)) for item in error.errors()]) from None
    except ValueError as error:
        raise SettingsError([f"holdfast.toml: {error}"]) from None


def _line(item: dict[str, object]) -> str:
    location = item["loc"]
    assert isinstance(location, tuple)
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"HOLDFAST_{str(location[0]).upper()}: {message}"

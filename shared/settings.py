"""Every setting of every process: typed, read once from TIDINGS_* variables, passed in."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import ConfigurationError

SECRETS_DIRECTORY = Path("/run/secrets")
"""Where containers mount secrets: the file tidings_database_url stands for TIDINGS_DATABASE_URL, which outranks it."""

Network = IPv4Network | IPv6Network


def read_networks(text: str) -> tuple[Network, ...]:
    """Raises ValueError for what is neither an address nor a network, or a network with a host's bits in it."""
    return tuple(ip_network(each) for each in text.replace(",", " ").split())


class Settings(BaseSettings):
    """All durations are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="TIDINGS_",
        frozen=True,
        extra="ignore",
        secrets_dir=SECRETS_DIRECTORY if SECRETS_DIRECTORY.is_dir() else None,
    )

    # Servers
    database_url: str | None = Field(
        None, repr=False, description="postgresql://user:password@host:port/name; none: `tidings up` starts one"
    )
    broker_url: str | None = Field(None, repr=False, description="redis:// or amqp://; none: `tidings up` starts one")
    secret_keys: SecretStr | None = Field(
        None,
        description="keys that encrypt provider credentials, newest first, comma-separated; each ID:BASE64 of 32 bytes",
    )
    secret_key_file: Path | None = Field(None, description="the same, one key a line; DIR/secret.key under `up`")

    # API
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8090, ge=0, le=65535, description="port of the API; 0 picks a free one")
    public_url: str | None = Field(None, description="how clients reach the API, for links in messages")
    allowed_origins: str = Field(
        "",
        description="hosts of web pages that may call the API, or origins such as https://app.example.com:8443, which"
        " are compared exactly; separated by commas; localhost always may",
    )
    trusted_proxies: str = Field(
        "",
        description="addresses and networks, separated by commas, of proxies whose X-Forwarded-For and"
        " X-Forwarded-Proto are believed; none: whoever connects is the client",
    )
    max_body_bytes: int = Field(1024 * 1024, description="largest JSON body; longer ones get 413")
    max_connections: int | None = Field(
        None, gt=0, description="most connections to one API process; none: what the limit of open files leaves"
    )
    drain_seconds: float = Field(
        3.0,
        ge=0,
        description="how long the API goes on serving after a TERM, while /ready answers 503 and balancers notice",
    )
    rate_limits: bool = Field(True, description="whether users' and guests' calls to rate-limited routes are counted")
    key_calls_per_minute: int = Field(
        300_000,
        ge=0,
        description="most calls in a minute of an API key without a limit of its own; 0: no limit",
    )
    project_calls_per_minute: int = Field(600_000, ge=0, description="the same of all keys of a project together")
    session_seconds: float = Field(31_536_000.0, gt=0, description="how long a user's session lasts")
    max_file_bytes: int = Field(100 * 1024 * 1024, gt=0, description="largest file that a bucket may allow")
    files_url: str | None = Field(
        None, description="s3://bucket/prefix: files are kept in S3-compatible storage; none: in Postgres"
    )
    files_endpoint: str | None = Field(
        None, description="address of that storage, such as http://minio:9000; none: Amazon's"
    )
    files_region: str = Field("us-east-1", description="region of that storage")
    files_access_key: SecretStr | None = Field(
        None, description="access key for that storage; none: the one that the machine's role or AWS_* variables give"
    )
    files_secret_key: SecretStr | None = Field(None, description="secret key that belongs to it")
    upload_retention_seconds: float = Field(
        86_400.0, gt=0, description="how long an upload may stand still before what there is of it is removed"
    )
    key_cache_seconds: float = Field(5.0, description="how long a revoked API key may still be honoured")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of /metrics, /live and /ready for roles without an API; none: off",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least grave that is logged"
    )
    log_format: Literal["json", "text"] = Field("json", description="json: one object a line; text: for reading along")

    # Calling an API from the command line; none: that of `tidings up` on this machine
    api_endpoint: str | None = Field(
        None, description="the API that `send`, `messages` and `import` call, such as http://127.0.0.1:8090/v1"
    )
    api_project: str | None = Field(None, description="id of the project they call it for")
    api_key: SecretStr | None = Field(None, description="secret of an API key of that project")

    # Delivering
    lease_seconds: float = Field(
        75.0, gt=0, description="how long a claim holds without renewal; about 2 x the longest timeout below"
    )
    provider_timeout_seconds: float = Field(10.0, gt=0, description="one provider call, connect included")
    smtp_final_timeout_seconds: float = Field(
        30.0, gt=0, description="wait for the answer to the final dot (RFC 1047: shorter waits make copies)"
    )
    smtp_connections: int = Field(
        50, gt=0, description="most connections of one process to an SMTP account's server; fewer if it refuses more"
    )
    smtp_mails_per_connection: int = Field(100, gt=0, description="mails after which an SMTP connection is replaced")
    smtp_allowed_hosts: str = Field(
        "", description="private hosts that SMTP providers may name: names, addresses or networks, comma-separated"
    )
    window: int = Field(
        4000,
        gt=0,
        description="recipients of one worker process that may be in flight: the bound of copies per kill",
    )
    batch_size: int | None = Field(None, gt=0, description="recipients per batch; none: what the adapter declares")
    page_size: int = Field(10_000, gt=0, description="recipients planned per fan-out transaction")
    unrung_seconds: float = Field(
        2.0, gt=0, description="how long due work waits at most for a ring; then workers look for it without one"
    )
    message_time_to_live_seconds: float = Field(86_400.0, description="a recipient not reached by then is `expired`")
    account_fault_patience_seconds: float = Field(
        600.0, description="how long recipients wait for mended credentials before they fail"
    )
    account_fault_retry_seconds: float = Field(
        15.0, gt=0, description="how often one recipient probes whether an account at fault is mended"
    )
    rates: dict[str, float] = Field(
        default_factory=dict,
        description="most recipients a second of each account of a provider kind, over all workers, as JSON:"
        ' {"fcm": 10000, "smtp": 50}; kinds not named are not limited',
    )
    quick_retries: int = Field(3, ge=0, description="tries before the long backoff starts")
    retry_base_seconds: float = Field(2.0, gt=0, description="first step of the backoff; grows by 2, full jitter")
    retry_cap_seconds: float = Field(600.0, gt=0, description="longest step of the backoff")
    max_resends: int = Field(
        3,
        ge=0,
        description="times a recipient whose outcome is unknown is sent again, where the rule allows it",
    )

    # Ticks
    release_interval_seconds: float = Field(0.5, gt=0, description="how often due schedules are looked for")
    sweep_interval_seconds: float = Field(
        2.0, gt=0, description="how often expired leases and stale work are looked for"
    )
    fold_interval_seconds: float = Field(1.0, gt=0, description="how often receipts are taken from their inbox")
    stale_due_seconds: float = Field(5.0, gt=0, description="due work older than this is rung again by the sweep")

    # Retention
    expired_target_retention_seconds: float = Field(
        7 * 86_400.0, ge=0, description="how long a target is kept whose address the provider called dead"
    )
    audit_retention_seconds: float = Field(
        90 * 86_400.0, gt=0, description="how long the logs of messages, providers, topics and subscribers are kept"
    )

    import_retention_seconds: float = Field(
        30 * 86_400.0, gt=0, description="how long a finished contact import and its faults are kept"
    )
    receipt_retention_seconds: float = Field(
        30 * 86_400.0, gt=0, description="how long receipts are kept after the ledger took them up"
    )

    # Where provider traffic goes; none: the provider's own address
    live: bool | None = Field(None, description="overrides the installation's own row; meant for tests")
    endpoint_smtp: str | None = None
    endpoint_mailgun: str | None = None
    endpoint_sendgrid: str | None = None
    endpoint_resend: str | None = None
    endpoint_ses: str | None = None
    endpoint_fcm: str | None = None
    endpoint_apns: str | None = None
    endpoint_twilio: str | None = None
    endpoint_vonage: str | None = None
    endpoint_msg91: str | None = None
    endpoint_telesign: str | None = None
    endpoint_textmagic: str | None = None
    telesign_bulk: bool = Field(
        False, description="send through Telesign in bulk: then receipts alone, which it must post, tell of each number"
    )
    ca_file: Path | None = Field(None, description="PEM file with a further certificate authority to trust")

    # The simulator
    simulator_dir: Path = Field(Path(".tidings/simulator"), description="record and certificates of the simulator")

    @field_validator("trusted_proxies")
    @classmethod
    def _names_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @model_validator(mode="after")
    def _lease_outlives_calls(self) -> Self:
        longest = self.longest_call_seconds
        if self.lease_seconds <= longest:
            raise ValueError(  # pydantic turns it into its own error
                f"lease_seconds ({self.lease_seconds:g}) must be longer than provider_timeout_seconds and "
                f"smtp_final_timeout_seconds ({longest:g}): nothing could be sent under it"
            )
        return self

    @property
    def longest_call_seconds(self) -> float:
        """The longest that a call to any provider may take."""
        return max(self.provider_timeout_seconds, self.smtp_final_timeout_seconds)

    def endpoint_of(self, kind: str) -> str | None:
        """Where traffic of this provider kind is sent instead of the provider's own address."""
        value: str | None = getattr(self, f"endpoint_{kind}", None)
        return value

    def allowed_hosts(self) -> frozenset[str]:
        return frozenset(self.allowed_origins.replace(",", " ").split())

    def proxy_networks(self) -> tuple[Network, ...]:
        return read_networks(self.trusted_proxies)

    def require_database_url(self) -> str:
        if not self.database_url:
            raise ConfigurationError(
                "TIDINGS_DATABASE_URL is not set.",
                hint="Set it to postgresql://user:password@host/name, or run `tidings up`, which starts its own.",
            )
        if not self.database_url.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ConfigurationError(
                "TIDINGS_DATABASE_URL names no Postgres database.",
                hint="It looks like postgresql://user:password@host:5432/name.",
            )
        return self.database_url

    def require_broker_url(self) -> str:
        if not self.broker_url:
            raise ConfigurationError(
                "TIDINGS_BROKER_URL is not set.",
                hint="Set it to redis://host:6379/0 or amqp://user:password@host//, or run `tidings up`.",
            )
        if not self.broker_url.startswith(("redis://", "rediss://", "redis+socket://", "amqp://", "amqps://")):
            raise ConfigurationError(
                "TIDINGS_BROKER_URL names no broker that Tidings can use.",
                hint="Use redis://, rediss://, redis+socket://, amqp:// or amqps://; Redis Cluster is not supported.",
            )
        return self.broker_url


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process, read once.

    Raises ConfigurationError naming each bad variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"TIDINGS_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigurationError(f"Wrong settings: {faults}", hint="`tidings config` lists every setting.") from error

"""Settings of the service: environment variables that begin with `MIEN_`, see docs/service-settings.md.

    MIEN_PORT=9000 MIEN_MODEL=models:/emotion/3 python -m serving

Importing this reads nothing; `Settings()` reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from serving.traffic import parse_share
from serving.urls import SecretUrl

PREFIX = "MIEN_"
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Folder that the workers of one service share; Prometheus' client reads it while it is imported."""
# What `hash_key` writes: name, scope, SHA-256 of the key.
_KEY = re.compile(r"[\w.-]+:(predict|label|admin):[0-9a-f]{64}")
_MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """The service's settings; each one is `MIEN_` and its name in upper case."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        use_attribute_docstrings=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    # Address
    host: str = "127.0.0.1"
    """Address of `python -m serving`; addresses other than loopback need keys or `MIEN_ALLOW_ANONYMOUS`."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port that `python -m serving` listens on; 0 takes a free one."""
    workers: int = Field(default=1, ge=1)
    """Answering processes of `python -m serving`; the cores are divided between them."""
    shutdown_s: float = Field(default=30.0, gt=0)
    """Seconds that requests in flight get to finish after SIGTERM (`python -m serving`)."""

    # Model
    model: str = "models:/emotion@production"
    """Model to serve: `models:/NAME@ALIAS`, `models:/NAME/STAGE`, `models:/NAME/VERSION`, or a path."""
    tracking_uri: SecretUrl = Field(
        default=SecretUrl("sqlite:///mlruns/mlflow.db"),
        validation_alias=AliasChoices("MIEN_TRACKING_URI", "MLFLOW_TRACKING_URI"),
    )
    """MLflow's registry: an `http(s)://` server or a `sqlite:///` file; `MLFLOW_TRACKING_URI` is read too."""
    poll_s: float = Field(default=5.0, gt=0)
    """Seconds between two polls of the registry, for alias and stage URIs."""
    cache_dir: Path = Path(".mien/models")
    """Folder that keeps the last good model, to start with while the registry is unreachable."""

    model_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds a model may take to load or for one batch; a slower one is refused, or taken out of service."""

    trusted_keys: Annotated[tuple[Path, ...], NoDecode] = ()
    """Files of public keys, separated by commas; only models that one of them signed are served."""

    # Trials
    shadow_model: str | None = None
    """Another model, named as `MIEN_MODEL`, that classifies a sample of the answered pictures."""
    shadow_fraction: float = Field(default=0.1, gt=0, le=1)
    """Fraction of the answered pictures that the shadow classifies."""
    canary: float = Field(default=0.0, ge=0, le=1)
    """Share of the requests that the candidate answers, `10%` or `0.1`; 0: none."""
    canary_model: str = "models:/emotion@candidate"
    """The candidate, named as `MIEN_MODEL`."""
    canary_max_slowdown: float = Field(default=3.0, gt=1)
    """How many times slower than the live model the candidate may be before it is paused."""
    canary_pause_s: float = Field(default=600.0, gt=0)
    """Seconds without requests for a candidate that was too slow or failed too often."""

    # Inference
    threads: int = Field(default=0, ge=0)
    """Threads that answer in each worker, one batch each; 0 takes the usable cores divided by the workers."""
    batch_size: int = Field(default=16, ge=1, le=64)
    """Maximum number of pictures in one batch."""
    target_p99_ms: float | None = Field(default=None, gt=0)
    """Latency in ms that batches should allow; they stay at most `MIEN_BATCH_SIZE`. Unset: no target."""
    queue_images: int = Field(default=512, ge=1)
    """Maximum number of pictures that wait, fewer if they cannot be answered in time; others get 503."""
    timeout_s: float = Field(default=5.0, gt=0)
    """Seconds a request may take from its last byte to its answer; a later one gets 503."""

    novelty_threshold: float | None = None
    """Novelty above which a face is called unfamiliar; unset: the model's own, 0.99 of exported models."""

    # Faces
    face_detector: Literal["auto", "haar", "yunet", "none"] = "auto"
    """For models trained on whole pictures: `auto` is YuNet where its file is found, Haar otherwise."""
    face_model: Path | None = None
    """YuNet's file, in place of the one that a model version or the image brings."""
    face_margin: float = Field(default=0.15, ge=0, le=1)
    """Added on each side of a found face, for models trained on whole pictures; a fraction of the box."""
    max_faces: int = Field(default=32, ge=1)
    """Maximum number of faces of one picture, the largest first."""

    # Limits
    max_bytes: int = Field(default=10 * _MEBIBYTE, ge=1)
    """Maximum size of a picture in bytes; a larger one gets 413."""
    max_pixels: int = Field(default=32_000_000, ge=1)
    """Maximum number of pixels of a picture, by its header; more get 413. 16-bit pixels (PNG) count twice."""
    max_batch_files: int = Field(default=32, ge=1)
    """Maximum number of files of one `/detect/batch` request; a larger one gets 413."""
    max_batch_bytes: int = Field(default=64 * _MEBIBYTE, ge=1)
    """Maximum size of a `/detect/batch` request in bytes; a larger one gets 413."""
    max_tensor_images: int = Field(default=64, ge=1)
    """Maximum number of pictures in a tensor request (`/v2/…/infer`, `/invocations`); more get 413."""
    max_held_bytes: int = Field(default=256 * _MEBIBYTE, ge=1)
    """Maximum number of bytes of all request bodies in one worker at once; further ones get 503."""
    max_connections: int = Field(default=512, ge=1)
    """Maximum number of open connections of a worker; another one replaces an idle one, or gets 503."""
    max_head_bytes: int = Field(default=32 * 1024, ge=1024)
    """Maximum number of bytes of a request line and its header fields; a larger head gets 431."""
    head_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds a client may take to send request line and header fields; a slower one gets 408."""
    body_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds a client may take to send its request (a slower one gets 408), or to read its answer."""

    # Streams
    stream_connections: int = Field(default=32, ge=1)
    """Maximum number of open streams (`/stream`) in one worker; one more is closed with 1013."""
    stream_fps: float = Field(default=30.0, gt=0)
    """Maximum number of answered frames per second of one stream; the newest are answered, others dropped."""
    stream_idle_s: float = Field(default=30.0, gt=0)
    """Seconds without a message from its client, or without its reading answers, that end a stream (1008)."""

    # Access
    api_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """`NAME:SCOPE:SHA256` of each key, separated by commas; scope `predict`, `label` or `admin`."""
    allow_anonymous: bool = False
    """Whether requests without a key are answered (scope `predict`) on addresses other than loopback."""
    rate_per_s: float = Field(default=0.0, ge=0)
    """Requests per second of one key (without keys: one client address) to all workers; 0: no limit."""
    rate_burst: int = Field(default=20, ge=1)
    """Number of requests that may come at once before `MIEN_RATE_PER_S` limits them."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call the service, separated by commas; none by default."""

    # Observations
    database_url: SecretUrl = SecretUrl("sqlite:///.mien/observations.db")
    """SQLAlchemy URL of the observations: SQLite or PostgreSQL."""
    retention_days: float = Field(default=90.0, gt=0)
    """Days after which observations are deleted."""
    keep_images: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the pictures that is kept; 0: none."""
    keep_images_dir: Path = Path(".mien/pictures")
    """Folder that kept pictures go to."""
    keep_images_days: float = Field(default=30.0, gt=0)
    """Days after which kept pictures are deleted."""
    labels_needed: int = Field(default=2, ge=1)
    """Number of people who must give a kept picture the same label before the label counts."""

    # Drift
    drift: bool = True
    """Whether the live model's observations are compared with its reference."""
    drift_last_n: int = Field(default=500, ge=1)
    """Number of newest observations that are compared."""
    drift_last_s: float | None = Field(default=None, gt=0)
    """Maximum age in seconds of compared observations; unset: unlimited."""
    drift_min_rows: int = Field(default=200, ge=1)
    """Minimum number of observations for a verdict."""
    drift_max_rows: int = Field(default=10_000, ge=1)
    """Maximum number of rows that are compared; a larger window is sampled evenly."""
    drift_stale_s: float = Field(default=300.0, ge=0.1)
    """Age in seconds at which a drift result is computed again, if there are new observations."""
    drift_false_alarms: float = Field(default=0.005, ge=0.001, le=0.2)
    """Accepted share of false alarms: windows without drift that are reported as drift."""
    drift_pictures_per_person: float | None = Field(default=None, ge=1)
    """Mean number of pictures of one person in a row; unset: the reference's number of each person."""

    # Logs
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Minimum level of the JSON log lines on standard error."""
    access_log: bool = True
    """Whether each request leaves a log line; never with its client's address."""

    @property
    def target_s(self) -> float | None:
        """`target_p99_ms` in seconds."""
        return None if self.target_p99_ms is None else self.target_p99_ms / 1e3

    @field_validator("canary", mode="before")
    @classmethod
    def _read_share(cls, value: str | float) -> float:
        return parse_share(value)

    @field_validator("trusted_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        if value and not names:
            # An empty list would switch the check off.
            raise ValueError("no file is named; name a public key's, or unset it to serve all models")
        return names

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for entry in keys:
            if not _KEY.fullmatch(entry):
                # The entry itself is not shown: it may be the key, unhashed.
                raise ValueError(
                    "an entry is not NAME:SCOPE:SHA256 with scope predict, label or admin; "
                    "make one with `python -m serving.http.auth NAME SCOPE`"
                )
        names = [entry.split(":")[0] for entry in keys]
        if len(set(names)) != len(names):
            raise ValueError("two keys have one name; names must differ")
        return keys

    @model_validator(mode="after")
    def _check_drift(self) -> Settings:
        if self.drift_min_rows > min(self.drift_last_n, self.drift_max_rows):
            raise ValueError(
                f"MIEN_DRIFT_MIN_ROWS={self.drift_min_rows} is more than a window has; lower it, or raise "
                f"MIEN_DRIFT_LAST_N={self.drift_last_n} and MIEN_DRIFT_MAX_ROWS={self.drift_max_rows}"
            )
        return self


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings but are not: a misspelt one would be ignored silently."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(
        name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known
    )

"""Everything that can be set, read once at the door from the environment (prefix GLYPHSERVE_)."""

import ipaddress
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.errors import UnprocessableContent

_POSTGRES = re.compile(
    r"postgres(ql)?(\+psycopg)?://([^:/\s]*(:[^@\s]*)?@)?(\[[0-9A-Fa-f:.]+\]|[^:/?@\[\]\s]*)(:\d{1,5})?/[^?\s]+(\?\S*)?"
)
"""As SQLAlchemy reads it, with psycopg, which is installed; the name of the database is needed."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SIGNS_OF_LIFE = 6  # within the time after which a worker is taken for gone


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "glyphserve"


def _from_environment(names: Iterable[str]) -> dict[str, str]:
    """Read what is set: by a variable, or in a file that one names, so that a secret is in no environment.

    An empty file is refused: a secret is missing.
    """
    found = {}
    for name in names:
        variable = f"GLYPHSERVE_{name.upper()}"
        if value := os.environ.get(variable):  # an empty one counts as not set, as Compose writes it
            found[name] = value
        elif path := os.environ.get(f"{variable}_FILE"):
            try:
                found[name] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                problem = f"the file that {variable}_FILE names cannot be read: {type(error).__name__}"
                raise UnprocessableContent(problem) from None
            if not found[name]:
                raise UnprocessableContent(f"the file that {variable}_FILE names is empty")
    return found


class Settings(BaseModel):
    """The settings of one process: what is given wins over a variable, and that over a file that one names.

    Raises ValidationError, or UnprocessableContent for a file that cannot be read.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)  # a password may be in what is refused

    home: Path = Field(default_factory=_data_home)
    """Folder of everything that is kept: models, jobs, scratch space."""
    store_url: str | None = None
    """Where models are kept: a folder or s3://bucket/prefix; by default `store` in the home folder."""
    database_url: str | None = None
    """Where jobs are kept: sqlite:///file or postgresql+psycopg://…; by default `jobs.sqlite` in the home folder."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 for any free one."""
    allowed_hosts: str | None = None
    """Hosts that requests may ask for: a.example,*.b.example or *; by default localhost and HOST, with keys any."""
    open_predict: bool = False
    """Let everybody predict, even when there are keys."""
    open_metrics: bool = True
    """Let everybody read /metrics, even when there are keys."""
    processes: int = Field(default=1, ge=1, le=64)
    """API processes that share the port, one for each core that shall answer."""
    model: str = "mnist"
    """The model that answers when a request names none."""
    alias: str = "production"
    """The alias of that model that answers when a request names neither alias nor version."""
    alias_poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How often a promotion made elsewhere is looked for."""
    max_image_bytes: int = Field(default=1024**2, ge=1)
    """Largest encoded image."""
    max_body_bytes: int = Field(default=8 * 1024**2, ge=1)
    """Largest request body: a batch of images."""
    max_json_bytes: int = Field(default=64 * 1024, ge=1)
    """Largest request body of every route but predictions."""
    max_batch_images: int = Field(default=64, ge=1)
    """Most images in one request."""
    max_tensor_rows: int = Field(default=2048, ge=1)
    """Most images in one tensor of pixels or floats, by the inference protocols."""
    max_image_pixels: int = Field(default=4_000_000, ge=784)
    """Most pixels of an image, before it is decoded."""
    max_image_side: int = Field(default=4096, ge=28)
    """Longest side of an image in pixels."""
    remembered_images: int = Field(default=4096, ge=0, le=1_000_000)
    """Images of the last predictions that each process remembers, so that a correction may name a request."""
    max_samples: int = Field(default=10_000, ge=1)
    """Most corrected images that are kept for a model; more are answered with 507."""
    max_sample_bytes: int = Field(default=64 * 1024**2, ge=1)
    """Most bytes that they may take together, with the labels that they had before."""
    datasets_dir: Path | None = None
    """Folder of data sets that jobs may name: folders of IDX files or of images by class, and .npz files."""
    max_running_requests: int = Field(default=64, ge=1)
    """Requests answered at once, beside those of the fast path, which take no time; more must wait."""
    max_waiting_requests: int = Field(default=128, ge=0)
    """Requests that may wait; more are answered with 503."""
    max_event_streams: int = Field(default=512, ge=1)
    """Event streams of jobs that may be open at once in each process; more are answered with 503."""
    header_seconds: float = Field(default=5.0, ge=0.5, le=3600)
    """Time for a request's headers, and for a new connection to begin one."""
    body_seconds: float = Field(default=10.0, ge=0.5, le=3600)
    """Time for a request to be complete (408)."""
    request_seconds: float = Field(default=10.0, ge=0.5, le=3600)
    """Time from there until the answer begins (503)."""
    write_seconds: float = Field(default=30.0, ge=0.5, le=3600)
    """Time without progress after which a client that does not read its answer is disconnected."""
    idle_seconds: float = Field(default=75.0, ge=0.5, le=3600)
    """Time after which a connection without requests is closed; longer than a proxy in front keeps it."""
    stall_seconds: float = Field(default=10.0, ge=0, le=3600)
    """Time without a turn of its event loop after which an API process is killed and started again; 0 for never."""
    drain_seconds: float = Field(default=1.0, ge=0, le=60)
    """Time after SIGTERM in which requests are still taken, while `/health/ready` says no to balancers."""
    max_queued_jobs: int = Field(default=20, ge=1)
    """Training jobs that may wait; more are answered with 429."""
    min_free_bytes: int = Field(default=200 * 1024**2, ge=0)
    """Free disk space below which no training job is taken (507)."""
    max_train_minutes: float = Field(default=60.0, gt=0)
    """Training time after which a job is ended with what it has."""
    max_predict_ms: float = Field(default=10.0, gt=0)
    """Milliseconds that a new version may take for one image, as its worker measures it; a slower one is rejected."""
    job_retention_days: float = Field(default=30.0, gt=0)
    """Days after which the record of an ended job is deleted; the version that it made stays."""
    keep_versions: int = Field(default=50, ge=1)
    """Newest versions of a model that are kept; older ones go, unless an alias means or lately meant them."""
    worker_name: str | None = Field(default=None, pattern="^[A-Za-z0-9._-]{1,40}$")
    """Begins the ids of this host's workers; by default the host's name when DATABASE_URL is set, else `worker`."""
    takeover_seconds: float = Field(default=60.0, ge=5)
    """Time without a sign of life after which another worker takes over a job; the same on all hosts."""
    train_threads: int = Field(default=1, ge=1)
    """CPU threads of a training job; predictions keep the rest."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged."""
    log_format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object each."""
    log_requests: Literal["errors", "all"] = "errors"
    """Which requests get a line: those that went wrong here (5xx but 503), or all."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _from_environment(cls.model_fields.keys() - given.keys()) | given

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, url: str | None) -> str | None:
        scheme, is_sqlite, file = (url or "").partition("sqlite:///")
        if url is None or (not scheme and file and ":memory:" not in file and not Path(file).is_dir()):
            return url
        if is_sqlite or not _POSTGRES.fullmatch(url):
            raise ValueError("it must be sqlite:///file (no folder) or postgresql+psycopg://user:password@host/name")
        return url

    @field_validator("model", "alias")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("names are lower-case letters, digits, - and _, at most 63")
        return name

    @field_validator("store_url")
    @classmethod
    def _is_a_store(cls, url: str | None) -> str | None:
        if url and "://" in url and not re.match(r"s3://[^/]", url):
            raise ValueError("it must be a folder or s3://bucket/prefix")
        return url

    @property
    def sign_of_life_seconds(self) -> float:
        """How often a worker gives one for its jobs."""
        return self.takeover_seconds / _SIGNS_OF_LIFE

    @property
    def is_local(self) -> bool:
        """Whether the address to listen on can be reached from this machine alone."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def store_location(self) -> str:
        """The store's URL or folder."""
        return self.store_url or str(self.home / "store")

    @property
    def database_location(self) -> str:
        """The jobs database's URL."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'jobs.sqlite'}"

    @property
    def database_file(self) -> Path | None:
        """The file of the jobs database; None when it is none of SQLite's."""
        _, is_sqlite, file = self.database_location.partition("sqlite:///")
        return Path(file) if is_sqlite else None

    @property
    def worker_prefix(self) -> str:
        """What the ids of this host's workers begin with: hosts that share a database must not share ids."""
        return self.worker_name or (platform.node()[:40] if self.database_url else "") or "worker"

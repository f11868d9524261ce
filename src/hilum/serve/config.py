"""The service's configuration: one TOML file, then HILUM_SERVE_* variables, plain data only.

Everything has a default that works on one machine: loopback, SQLite, a folder, shipped bundles.
`check.py` says what is wrong beyond what a schema can see.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hilum.core.documents import parse_json, parse_toml, read_document
from hilum.core.errors import ConfigError, DocumentError
from hilum.core.options import Options, checked, unknown
from hilum.dicom.web import WebPeer
from hilum.inference.pipeline import ready_pipelines

ENVIRONMENT = "HILUM_SERVE_"
GIB = 2**30
# What may be sent to a destination: result objects, or the image itself (as a de-identified copy).
SOURCE = "source"

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free one
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")]
Priority = Literal["routine", "high", "stat"]
# No colon: HTTP Basic ends the name there, and names of the OpenID provider have one.
UserName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^:\x00-\x1f]+$")]


class Tls(Options):
    """Certificate of our side, and who is believed on the other."""

    certificate: Path
    key: Path
    ca: Path | None = None  # believed authorities; with it, clients must show a certificate


class Node(Options):
    """The DICOM node."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 11112
    ae_title: AeTitle = "HILUM"
    allow: tuple[AeTitle, ...] = ()  # calling AE titles; none: everybody on loopback, else nobody
    check_called: bool | None = None  # peers must call us by our title; None: where `allow` is set
    tls: Tls | None = None
    associations: int = Field(default=25, ge=1, le=1000)
    idle_s: float = Field(default=60.0, gt=0)
    object_bytes: int = Field(default=256 * 2**20, ge=1)  # of one data set
    pdu_bytes: int = Field(default=256 * 2**10, ge=16384, le=2**24)  # the largest we take


class User(Options):
    """Who may log in. `password` is an argon2 hash: `hilum users add --print` makes it."""

    role: Literal["reader", "admin"] = "reader"
    password: str = Field(pattern=r"^\$argon2id\$")


class Oidc(Options):
    """Log-in by an OpenID provider. Its redirect URI is ours: /api/v1/session/oidc/callback."""

    issuer: str = Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")
    client_id: str = Field(min_length=1)
    client_secret_file: Path | None = None  # none: a public client
    ca: Path | None = None  # believed authorities; none: the system's
    scopes: tuple[str, ...] = ("openid", "profile")
    audience: str | None = None  # of bearer tokens; none: they are not taken
    name_claim: str = "preferred_username"
    role_claim: str = "roles"  # a path, such as realm_access.roles
    admin: tuple[str, ...] = ("admin",)  # values of the claim
    reader: tuple[str, ...] = ("reader",)
    url: str | None = Field(default=None, pattern=r"^https?://")  # of our page, behind a proxy


class Web(Options):
    """HTTP."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 8080
    tls: Tls | None = None
    users: dict[UserName, User] = Field(default_factory=dict)
    oidc: Oidc | None = None
    session_hours: float = Field(default=12.0, gt=0)
    upload_bytes: int = Field(default=GIB, ge=1)  # of one request
    origins: tuple[str, ...] = ()  # further sites that may read the API


class DicomPeer(Options):
    """Another DICOM node."""

    host: str
    port: int = Field(ge=1, le=65535)
    ae_title: AeTitle
    tls: Tls | None = None


class Retry(Options):
    """Back-off of a destination that does not answer: doubled each time, with limits."""

    first_s: float = Field(default=10.0, gt=0)
    longest_s: float = Field(default=900.0, gt=0)
    give_up_s: float = Field(default=7 * 86400.0, gt=0)  # then it is a dead letter


class Destination(Options):
    """Where results go: `dicom` (C-STORE) or `web` (STOW-RS)."""

    dicom: DicomPeer | None = None
    web: WebPeer | None = None
    objects: tuple[Literal["sr", "seg", "gsps", "sc", "source"], ...] = ("sr",)
    deidentify: bool = False  # `source` as a copy without identity
    # Default: qido, answer for C-STORE.
    verify: Literal["qido", "find", "commitment", "answer"] | None = None
    report_s: float = Field(default=600.0, gt=0)  # that a storage commitment is waited for
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _fits(self) -> Destination:
        if (self.dicom is None) == (self.web is None):
            raise ValueError("needed: one of `dicom` and `web`")
        if self.deidentify != (SOURCE in self.objects):
            raise ValueError("`source` is sent with `deidentify = true` only, and alone")
        if self.deidentify and self.objects != (SOURCE,):
            raise ValueError("results hold the identity: `deidentify` sends `source` alone")
        if self.verification == "qido" and self.web is None:
            raise ValueError('`verify = "qido"` needs `web`')
        if self.verification in ("find", "commitment") and self.dicom is None:
            raise ValueError(f'`verify = "{self.verification}"` needs `dicom`')
        return self

    @property
    def verification(self) -> str:
        """How an object is known to be there."""
        return self.verify or ("qido" if self.web else "answer")


class Rule(Options):
    """The first rule whose conditions all hold decides. Texts are patterns with * and ?."""

    sender: str = "*"  # calling AE title or user
    origin: Literal["*", "c-store", "stow", "upload", "sample", "prior", "worklist"] = "*"
    description: str = "*"  # any of study, series, protocol
    view: str = "*"
    modality: str = "*"
    pipelines: tuple[str, ...] = ()  # none: the default one
    shadow: tuple[str, ...] = ()  # analysed beside, never shown or sent
    destinations: tuple[str, ...] = ()
    priority: Priority | None = None
    analyse: bool = True


class Priors(Options):
    """Where earlier images of a patient are asked for."""

    web: WebPeer | None = None
    dicom: DicomPeer | None = None
    newest: int = Field(default=1, ge=1, le=10)
    within_s: float = Field(default=600.0, gt=0)  # then it is left

    @model_validator(mode="after")
    def _one(self) -> Priors:
        if (self.dicom is None) == (self.web is None):
            raise ValueError("needed: one of `dicom` and `web`")
        return self


class Worklist(Options):
    """A UPS-RS server whose work items we claim."""

    web: WebPeer
    images: WebPeer | None = None  # WADO-RS of what items refer to; none: the same server
    every_s: float = Field(default=5.0, gt=0)
    within_s: float = Field(default=600.0, gt=0)  # that images are asked for; then it is cancelled
    station: str = Field(default="HILUM", min_length=1, max_length=16)
    # Of scheduled items, as UPS-RS searches for them; none: those of our station.
    filter: dict[str, str] = Field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        """What items are searched for by, beside their state."""
        return self.filter or {"ScheduledStationNameCodeSequence.CodeValue": self.station}


class Config(Options):
    """All of it."""

    folder: Path = Path("~/.local/share/hilum")
    database: str = ""  # default: SQLite in the folder
    # Processes; 0: others work on this database. None: as `hilum bench` chose here, else 1.
    workers: int | None = Field(default=None, ge=0, le=64)
    threads: int | None = Field(default=None, ge=1, le=64)  # of a worker; None: likewise
    limit_bytes: int | None = Field(default=None, ge=0)  # of the store
    reserve_bytes: int = Field(default=GIB, ge=0)  # free space that is left to others
    waiting: int = Field(default=20_000, ge=1)  # images of one sender that wait to be analysed
    parse_s: float = Field(default=10.0, gt=0)
    parse_bytes: int = Field(default=GIB, ge=2**28)
    # name: a shipped pipeline or a YAML file; default: all that are installed with their bundles
    pipelines: dict[str, str] = Field(
        default_factory=lambda: {name: name for name in ready_pipelines()}
    )
    default: str = "default"
    write: str = "picture,mask,sr,seg,gsps,sc"
    node: Node = Node()
    web: Web = Web()
    destinations: dict[str, Destination] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    priors: Priors | None = None
    worklist: Worklist | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _names(self) -> Config:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if self.default not in self.pipelines:
            yield unknown("default pipeline", self.default, self.pipelines)
        for rule in self.rules:
            for name in (*rule.pipelines, *rule.shadow):
                if name not in self.pipelines:
                    yield unknown("pipeline of a rule", name, self.pipelines)
            for name in rule.destinations:
                if name not in self.destinations:
                    yield unknown("destination of a rule", name, self.destinations)
        for name in (*self.pipelines, *self.destinations):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
                yield f"name {name!r}; needed: letters, digits, . _ - (at most 64)"

    @field_validator("folder")
    @classmethod
    def _somebodys(cls, folder: Path) -> Path:
        try:
            folder.expanduser()
        except RuntimeError as error:
            raise ValueError(f"{folder}: there is no such user") from error
        return folder

    @property
    def root(self) -> Path:
        """The folder, as an absolute path."""
        return self.folder.expanduser().absolute()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root / 'hilum.sqlite'}"


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """The file, then the variables: HILUM_SERVE_NODE__PORT=11113 is `port` of `[node]`.

    Raises:
        ConfigError: no such file, no TOML, an unknown key, a value out of its range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = read_document(path, parse_toml, ConfigError)
    variables = os.environ if environment is None else environment
    for name, text in sorted(variables.items()):
        if name.startswith(ENVIRONMENT) and name != f"{ENVIRONMENT}CONFIG":
            _set(values, name, text)
    return checked(Config, values, str(path or "configuration"))


def _set(values: dict[str, Any], variable: str, text: str) -> None:
    *parents, last = variable.removeprefix(ENVIRONMENT).lower().split("__")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{variable}: {parent} is no table of the configuration")
    try:
        values[last] = parse_json(text) if text[:1] in ("[", "{") else text
    except DocumentError as error:
        raise ConfigError(f"{variable}: {error}") from error


def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1 and localhost; names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Public sets from Kaggle into a new folder: space checked, resumed, verified, whole or not at all.

kagglehub talks to the hub, goes on with a broken download, compares the hub's MD5 and unpacks.
This module decides where and whether, checks what came, and says what went wrong without ever
repeating an address or a header: signed addresses and tokens are credentials.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tarfile import TarError
from threading import Event
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

from hilum.core.errors import ConfigError, DataError
from hilum.core.extras import require
from hilum.core.files import write_text
from hilum.core.folders import held
from hilum.core.progress import beside, doing
from hilum.core.threads import in_threads

T = TypeVar("T")

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
RECORD = "hilum-fetch.json"
ATTEMPTS = 5  # broken downloads in a row that brought nothing new
WAIT_S = 2.0  # after a broken download, longer each time
SPARE = 0.02  # of free space, beside what archive and files need
GUESSED = 2.0  # unpacked size by archive size, where the hub does not say


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a set lies, and its terms in short; the page decides."""

    handle: str
    terms: str
    page: str
    competition: bool = True


def _competition(handle: str, terms: str) -> Hub:
    return Hub(handle, terms, f"https://www.kaggle.com/competitions/{handle}/rules")


HUBS: dict[str, Hub] = {
    "rsna": _competition(
        "rsna-pneumonia-detection-challenge",
        "Competition data: non-commercial research and education only. Images: NIH Clinical "
        "Center, to be acknowledged. Accept the competition's rules on its page first.",
    ),
    "siim-covid": _competition(
        "siim-covid19-detection",
        "Competition data: non-commercial research and education only. Images: BIMCV-COVID19 and "
        "MIDRC-RICORD, each to be cited. Accept the competition's rules on its page first.",
    ),
    "siim-acr": _competition(
        "siim-acr-pneumothorax-segmentation",
        "Competition data: non-commercial research and education only. Images: NIH Clinical "
        "Center, to be acknowledged. Accept the competition's rules on its page first.",
    ),
    "vindr": _competition(
        "vinbigdata-chest-xray-abnormalities-detection",
        "Competition data: non-commercial research only, no attempt to identify anyone, to be "
        "cited. Accept the competition's rules on its page first.",
    ),
    "nih": Hub(
        "nih-chest-xrays/data",
        "Free to use; acknowledge the NIH Clinical Center, link to its download site and cite "
        "Wang et al., CVPR 2017.",
        "https://www.kaggle.com/datasets/nih-chest-xrays/data",
        competition=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the folder now."""

    files: int
    bytes: int
    downloaded: bool  # False: it was there already, and agrees with its checksums


def hub_of(name: str) -> Hub:
    """Where the set `name` lies.

    Raises:
        ConfigError: not a set that can be fetched.
    """
    if name not in HUBS:
        raise ConfigError(f"cannot fetch {name!r}; known: {', '.join(HUBS)}")
    return HUBS[name]


def fetch(name: str, out: str | Path) -> Fetched:
    """Download a set into the new folder `out`; its terms must have been accepted before.

    A folder that an earlier run finished is verified instead. What an unfinished run brought lies
    in `.NAME.fetch` beside it, and the next run goes on from there.

    Raises:
        ConfigError: unknown set, no credentials, or a folder with something else in it.
        DataError: too little space, no access, a download that stays broken or is damaged.
    """
    hub, target = hub_of(name), Path(out)
    if (target / RECORD).is_file():
        return _verified(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} is not empty; a set is fetched into a new folder")
    os.environ["TQDM_DISABLE"] = "1"  # the hub's bar, which is no line in a log; see `_growing`
    require("eval", "kagglehub")
    work = target.parent / f".{target.name}.fetch"
    with held(work):
        return _fetched(name, hub, target, work)


def _fetched(name: str, hub: Hub, target: Path, work: Path) -> Fetched:
    with _quiet_hub(work):
        archive, files = _reached(hub)
        _check_space(work, archive, files)
        with beside(partial(_growing, work, archive + files), "hilum-growing"):
            place = _download(hub, work)
    doing("unpacking")
    _unpack_inner(place)
    doing("checksums")
    sums = _sums(place)
    write_text(place / SUMS, "".join(f"{digest}  {file}\n" for file, digest in sums.items()))
    size = sum((place / file).stat().st_size for file in sums)
    record = {
        "schema": "hilum.fetch/1",
        "set": name,
        **asdict(hub),
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": len(sums),
        "bytes": size,
    }
    write_text(place / RECORD, json.dumps(record, indent=1))
    if target.exists():
        target.rmdir()
    place.rename(target)
    shutil.rmtree(work)
    return Fetched(len(sums), size, downloaded=True)


@contextmanager
def _quiet_hub(work: Path) -> Iterator[None]:
    """kagglehub keeps everything below `work`, on any machine, and logs no addresses."""
    wanted = {"KAGGLEHUB_CACHE": str(work), "DISABLE_KAGGLE_CACHE": "1", "DISABLE_COLAB_CACHE": "1"}
    before = {key: os.environ.get(key) for key in wanted}
    loggers = [logging.getLogger(name) for name in ("kagglehub", "urllib3")]
    import kagglehub  # noqa: F401  sets its logger up when it is imported

    levels = [logger.level for logger in loggers]
    os.environ.update(wanted)
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value


def _spoken(hub: Hub, call: Callable[[], T]) -> T:
    """What `call` returns; the hub's refusals in our words."""
    import requests
    from kagglehub.config import get_kaggle_credentials
    from kagglehub.exceptions import CredentialError, UnauthenticatedError

    try:
        if hub.competition and get_kaggle_credentials() is None:
            raise UnauthenticatedError
        return call()
    except (CredentialError, UnauthenticatedError):
        known = "no Kaggle credentials"
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        known = {
            401: "Kaggle does not accept the credentials",
            403: f"Kaggle refuses access; accept the terms on {hub.page} in a browser",
            404: f"Kaggle has no {hub.handle} (any more)",
        }.get(status, "")
        if not known:
            raise DataError(f"Kaggle answered {status}; try again later") from None
        if status != 401:
            raise DataError(f"{known} (HTTP {status})") from None
    raise ConfigError(
        f"{known}: make a token on https://www.kaggle.com/settings and put it into "
        "~/.kaggle/access_token or KAGGLE_API_TOKEN"
    ) from None


def _reached(hub: Hub) -> tuple[int, int]:
    """As `_sizes`; the first question to the hub."""
    from requests import exceptions as network

    try:
        return _spoken(hub, lambda: _sizes(hub))
    except (network.ConnectionError, network.Timeout):
        raise DataError("Kaggle cannot be reached; is this machine online?") from None


def _sizes(hub: Hub) -> tuple[int, int]:
    """Bytes of the archive and of its files, as the hub says; 0 unknown."""
    from kagglehub.clients import build_kaggle_client
    from kagglesdk.competitions.types import competition_api_service as competitions
    from kagglesdk.datasets.types import dataset_api_service as datasets

    with build_kaggle_client() as client:
        if hub.competition:
            query = competitions.ApiGetCompetitionDataFilesSummaryRequest()
            archive = competitions.ApiDownloadDataFilesRequest()
            query.competition_name = archive.competition_name = hub.handle
            api = client.competitions.competition_api_client
            summary = api.get_competition_data_files_summary(query)
            response = api.download_data_files(archive)
        else:
            query, archive = (
                datasets.ApiGetDatasetFilesSummaryRequest(),
                datasets.ApiDownloadDatasetRequest(),
            )
            for request in (query, archive):
                request.owner_slug, request.dataset_slug = hub.handle.split("/")
            api = client.datasets.dataset_api_client
            summary = api.get_dataset_files_summary(query)
            response = api.download_dataset(archive)
        response.close()  # only its header was wanted
    info = summary.file_summary_info
    files = sum(kind.total_size for kind in info.file_types) if info else 0
    return int(response.headers.get("Content-Length", 0)), int(files)


def _growing(work: Path, size: int, ended: Event) -> None:
    """What has come and what is unpacked, in MB, for whoever shows it."""
    while not ended.wait(1.0):
        doing("fetching, MB", _bytes_below(work) // 10**6, max(1, size // 10**6) if size else None)


def _bytes_below(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # renamed or removed meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def _check_space(work: Path, archive: int, files: int) -> None:
    """Archive and files lie side by side for a while; what is there already counts."""
    needed = archive + (files or int(GUESSED * archive)) - _bytes_below(work)
    free = shutil.disk_usage(work).free
    if needed > free * (1 - SPARE):
        raise DataError(
            f"{_gigabytes(needed)} are needed beside {work.name} ({_gigabytes(archive)} archive, "
            f"{_gigabytes(files)} unpacked), {_gigabytes(free)} are free"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _download(hub: Hub, work: Path) -> Path:
    """The unpacked folder. Broken connections are taken up again while each brings something."""
    from kagglehub import competition_download, dataset_download
    from kagglehub.exceptions import DataCorruptionError
    from requests import exceptions as network

    call = competition_download if hub.competition else dataset_download
    left, size = ATTEMPTS, -1
    while True:
        reason = "the download breaks off"
        try:
            return Path(_spoken(hub, lambda: call(hub.handle)))
        except (network.ConnectionError, network.Timeout, network.ChunkedEncodingError):
            now = sum(f.stat().st_size for f in _archives(work))
            left = left - 1 if now <= size else ATTEMPTS - 1
            size = now
            time.sleep(WAIT_S * (ATTEMPTS - left))
        except DataCorruptionError:  # kagglehub deleted it
            reason, left, size = "the archive does not agree with the hub's checksum", left - 2, -1
        except (BadZipFile, TarError, ValueError, EOFError):
            for file in _archives(work):
                file.unlink()
            reason, left, size = "the archive is damaged", left - 2, -1
        if left <= 0:
            raise DataError(f"{reason}, again and again; run again to go on") from None


def _archives(work: Path) -> list[Path]:
    return list(work.rglob("*.archive"))


def _unpack_inner(folder: Path) -> None:
    """Some sets hold zips of their folders and tables; each becomes what it holds."""
    for file in sorted(folder.glob("*.zip")):
        try:
            with ZipFile(file) as archive:
                names = archive.namelist()
                tops = {name.split("/")[0] for name in names}
                loose = len(names) > 1 and tops != {file.stem}
                archive.extractall(folder / file.stem if loose else folder)  # noqa: S202  a zip
        except (BadZipFile, EOFError) as error:
            shutil.rmtree(folder)  # so that the next run does not find it again
            raise DataError(f"{file.name} of the set is damaged; fetch it again") from error
        file.unlink()


def _sums(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name not in (SUMS, RECORD))
    digests = in_threads(_digest, files, 4)
    return {f.relative_to(folder).as_posix(): d for f, d in zip(files, digests, strict=True)}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verified(target: Path) -> Fetched:
    """The finished folder, file by file against its checksums.

    Raises:
        DataError: files differ or are missing.
    """
    record: dict[str, Any] = json.loads((target / RECORD).read_text(encoding="utf-8"))
    lines = (target / SUMS).read_text(encoding="utf-8").splitlines()
    wanted = {file: digest for digest, _, file in (line.partition("  ") for line in lines)}
    sums = _sums(target)
    bad = [file for file, digest in wanted.items() if sums.get(file) != digest]
    if bad:
        raise DataError(
            f"{len(bad)} files of {target} are missing or changed, the first is {bad[0]!r}; "
            "delete the folder to fetch the set again"
        )
    return Fetched(len(wanted), int(record["bytes"]), downloaded=False)

"""A client of the service's REST interface: `Client(url).analyse(path)`.

from hilum.client import Client

with Client("http://127.0.0.1:8080") as client:
    image = client.analyse("chest.dcm")
    for finding in image.result().findings:
        print(finding.label, finding.score, finding.box_px)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hilum.core.errors import HilumError, MissingExtraError
from hilum.core.results import ImageResult, RunResult

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("The client needs httpx: pip install 'hilum[serve]'") from error

SETTLED = ("analysed", "refused", "failed")
_FIRST_S, _LONGEST_S = 0.1, 2.0  # between two looks at an image
_CSRF = "hilum_csrf"


class ServiceError(HilumError):
    """The service answered with a problem; `status` is the one of HTTP."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


class NotLoggedIn(ServiceError):
    """Log-in needed, wrong, or not allowed to do this (401, 403)."""


class NotHeld(ServiceError):
    """No image, result or file of this name (404)."""


class TryLater(ServiceError):
    """The service takes nothing at the moment (429, 503)."""


class NotReached(HilumError):
    """The service does not answer."""


class NotAnalysed(HilumError):
    """The service refused the file, or an analysis was refused or has failed."""


_KINDS = {401: NotLoggedIn, 403: NotLoggedIn, 404: NotHeld, 429: TryLater, 503: TryLater}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteImage:
    """An image of the service as it was when it was asked for."""

    id: str
    state: str
    reason: str | None = None
    pipeline: str | None = None
    score: float | None = None
    document: dict[str, Any] = field(default_factory=dict, repr=False)  # all that was answered

    def result(self, pipeline: str | None = None) -> ImageResult:
        """What a pipeline found, as `hilum.predict` gives it; None: the one that is shown.

        Raises:
            NotAnalysed: there is no result of it.
        """
        name = pipeline or self.pipeline
        documents = self.document.get("results", {})
        if name not in documents:
            raise NotAnalysed(f"image {self.id} is {self.state}: {self.reason or 'no result'}")
        return RunResult.from_json(documents[name]).images[0]


class Client:
    """One service. Thread-safe as far as httpx is; close it, or use it in a `with`."""

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            token: an access token of the OpenID provider, instead of user and password.

        Raises:
            NotLoggedIn, NotReached: with a user: the log-in failed.
        """
        base = url.rstrip("/") + "/api/v1"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=base, headers=headers, timeout=timeout_s, transport=transport
        )
        if user is not None:
            self._ask("POST", "/session", json={"name": user, "password": password or ""})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- Images ---------------------------------------------------------------------------------

    def analyse(
        self,
        path: str | os.PathLike[str],
        *,
        pipeline: str | None = None,
        timeout_s: float = 120.0,
    ) -> RemoteImage:
        """Send one file and wait for its result.

        Raises:
            NotAnalysed: the file or the analysis was refused, or it failed.
            TimeoutError: it takes longer; the service goes on.
            ServiceError, NotReached: see there.
        """
        (id,) = self.send([path], pipeline=pipeline)
        image = self.wait(id, timeout_s=timeout_s)
        if image.state != "analysed":
            raise NotAnalysed(f"image {id} is {image.state}: {image.reason}")
        return image

    def send(
        self, paths: Sequence[str | os.PathLike[str]], *, pipeline: str | None = None
    ) -> list[str]:
        """Send files (a zip may hold several images); their ids. What was kept stays so.

        Raises:
            NotAnalysed: naming the files that were not taken.
        """
        files = [("files", (Path(path).name, Path(path).read_bytes())) for path in paths]
        answer = self._ask(
            "POST", "/images", files=files, data={"pipeline": pipeline} if pipeline else None
        ).json()
        if answer["refused"]:
            problems = "; ".join(f"{one['name']}: {one['problem']}" for one in answer["refused"])
            raise NotAnalysed(problems)
        return [one["id"] for one in answer["images"]]

    def image(self, id: str) -> RemoteImage:
        """
        Raises:
            NotHeld: no such image.
        """
        return _image(self._ask("GET", f"/images/{id}").json())

    def wait(self, id: str, *, timeout_s: float = 120.0) -> RemoteImage:
        """Until it is analysed, refused or failed.

        Raises:
            TimeoutError: it takes longer.
        """
        deadline, pause = time.monotonic() + timeout_s, _FIRST_S
        while (image := self.image(id)).state not in SETTLED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"image {id} is still {image.state} after {timeout_s:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_S)
        return image

    def images(self, **filters: str) -> Iterator[RemoteImage]:
        """The worklist, page by page; filters: state, priority, q, origin, sort."""
        page, seen = 1, 0
        while True:
            answer = self._ask("GET", "/images", params={**filters, "page": str(page)}).json()
            yield from map(_image, answer["items"])
            seen += len(answer["items"])
            if seen >= answer["total"] or not answer["items"]:
                return
            page += 1

    def download(self, id: str, kind: str, *, pipeline: str | None = None) -> bytes:
        """A result as a file: json, sr, seg, gsps, sc, png.

        Raises:
            NotHeld: there is none of it.
        """
        params = {"pipeline": pipeline} if pipeline else None
        return self._ask("GET", f"/images/{id}/files/{kind}", params=params).content

    def feedback(
        self,
        id: str,
        verdict: str,
        *,
        finding: str | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
        **more: str,
    ) -> dict[str, Any]:
        """Accept, reject, redraw or comment a finding (None: all of the image), or add what was
        missed; more: pipeline, label, comment."""
        body: dict[str, Any] = {"verdict": verdict, "finding": finding, "boxes": boxes, **more}
        answer: dict[str, Any] = self._ask("POST", f"/images/{id}/feedback", json=body).json()
        return answer

    def exported_feedback(self) -> bytes:
        """All that readers said, with the images: a zip for `hilum feedback`."""
        return self._ask("GET", "/feedback/export").content

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {}
        if csrf := self._http.cookies.get(_CSRF):
            headers["X-Hilum-CSRF"] = csrf
        try:
            answer = self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise NotReached(f"the service does not answer ({type(error).__name__})") from error
        if answer.is_success:
            return answer
        raise _KINDS.get(answer.status_code, ServiceError)(answer.status_code, _words(answer))


def _image(answer: dict[str, Any]) -> RemoteImage:
    fields = {name: answer[name] for name in ("id", "state", "reason", "pipeline", "score")}
    return RemoteImage(**fields, document=answer)


def _words(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return f"{answer.status_code} {body['title']}: {body['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}"

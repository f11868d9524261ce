"""The whole service for a browser: HTTP on a free port of loopback, a worker in a thread, users.

For tests of the page and for work on it: `PYTHONPATH=tests python -m helpers.live FOLDER`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from argon2 import PasswordHasher

from helpers.service import empty_database
from hilum.serve.config import Config
from hilum.serve.service import Service
from hilum.serve.web.app import create_app
from hilum.serve.work import ANALYSING
from hilum.serve.worker import Worker

USERS = {"anna": "reader", "ben": "reader", "carla": "admin"}
PASSWORD = "correct horse"  # noqa: S105


@cache
def _hash() -> str:
    return PasswordHasher().hash(PASSWORD)


@contextmanager
def serving(
    folder: Path, port: int = 0, web: dict[str, Any] | None = None, **options: Any
) -> Iterator[str]:
    """Its address, while it runs; the shipped pipeline analyses, unless `options` say otherwise.
    In a folder of before it goes on with what is there."""
    if not (folder / "hilum.sqlite").exists():
        (folder / "hilum.sqlite").write_bytes(empty_database())
    users = {name: {"role": role, "password": _hash()} for name, role in USERS.items()}
    config = Config.model_validate(
        {"folder": folder, "reserve_bytes": 0, "write": "picture,mask,sr,seg"}
        | {"web": {"port": 0, "users": users} | (web or {})}
        | options
    )
    service, stop = Service(config), threading.Event()
    page = create_app(service)
    settings = uvicorn.Config(page, port=port, log_config=None, log_level="error", access_log=False)
    web = uvicorn.Server(settings)
    threads = [
        threading.Thread(target=Worker(service, ANALYSING).run, args=(stop,)),
        threading.Thread(target=web.run),
    ]
    for thread in threads:
        thread.start()
    while not web.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        page.state.closing = web.should_exit = True
        stop.set()
        for thread in threads:
            thread.join()
        service.close()


if __name__ == "__main__":
    with serving(Path(sys.argv[1])) as address:
        print(f"{address}  {', '.join(USERS)}; password: {PASSWORD}")
        threading.Event().wait()

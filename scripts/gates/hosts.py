"""Run by hosts.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from helpers.archive import Archive, archive
from helpers.killing import config_of
from helpers.service import radiograph_file
from hilum.serve.config import Config
from hilum.serve.service import Service
from hilum.serve.tables import Delivery, Image, Result

BIN = Path("/usr/lib/postgresql/15/bin")
URL = "postgresql+pg8000://postgres@127.0.0.1:5499/postgres"
WAIT_S = 300.0
CODE = """
import sys
from hilum.serve.config import Config
from hilum.serve.run import Running
with Running(Config.model_validate_json(sys.stdin.readline())):
    print("up", flush=True)
    sys.stdin.read()
"""


@contextmanager
def postgres() -> Iterator[None]:
    """A cluster of our own on loopback, as the user postgres."""
    folder = Path(tempfile.mkdtemp())
    shutil.chown(folder, "postgres")
    run = ["runuser", "-u", "postgres", "--", str(BIN / "pg_ctl"), "-s", "-w", "-D", f"{folder}/db"]
    options = f"-p 5499 -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    try:
        subprocess.run([*run, "initdb", "-o", "-A trust"], check=True, cwd="/")
        subprocess.run([*run, "start", "-l", f"{folder}/log", "-o", options], check=True, cwd="/")
        yield
    finally:
        subprocess.run([*run, "stop", "-m", "immediate"], check=False, cwd="/")
        shutil.rmtree(folder)


def host(config: Config) -> subprocess.Popen[str]:
    """A service with a worker process, in a process group of its own."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CODE]
    made = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    assert made.stdin is not None
    assert made.stdout is not None
    made.stdin.write(config.model_dump_json() + "\n")
    made.stdin.flush()
    assert made.stdout.readline() == "up\n"
    return made


def count(service: Service) -> tuple[int, int, int]:
    """Images analysed, results, deliveries made."""
    with service.records.read() as session:
        analysed = session.scalar(select(func.count()).where(Image.state == "analysed"))
        results = session.scalar(select(func.count(Result.id)))
        delivered = session.scalar(select(func.count()).where(Delivery.state == "delivered"))
    return analysed or 0, results or 0, delivered or 0


def wait(service: Service, images: int) -> None:
    began = time.monotonic()
    while count(service)[2] < images and time.monotonic() - began < WAIT_S:
        time.sleep(0.2)


def both(folder: Path, pacs: Archive, images: int) -> tuple[bool, str]:
    settings = {"workers": 1, "node": {"enabled": False}}
    config = config_of(folder, pacs.url, URL).model_copy(update={"workers": 1})
    config = Config.model_validate(config.model_dump() | settings)
    service = Service(config)
    service.records.upgrade()
    hosts = [host(config), host(config)]
    for number in range(images):
        service.intake.receive(radiograph_file(f"1.2.{number}"), origin="upload")
    wait(service, images // 3)
    os.killpg(hosts[0].pid, signal.SIGKILL)
    at = count(service)
    wait(service, images)
    after = count(service)
    # While nobody works: one version down and up again, with new work queued before.
    service.intake.receive(radiograph_file("1.3"), origin="upload")
    os.killpg(hosts[1].pid, signal.SIGTERM)
    hosts[1].communicate()
    service.records.downgrade("0001")
    service.records.upgrade()
    third = host(config)
    wait(service, images + 1)
    end = count(service)
    os.killpg(third.pid, signal.SIGTERM)
    third.communicate()
    sent = sum(call == "POST /studies" for call in pacs.calls)
    service.close()
    good = end == (images + 1,) * 3 and len(pacs.objects) == images + 1
    return good, (
        f"(analysed, results, delivered) when one of two was killed {at}, by the other {after}, "
        f"after a downgrade and upgrade {end}; {len(pacs.objects)} objects in the archive by "
        f"{sent} requests"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, postgres(), archive() as pacs:
        good, words = both(Path(name), pacs, given.images)
    print(words)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

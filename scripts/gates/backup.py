"""Run by backup.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path

from hosts import BIN, URL, count, host, postgres, wait
from sqlalchemy import select

from helpers.archive import Archive, archive
from helpers.killing import config_of
from helpers.service import radiograph_file
from hilum.serve.config import Config
from hilum.serve.service import Service
from hilum.serve.tables import Image

DOCUMENT = Path(__file__).parents[2] / "docs" / "service.md"
ASK = ["--host=127.0.0.1", "--port=5499", "--username=postgres"]


def commands(folder: Path, backup: Path) -> dict[str, str]:
    """The documented ones, by program, for these folders."""
    text = DOCUMENT.read_text().partition("## Backup")[2].partition("```")[2].partition("```")[0]
    text = text.replace("FOLDER", str(folder)).replace("BACKUP", str(backup))
    lines = (line.partition("   #")[0].strip() for line in text.splitlines() if line.strip())
    return {line.split()[0]: re.sub(r" hilum$", " postgres", line) for line in lines}


def try_once(base: Path, pacs: Archive, images: int, database: str) -> tuple[bool, str]:
    folder, backup, restored = base / "data", base / "backup", base / "restored"
    folder.mkdir()
    backup.mkdir()
    more = {"folder": folder, "workers": 1, "node": {"enabled": False}}
    config = Config.model_validate(config_of(base, pacs.url, database).model_dump() | more)
    service = Service(config)
    service.records.upgrade()
    pacs.away = True  # work and deliveries wait when the copy is made
    running = host(config)
    acknowledged, stop = list[str](), threading.Event()

    def send() -> None:
        number = 0
        while not stop.is_set():
            data = radiograph_file(f"1.2.{number}")
            acknowledged.append(service.intake.receive(data, origin="upload").id)
            number += 1

    sender = threading.Thread(target=send)
    sender.start()
    while len(acknowledged) < images:
        stop.wait(0.05)
    before, documented = set(acknowledged), commands(folder, backup)
    head = service.audit.verify()
    if database:
        dumping = documented["pg_dump"].split()
        subprocess.run([BIN / dumping[0], *ASK, *dumping[1:]], check=True)
    else:
        subprocess.run(documented["python3"], shell=True, check=True)  # noqa: S602
    subprocess.run(documented["rsync"], shell=True, check=True)  # noqa: S602
    while len(acknowledged) < len(before) + 5:
        stop.wait(0.05)
    stop.set()
    sender.join()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    service.close()
    shutil.rmtree(folder)
    if database:
        for line in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
            subprocess.run([BIN / "psql", *ASK, "-qc", line], check=True, stderr=subprocess.DEVNULL)
        dump = str(backup / "hilum.dump")
        subprocess.run([BIN / "pg_restore", *ASK, "--dbname=postgres", dump], check=False)
    shutil.copytree(backup, restored)
    pacs.away = False
    again = config.model_copy(update={"folder": restored})
    service = Service(again)
    with service.records.read() as session:
        known = set(session.scalars(select(Image.id)))
    running = host(again)
    wait(service, len(known))
    analysed, results, delivered = count(service)
    running.terminate()
    running.communicate()
    end = service.audit.verify(head)
    sent = sum(call == "POST /studies" for call in pacs.calls)
    service.close()
    good = before <= known and {analysed, results, delivered, len(pacs.objects)} == {len(known)}
    return good, (
        f"{len(before)} acknowledged before the copy, {len(known)} in it, {len(acknowledged)} at "
        f"the kill; restored: {analysed} analysed, {results} results, {delivered} delivered, "
        f"{len(pacs.objects)} objects by {sent} requests; trail of {end.number} whole, "
        f"{head.number} of them from before the copy"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30)
    given = parser.parse_args()
    all_good = True
    for name, database in (("SQLite", ""), ("PostgreSQL", URL)):
        cluster = postgres() if database else nullcontext()
        with tempfile.TemporaryDirectory() as base, cluster, archive() as pacs:
            good, words = try_once(Path(base), pacs, given.images, database)
        print(f"{name}: {'good' if good else 'WRONG'}: {words}", flush=True)
        all_good = all_good and good
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())

"""What is wrong with a configuration on this machine, in words: `hilum serve --check`."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from hilum.core.errors import ConfigError, HilumError
from hilum.dicom.web import WebArchive, WebPeer
from hilum.report.writers import parse
from hilum.serve.config import SOURCE, Config, DicomPeer, is_loopback
from hilum.serve.peers import DicomArchive
from hilum.serve.pipelines import NotLoaded, Pipelines
from hilum.serve.records import Records
from hilum.serve.routing import reached
from hilum.serve.store import Store
from hilum.serve.tls import remarks, server_context
from hilum.serve.users import Users


def problems(config: Config, *, ports: bool = True) -> list[str]:
    """Everything that is wrong; nothing is changed, but for the folder, which is made.

    Args:
        ports: whether the addresses must be free; not while the service runs.
    """
    return [
        *_users(config),
        *_exposed(config),
        *_certificates(config),
        *_folder(config),
        *_database(config),
        *_pipelines(config),
        *_rules(config),
        *_destinations(config),
        *_callers(config),
        *_peers(config),
        *_provider(config),
        *(_ports(config) if ports else ()),
    ]


def unsafe(config: Config) -> list[str]:
    """Why the service must not start with this configuration."""
    return list(_exposed(config))


def _users(config: Config) -> Iterator[str]:
    try:
        Users(config).all()
    except ConfigError as error:
        yield f"users: {error}"


def _exposed(config: Config) -> Iterator[str]:
    """Loopback only, unless TLS and credentials are set."""
    web, node = config.web, config.node
    if web.enabled and not is_loopback(web.host):
        if web.tls is None:
            yield f"[web] host {web.host} is reached by others; needed: [web.tls], or 127.0.0.1"
        if not Users(config).all() and web.oidc is None:
            yield (
                f"[web] host {web.host} is reached by others; needed: `hilum users add`, "
                "[web.users] or [web.oidc]"
            )
    if node.enabled and not is_loopback(node.host):
        if node.tls is None or node.tls.ca is None:
            yield (
                f"[node] host {node.host} is reached by others; needed: [node.tls] with `ca`, so "
                "that peers show certificates, or 127.0.0.1 behind a tunnel"
            )
        if not node.allow:
            yield f"[node] host {node.host} is reached by others; needed: `allow`, their AE titles"


def _certificates(config: Config) -> Iterator[str]:
    named = {"[web.tls]": config.web.tls, "[node.tls]": config.node.tls}
    for name, destination in config.destinations.items():
        named[f"destination {name}"] = destination.dicom.tls if destination.dicom else None
    if config.priors is not None and config.priors.dicom is not None:
        named["[priors]"] = config.priors.dicom.tls
    for name, tls in named.items():
        if tls is not None:
            try:
                server_context(tls)
                yield from (f"{name} {remark}" for remark in remarks(tls))
            except HilumError as error:
                yield f"{name} {error}"


def _folder(config: Config) -> Iterator[str]:
    try:
        config.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(
            config.root / "store",
            limit_bytes=config.limit_bytes,
            reserve_bytes=config.reserve_bytes,
        )
        if not os.access(config.root, os.W_OK):
            yield f"folder {config.root} cannot be written; needed: its owner, or another `folder`"
        store.check_room(1)
    except OSError as error:
        yield f"folder {config.root}: {error.strerror}; needed: a folder of our own"
    except HilumError as error:
        yield f"store: {error}; needed: a larger disk, or other `limit_bytes`, `reserve_bytes`"


def _database(config: Config) -> Iterator[str]:
    if not config.database and not config.root.is_dir():
        return  # the folder is what is wrong
    try:
        records = Records(config.database_url)
        records.upgrade()
        records.close()
    except HilumError as error:
        yield f"database: {error}"


def _pipelines(config: Config) -> Iterator[str]:
    try:
        parse(config.write)
    except HilumError as error:
        yield f"write: {error}"
    pipelines = Pipelines(config)
    for name in config.pipelines:
        try:
            pipelines.opened(name)
        except NotLoaded as error:
            yield f"pipeline {name}: {error}"


def _rules(config: Config) -> Iterator[str]:
    for number, it_is in enumerate(reached(config.rules), 1):
        if not it_is:
            yield (
                f"rule {number} is never reached: an earlier one takes all that fits it; needed: "
                "the narrower rule first"
            )


def _destinations(config: Config) -> Iterator[str]:
    """Those that would be sent nothing, in silence."""
    try:
        written = {*parse(config.write)}
    except HilumError:
        return  # told by `_pipelines`
    ruled = {name for rule in config.rules for name in rule.destinations}
    for name, destination in config.destinations.items():
        if name not in ruled:
            yield (
                f"destination {name} is sent nothing: no rule names it; needed: `destinations = "
                f'["{name}"]` of a [[rules]]'
            )
        missing = [one for one in destination.objects if one not in {*written, SOURCE}]
        if missing:
            yield (
                f"destination {name} is to get {', '.join(missing)}, which is not written; "
                "needed: `write` with it, or other `objects`"
            )


def _callers(config: Config) -> Iterator[str]:
    """Archives that call our node: with a report of storage commitment, or with priors."""
    callers = {
        f"destination {name}": one.dicom
        for name, one in config.destinations.items()
        if one.verification == "commitment"
    }
    if config.priors is not None:
        callers["[priors]"] = config.priors.dicom
    for name, peer in callers.items():
        if peer is not None and config.node.allow and peer.ae_title not in config.node.allow:
            yield (
                f"{name} calls our node as {peer.ae_title}, which is not let in; needed: it in "
                "`allow` of [node]"
            )


def _peers(config: Config) -> Iterator[str]:
    """Of every other system: is it there, and does it let us in? All are asked at once."""
    named: list[tuple[str, WebPeer | DicomPeer | None]] = []
    for name, destination in config.destinations.items():
        named.append((f"destination {name}", destination.web or destination.dicom))
    if config.priors is not None:
        named.append(("[priors]", config.priors.web or config.priors.dicom))
    if config.worklist is not None:
        named += [("[worklist] web", config.worklist.web)]
        named += [("[worklist] images", config.worklist.images)]
    peers = [(name, peer) for name, peer in named if peer is not None]
    with ThreadPoolExecutor(max(1, len(peers))) as threads:
        answers = threads.map(lambda one: _asked(config, one[1]), peers)
        for (name, _), problem in zip(peers, answers, strict=True):
            if problem:
                yield f"{name}: {problem}"


def _asked(config: Config, peer: WebPeer | DicomPeer) -> str | None:
    try:
        if isinstance(peer, DicomPeer):
            DicomArchive(peer, config.node.ae_title).echo()
        else:
            WebArchive(peer).query("/studies", {"limit": "1"})
    except HilumError as error:
        address = peer.url if isinstance(peer, WebPeer) else f"{peer.host}:{peer.port}"
        return f"{address}: {error}"
    return None


def _provider(config: Config) -> Iterator[str]:
    if config.web.oidc is None:
        return
    from hilum.serve.web.oidc import Provider

    try:
        Provider(config.web.oidc, time.time).known()
    except HilumError as error:
        yield f"[web.oidc] {error}; needed: the `issuer` of a provider that is reached from here"
    secret = config.web.oidc.client_secret_file
    if secret is not None and not os.access(secret, os.R_OK):
        yield f"[web.oidc] {secret} cannot be read"


def _ports(config: Config) -> Iterator[str]:
    for name, part in (("web", config.web), ("node", config.node)):
        if not part.enabled:
            continue
        family = socket.AF_INET6 if ":" in part.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((part.host, part.port))
            except OSError as error:
                taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
                needed = "another port" if taken else "an address of this machine"
                yield f"[{name}] {part.host}:{part.port}: {error.strerror}; needed: {needed}"

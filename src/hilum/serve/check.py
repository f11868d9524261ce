"""What is wrong with a configuration on this machine, in words: `hilum serve --check`."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from hilum.core.errors import ConfigError, HilumError
from hilum.report.writers import parse
from hilum.serve.config import Config, Tls, is_loopback
from hilum.serve.pipelines import NotLoaded, Pipelines
from hilum.serve.records import Records
from hilum.serve.store import Store
from hilum.serve.tls import server_context
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
        *_secrets(config),
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
    for tls in (config.web.tls, config.node.tls):
        if isinstance(tls, Tls):
            try:
                server_context(tls)
            except HilumError as error:
                yield str(error)


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
            pipelines.loaded(name)
        except NotLoaded as error:
            yield f"pipeline {name}: {error}"


def _secrets(config: Config) -> Iterator[str]:
    for name, destination in config.destinations.items():
        if destination.web is not None:
            for path in (destination.web.password_file, destination.web.token_file):
                if isinstance(path, Path) and not os.access(path, os.R_OK):
                    yield f"destination {name}: {path} cannot be read"


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

"""Who may log in: those of the configuration, and those of a file that `hilum users` writes.

The file lies in the service's folder and is read again whenever it has changed. Of two users of
one name the configuration's counts.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from pydantic import TypeAdapter, ValidationError

from hilum.core.errors import ConfigError
from hilum.core.files import write_bytes
from hilum.serve.config import Config, User, UserName

FILE = "users.json"
LEAST = 8  # characters of a password
_USERS = TypeAdapter(dict[UserName, User])


class Users:
    """The users of one service."""

    def __init__(self, config: Config) -> None:
        self.path = config.root / FILE
        self._configured = config.web.users
        self._read: tuple[tuple[int, int] | None, dict[str, User]] = None, {}

    def all(self) -> dict[str, User]:
        """By name.

        Raises:
            ConfigError: the file is damaged or may not be read; nobody gets in by it.
        """
        try:
            known = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return dict(self._configured)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}; needed: a folder of ours") from error
        mark = known.st_mtime_ns, known.st_ino
        if self._read[0] != mark:
            self._read = mark, self._file()
        return {**self._read[1], **self._configured}

    def add(self, name: str, user: User, *, replace: bool = False) -> None:
        """
        Args:
            replace: the one that is there, who then has another role and password.

        Raises:
            ConfigError: a name that is taken (or, to be replaced, is not), or none.
        """
        with self._changed() as users:
            if name in self._configured:
                raise ConfigError(f"user {name!r} is in [web.users]; needed: to change it there")
            if name in users and not replace:
                raise ConfigError(f"user {name!r} is there; needed: --replace, or another name")
            if replace and name not in users:
                raise ConfigError(f"no user {name!r} in {self.path}")
            users[name] = user

    def remove(self, name: str) -> None:
        """
        Raises:
            ConfigError: no such user in the file.
        """
        with self._changed() as users:
            if users.pop(name, None) is None:
                raise ConfigError(f"no user {name!r} in {self.path}")

    @contextmanager
    def _changed(self) -> Iterator[dict[str, User]]:
        """The file's users, written whole when the block ends; one at a time."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.with_suffix(".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            users = self._file() if self.path.exists() else {}
            yield users
            try:
                checked = _USERS.validate_python(users)
            except ValidationError as error:
                raise ConfigError("needed: a name of 1 to 200 characters, no colon") from error
            write_bytes(self.path, _USERS.dump_json(checked, indent=1) + b"\n")
            self.path.chmod(0o600)

    def _file(self) -> dict[str, User]:
        try:
            return _USERS.validate_python(json.loads(self.path.read_bytes()))
        except (OSError, ValueError) as error:
            # Its own words would quote hashes.
            raise ConfigError(f"{self.path}: {type(error).__name__}; needed: a copy") from None


def user(role: str, password: str) -> User:
    """
    Raises:
        ConfigError: the password is too short, or the role is none.
    """
    if len(password) < LEAST:
        raise ConfigError(f"a password of {len(password)} characters; needed: {LEAST} or more")
    try:
        return User.model_validate({"role": role, "password": PasswordHasher().hash(password)})
    except ValidationError as error:
        raise ConfigError(f"role {role!r}; needed: reader or admin") from error

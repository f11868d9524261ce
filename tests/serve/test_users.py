"""Users come and go while the service runs; their file is never half written."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from helpers.service import Parts
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.serve.check import problems, unsafe
from hilum.serve.config import Config
from hilum.serve.users import Users, user
from hilum.serve.web.app import create_app

SESSION = "/api/v1/session"


def command(tmp_path: Path, *words: str, typed: str = "") -> tuple[int, str]:
    file = tmp_path / "hilum.toml"
    file.write_text(f"folder = '{tmp_path}'\nreserve_bytes = 0\n")
    asked = ["users", *words, "--config", str(file)]
    run = CliRunner().invoke(app, asked, input=f"{typed}\n")
    return run.exit_code, run.output if run.exception is None else f"{run.output}{run.exception}"


def test_somebody_who_is_added_gets_in_at_once_and_nobody_else_any_more(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    client = TestClient(create_app(parts.service), base_url="http://127.0.0.1:8080")
    assert client.get(SESSION).json() == {"name": "local", "role": "admin"}
    code, said = command(tmp_path, "add", "ada", "--role", "admin", typed="right horse")
    assert code == 0
    assert str(tmp_path) in said  # the service of another folder knows nobody of hers
    assert client.get(SESSION).status_code == 401
    assert client.get(SESSION, auth=("ada", "wrong horse")).status_code == 401
    assert client.get(SESSION, auth=("ada", "right horse")).json()["role"] == "admin"
    parts.close()


def test_somebody_who_is_removed_is_out_with_their_sessions(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    client = TestClient(create_app(parts.service), base_url="http://127.0.0.1:8080")
    command(tmp_path, "add", "eve", "--role", "admin", typed="other horse")
    command(tmp_path, "add", "ada", typed="right horse")
    assert client.post(SESSION, json={"name": "ada", "password": "right horse"}).status_code == 200
    assert client.get(SESSION).json()["role"] == "reader"
    code, said = command(tmp_path, "remove", "ada")
    assert (code, "sessions ended: 1" in said) == (0, True)
    assert client.get(SESSION).status_code == 401
    command(tmp_path, "add", "ada", "--role", "admin", typed="newer horse")
    assert client.get(SESSION).status_code == 401  # the old session is none of the new one
    assert client.get(SESSION, auth=("ada", "right horse")).status_code == 401
    assert client.get(SESSION, auth=("ada", "newer horse")).status_code == 200
    parts.close()


def test_the_file_holds_hashes_and_is_its_owners(tmp_path: Path) -> None:
    command(tmp_path, "add", "ada", "--role", "admin", typed="right horse")
    path = tmp_path / "users.json"
    assert json.loads(path.read_text())["ada"]["password"].startswith("$argon2id$")
    assert "right horse" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert command(tmp_path, "list")[1] == "ada  admin\n"


@pytest.mark.parametrize(
    ("name", "role", "password", "why"),
    [
        ("ada", "king", "right horse", "reader or admin"),
        ("oidc:ada", "reader", "right horse", "no colon"),
        ("ada", "reader", "short", "8 or more"),
    ],
)
def test_what_is_no_user_changes_nothing(
    tmp_path: Path, name: str, role: str, password: str, why: str
) -> None:
    code, said = command(tmp_path, "add", name, "--role", role, typed=password)
    assert code != 0
    assert why in said
    assert not (tmp_path / "users.json").exists()


def test_a_name_is_given_once(tmp_path: Path) -> None:
    command(tmp_path, "add", "ada", typed="right horse")
    before = (tmp_path / "users.json").read_bytes()
    code, said = command(tmp_path, "add", "ada", "--role", "admin", typed="other horse")
    assert (code != 0, "is there" in said) == (True, True)
    assert (tmp_path / "users.json").read_bytes() == before
    assert "no user 'eve'" in command(tmp_path, "remove", "eve")[1]


def test_an_entry_for_the_configuration_is_printed_and_not_stored(tmp_path: Path) -> None:
    code, said = command(tmp_path, "add", "ada", "--print", typed="right horse")
    assert code == 0
    Config.model_validate({"web": {"users": json.loads(said[said.index("{") :])}})
    assert not (tmp_path / "users.json").exists()


def test_a_damaged_file_lets_nobody_in_and_is_named(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    users = Users(parts.service.config)
    users.add("ada", user("admin", "right horse"))
    (tmp_path / "users.json").write_text('{"ada":')
    client = TestClient(create_app(parts.service), base_url="http://127.0.0.1:8080")
    assert client.get(SESSION, auth=("ada", "right horse")).status_code == 500
    assert client.get(SESSION).status_code == 500  # nobody is `local` now
    assert any("users.json" in one for one in problems(parts.service.config, ports=False))
    with pytest.raises(ConfigError):
        users.add("eve", user("admin", "right horse"))
    assert (tmp_path / "users.json").read_text() == '{"ada":'
    parts.close()


def test_users_of_the_file_are_credentials_for_others(tmp_path: Path) -> None:
    config = Config.model_validate({"folder": tmp_path, "web": {"host": "192.0.2.1"}})
    assert any("users add" in one for one in unsafe(config))
    Users(config).add("ada", user("admin", "right horse"))
    assert not any("users add" in one for one in unsafe(config))


def test_others_are_never_local(tmp_path: Path) -> None:
    """Even when the last user is removed while the service runs."""
    parts = Parts(tmp_path, web={"host": "192.0.2.1"})
    client = TestClient(create_app(parts.service), base_url="http://192.0.2.1:8080")
    assert client.get(SESSION).status_code == 401
    parts.close()


def test_another_password_or_role_counts_at_once(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    client = TestClient(create_app(parts.service), base_url="http://127.0.0.1:8080")
    assert "no user 'ada'" in command(tmp_path, "add", "ada", "--replace", typed="right horse")[1]
    command(tmp_path, "add", "ada", "--role", "admin", typed="right horse")
    client.post(SESSION, json={"name": "ada", "password": "right horse"})
    assert client.get("/api/v1/admin").status_code == 200
    users = Users(parts.service.config)
    kept = users.all()["ada"]
    users.add("ada", kept.model_copy(update={"role": "reader"}), replace=True)
    assert client.get("/api/v1/admin").status_code == 403  # a former admin, in the same session
    assert client.get(SESSION).json()["role"] == "reader"
    command(tmp_path, "add", "ada", "--replace", typed="newer horse")
    assert client.get(SESSION).status_code == 401
    assert client.get(SESSION, auth=("ada", "right horse")).status_code == 401
    assert client.get(SESSION, auth=("ada", "newer horse")).status_code == 200
    parts.close()

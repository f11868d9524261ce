"""`hilum users`: who may log in to the service."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from hilum.cli import common, options
from hilum.cli.serve import configuration

app = typer.Typer(help="Who may log in to the service.", no_args_is_help=True)


@app.command()
def add(
    name: str = typer.Argument(help="Whom to let in."),
    role: str = typer.Option("reader", help="reader or admin."),
    config: Path | None = options.CONFIG,
    show: bool = typer.Option(
        False, "--print", help="Print it for [web.users] of a configuration, and store nothing."
    ),
    replace: bool = typer.Option(
        False, "--replace", help="Another role and password of somebody; ends their sessions."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Let somebody in, at once; the password is asked for, or is the first line of stdin.

    The service is that of --config (or HILUM_SERVE_CONFIG), else that of the default folder.

    Example: hilum users add ada --role admin --config hilum.toml
    """
    loaded = configuration(config)
    from hilum.serve.users import Users, user

    made = user(role, _password())
    if show:
        common.print_json({name: made.model_dump()})
        return
    users = Users(loaded)
    users.add(name, made, replace=replace)
    if as_json:
        common.print_json({"name": name, "role": role, "service": str(users.path.parent)})
    else:
        typer.echo(f"{name} may log in as {role} to the service of {users.path.parent}.")


@app.command()
def remove(
    name: str = typer.Argument(help="Whom to let in no more."),
    config: Path | None = options.CONFIG,
    as_json: bool = options.JSON,
) -> None:
    """Let somebody in no more, and end their sessions.

    Example: hilum users remove ada
    """
    loaded = configuration(config)
    from hilum.serve.records import Records
    from hilum.serve.users import Users

    records = Records(loaded.database_url)
    Users(loaded).remove(name)
    records.upgrade()
    ended = records.end_sessions(name)
    records.close()
    if as_json:
        common.print_json({"name": name, "sessions_ended": ended})
    else:
        typer.echo(f"{name} is gone; sessions ended: {ended}.")


@app.command("list")
def list_(
    config: Path | None = options.CONFIG,
    as_json: bool = options.JSON,
) -> None:
    """Who may log in, and as what.

    Example: hilum users list
    """
    loaded = configuration(config)
    from hilum.serve.users import Users

    roles = {name: one.role for name, one in sorted(Users(loaded).all().items())}
    if as_json:
        common.print_json(roles)
    else:
        typer.echo("\n".join(f"{name}  {role}" for name, role in roles.items()) or "Nobody yet.")


def _password() -> str:
    if sys.stdin.isatty():
        answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return answer
    return sys.stdin.readline().rstrip("\r\n")

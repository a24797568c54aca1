"""The command `graphql-server`: reads its arguments and calls what does the work."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from graphql_server import logs
from graphql_server.environment import port_of
from graphql_server.errors import DatasetServerError, SettingsError
from graphql_server.settings import setting


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; where a setting or the surroundings are wrong, exit status 2 and one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except DatasetServerError as error:
        sys.stderr.write(f"graphql-server: {logs.plain(error)}\n")
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphql-server",
        description="A GraphQL server for datasets of food photos; its settings are environment variables.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: object, what: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what)
        added.set_defaults(run=run)
        return added

    command("serve", _serve, "serve in production; every setting is checked first")
    demo = command("demo", _demo, "serve a demo: SQLite and pictures under var/, its own user server, GraphiQL")
    demo.add_argument("--folder", type=Path, default=Path("var"), help="where the demo keeps its data (var)")
    users = command("demo-users", _demo_users, "serve a user server that knows one token, DEMO_TOKEN")
    users.add_argument("--port", default="8001", help="its port (8001)")
    command("migrate", _migrate, "bring the database to the tables of this version; safe to run again")
    media = command("media", _media, "serve the media folder alone, as the predecessor's media server did")
    media.add_argument("--port", default="50050", help="its port (50050)")
    media.add_argument("--plain", action="store_true", help="give pictures to whoever knows their names, unsigned")
    schema = command("schema", _schema, "print the schema")
    schema.add_argument("--check", type=Path, metavar="FILE", help="print nothing; fail where FILE differs")
    doctor = command("doctor", _doctor, "verify that rows and files belong together; exit status 1 where not")
    doctor.add_argument("--repair", action="store_true", help="remove strays, fill in what old rows lack, mend tallies")
    doctor.add_argument("--grace", type=float, default=3600, help="seconds for which a file needs no row yet (3600)")
    return parser


# The modules are imported by the commands that need them: `schema` and `--help` answer without the rest.
def _serve(_options: argparse.Namespace) -> int:
    from graphql_server import serving

    return serving.serve(os.environ)


def _demo(options: argparse.Namespace) -> int:
    from graphql_server import demo

    return demo.run(options.folder, setting("host", os.environ), setting("port", os.environ), _say)


def _demo_users(options: argparse.Namespace) -> int:
    from graphql_server import demo

    return demo.run_users(os.environ, _port(options))


def _migrate(_options: argparse.Namespace) -> int:
    from graphql_server import migrations

    logs.configure("text", "error")
    asyncio.run(migrations.run(setting("database_url", os.environ), _say))
    _say("The database is up to date.")
    return 0


def _media(options: argparse.Namespace) -> int:
    from graphql_server import serving

    return serving.serve_media(os.environ, _port(options), plain=options.plain)


def _schema(options: argparse.Namespace) -> int:
    from graphql_server.schema.execution import build_schema

    text = build_schema().as_str()
    if options.check is None:
        _say(text)
        return 0
    try:
        stale = options.check.read_bytes() != f"{text}\n".encode()
    except OSError as error:
        raise SettingsError(f"{options.check} cannot be read: {error.strerror}") from None
    if not stale:
        return 0
    sys.stderr.write(f"graphql-server: {options.check} is stale: graphql-server schema > {options.check}\n")
    return 1


def _doctor(options: argparse.Namespace) -> int:
    from graphql_server import doctor

    logs.configure("text", "error")
    examination = doctor.run(
        setting("database_url", os.environ),
        setting("media_root", os.environ),
        repair=options.repair,
        grace_seconds=options.grace,
        max_pixels=setting("max_pixels", os.environ),
        say=_say,
    )
    return asyncio.run(examination)


def _say(text: str) -> None:
    """Print a text; SettingsError where stdout takes none, since its disk is full or its reader has gone."""
    try:
        print(text, flush=True)  # noqa: T201 - what a command is asked for
    except OSError as error:
        logs.let_go(sys.stdout)
        raise SettingsError(f"Cannot write to stdout: {error.strerror}") from None


def _port(options: argparse.Namespace) -> int:
    try:
        return port_of(options.port)
    except ValueError as error:
        raise SettingsError(f"--port={options.port!r} {error}") from None

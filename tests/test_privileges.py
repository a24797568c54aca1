"""What the database's user must be granted: what docs/operating.md says is enough, and what is missing is named."""

import asyncio
import re
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pytest

from graphql_server import migrations, privileges
from graphql_server.app import opened
from graphql_server.errors import SettingsError
from tests import mysql
from tests.photos import photo
from tests.processes import PROJECT, command
from tests.servers import Server, running, settings_for

DOCS = (PROJECT / "docs" / "operating.md").read_text()
GRANTS = re.findall(r"^GRANT (.+) ON dataset\.\* TO 'dataset'@'%';", DOCS, re.MULTILINE)
SERVING, MIGRATING = GRANTS
Grant = Callable[..., None]


NEW = pytest.mark.parametrize("admin", ["new_mysql"], indirect=True)


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> str:
    """The address of a database for somebody who may do everything: a migrated one, or a NEW one."""
    name = getattr(request, "param", "migrated_mysql")
    url: str = request.getfixturevalue(name)
    if name == "migrated_mysql":
        mysql.empty(url)
    return url


@pytest.fixture
def account(admin: str) -> Generator[str]:
    """The name of a user who may do nothing."""
    with mysql.account(admin) as name:
        yield name


@pytest.fixture
def grant(admin: str, account: str) -> Grant:
    return partial(mysql.grant, admin, account)


@pytest.fixture
def url(admin: str, account: str) -> str:
    """The database's address for that user."""
    return mysql.address_for(account, admin)


async def open_and_close(url: str, media_root: Path) -> None:
    async with opened(settings_for(url, media_root)):
        pass


def assert_whole_life(server: Server) -> None:
    pk = server.save(photo(), idempotencyKey="a")["pk"]
    server.data('mutation { createDataset(input: {title: "Lunch", idempotencyKey: "b"}) { untrained { pk } } }')
    server.data(f"mutation {{ removeImage(input: {{pk: {pk}}}) {{ dataset {{ images {{ totalCount }} }} }} }}")


@NEW
def test_the_privileges_of_the_documentation_are_enough(
    admin: str, url: str, account: str, grant: Grant, media_root: Path
) -> None:
    grant(MIGRATING)
    asyncio.run(migrations.run(url, lambda name: None))
    mysql.statements(admin, f"REVOKE ALL ON {admin.rsplit('/', 1)[1]}.* FROM '{account}'@'%'")
    grant(SERVING)
    with running(settings_for(url, media_root)) as server:
        assert_whole_life(server)
    done = command("doctor", "--repair", "--grace=0", DATABASE_URL=url, MEDIA_ROOT=str(media_root))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("missing", SERVING.split(", "))
def test_a_server_that_may_not_do_all_of_it_does_not_start_and_says_what_is_missing(
    admin: str, url: str, account: str, grant: Grant, media_root: Path, missing: str
) -> None:
    grant(", ".join(verb for verb in SERVING.split(", ") if verb != missing))
    with pytest.raises(SettingsError) as refused:
        asyncio.run(open_and_close(url, media_root))
    told = str(refused.value)
    assert told.startswith(f"DATABASE_URL: the user '{account}'@'%' lacks {missing} on ")
    lacking = told.partition(" lacks ")[2].partition(": ")[0].split(", ")
    assert lacking == [f"{missing} on {table}" for table, verbs in privileges.NEEDED.items() if missing in verbs]
    assert "secret" not in told
    mysql.statements(admin, told.partition(": ")[2].partition(": ")[2])
    asyncio.run(open_and_close(url, media_root))


@NEW
def test_a_migration_that_may_not_says_what(url: str, grant: Grant) -> None:
    grant(SERVING)
    done = command("migrate", DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"graphql-server: The migration broke off, .*CREATE command denied .*\n", done.stderr)


def test_a_user_without_any_privilege_is_told_so_at_the_start(url: str, media_root: Path) -> None:
    with pytest.raises(SettingsError, match="Access denied for user"):
        asyncio.run(open_and_close(url, media_root))


def test_a_privilege_that_is_taken_away_is_no_outage_and_is_named_by_the_log_alone(
    admin: str, url: str, account: str, grant: Grant, media_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [row[0] for row in mysql.statements(admin, "SHOW TABLES")]
    for table in tables:
        grant(SERVING, table)
    with running(settings_for(url, media_root)) as server:
        server.save(photo())
        revoke = f"REVOKE INSERT ON {admin.rsplit('/', 1)[1]}.image_info FROM '{account}'@'%'"
        mysql.statements(admin, revoke)
        (error,) = server.upload(photo(seed=2))["errors"]
        assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert "INSERT" not in error["message"]
        assert "image_info" not in error["message"]
        assert "INSERT command denied" in capsys.readouterr().out
        assert server.data("{ images { totalCount } }") == {"images": {"totalCount": 1}}
        assert server.get("/readyz").status_code == 200
        grant("INSERT", "image_info")
        server.save(photo(seed=2))

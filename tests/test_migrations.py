"""A fresh database is made by migrations, also by two at once and by one that is cut off anywhere."""

from pathlib import Path

import pytest

from graphql_server import migrations
from graphql_server.engines import Session
from graphql_server.errors import SettingsError
from tests.holdings import ask
from tests.migrating import (
    DATASETS,
    CutOff,
    assert_both_migrate,
    check,
    cut_off_after,
    migrate,
    migrate_after_many_cuts,
    tables,
)
from tests.photos import photo
from tests.servers import running, settings_for


@pytest.fixture
def new_database(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    return request.getfixturevalue("new_mysql") if engine == "mysql" else f"sqlite://{tmp_path / 'new.db'}"


def test_a_fresh_database_holds_an_empty_untrained_dataset_and_is_used_at_once(
    new_database: str, media_root: Path
) -> None:
    assert migrate(new_database) == list(migrations.MIGRATIONS)
    with running(settings_for(new_database, media_root)) as server:
        (dataset,) = server.data(DATASETS)["datasets"]["nodes"]
        assert (dataset["title"], dataset["isUntrained"], dataset["images"]["nodes"]) == ("untrained", True, [])
        assert server.save(photo())["dataset"]["pk"] == dataset["pk"]


def test_migrating_again_changes_nothing(new_database: str) -> None:
    migrate(new_database)
    made, rows = tables(new_database), ask(new_database, "SELECT * FROM dataset_info")
    assert migrate(new_database) == []
    assert (tables(new_database), ask(new_database, "SELECT * FROM dataset_info")) == (made, rows)


def test_a_database_that_is_not_migrated_is_refused(new_database: str) -> None:
    with pytest.raises(SettingsError, match="graphql-server migrate"):
        check(new_database)
    migrate(new_database)
    check(new_database)
    ask(new_database, "DELETE FROM schema_migration")
    with pytest.raises(SettingsError, match="graphql-server migrate"):
        check(new_database)


def test_two_processes_may_migrate_at_once(new_database: str) -> None:
    assert_both_migrate(new_database)
    assert ask(new_database, "SELECT title, untrained FROM dataset_info") == [("untrained", 1)]
    check(new_database)


def test_a_fresh_database_that_is_cut_off_at_any_write_is_finished_by_the_next_run(
    new_mysql: str, migrated_mysql: str
) -> None:
    assert migrate_after_many_cuts(new_mysql) >= 3
    check(new_mysql)
    assert ask(new_mysql, "SELECT title, untrained FROM dataset_info") == [("untrained", 1)]
    assert tables(new_mysql) == tables(migrated_mysql)


def test_on_sqlite_a_migration_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'new.db'}"
    for cut in (1, 5, 11):
        with pytest.MonkeyPatch.context() as patch:
            cut_off_after(patch, cut)
            with pytest.raises(CutOff):
                migrate(url)
        assert tables(url) == [[]]


def test_a_migration_whose_connection_is_lost_says_so_and_can_be_run_again(new_mysql: str) -> None:
    async def lose(session: Session, engine: str) -> None:
        await session.fetch("KILL CONNECTION_ID()")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, "9999_lost": lose})
        with pytest.raises(SettingsError, match="run it again"):
            migrate(new_mysql)
    assert migrate(new_mysql) == []


def test_images_that_an_earlier_version_saved_are_counted(new_database: str, media_root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        earlier = {name: step for name, step in migrations.MIGRATIONS.items() if name != "0004_constant_cost"}
        patch.setattr(migrations, "MIGRATIONS", earlier)
        migrate(new_database)
    for number in range(3):
        ask(
            new_database,
            "INSERT INTO image_info (dataset_info_pk, uuid_file_name, user_fix_degree) VALUES (1, ?, ?)",
            args=(f"{number}.jpg", 90 * number),
        )
    migrate(new_database)
    with running(settings_for(new_database, media_root)) as server:
        data = server.data(
            "{ images { totalCount } untrained { images { totalCount } } "
            "wrong: images(filter: {modelWasWrong: true}) { totalCount nodes { uuidFileName } } }"
        )
    assert data["images"] == data["untrained"]["images"] == {"totalCount": 3}
    assert data["wrong"] == {"totalCount": 2, "nodes": [{"uuidFileName": "1.jpg"}, {"uuidFileName": "2.jpg"}]}
